"""Reads everything that an archive holds, as JSON lines: FOLDER.

A Secondary Capture must have pixels that decode and the image that it was made from; a structured report must be one that
highdicom takes for a measurement report (TID 1500).
"""

import json
import pathlib
import sys

import highdicom
import pydicom

CAPTURE, REPORT = pydicom.uid.SecondaryCaptureImageStorage, pydicom.uid.Comprehensive3DSRStorage


def capture(data):
    assert data.pixel_array.shape == (data.Rows, data.Columns, 3), data.pixel_array.shape
    return [item.ReferencedSOPInstanceUID for item in data.SourceImageSequence]


def report(data):
    document = highdicom.sr.Comprehensive3DSR.from_dataset(data)
    tree = document.content
    assert isinstance(tree, highdicom.sr.MeasurementReport), type(tree)
    groups = tree.get_image_measurement_groups()
    # The finding is that of the image, or of the whole series; its slices have measurements.
    assert sum(group.finding_type is not None for group in groups) == 1
    images = highdicom.sr.utils.find_content_items(
        data, value_type=highdicom.sr.ValueTypeValues.IMAGE, recursive=True
    )
    return [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]


for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    data = pydicom.dcmread(path)
    kind, read = {CAPTURE: ("sc", capture), REPORT: ("sr", report)}[data.SOPClassUID]
    images = sorted(set(read(data)))
    print(json.dumps({"file": path.name, "kind": kind, "study": data.StudyInstanceUID, "images": images}))
