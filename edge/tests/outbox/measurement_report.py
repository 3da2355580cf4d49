"""Prints what highdicom reads of a structured report, as JSON: REPORT IMAGE CAPTURE."""

import json
import sys

import highdicom
import pydicom
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

report, image, capture = sys.argv[1:]
document = highdicom.sr.srread(report)
assert isinstance(document, highdicom.sr.Comprehensive3DSR), type(document)
tree = document.content
assert isinstance(tree, highdicom.sr.MeasurementReport), type(tree)
image = pydicom.dcmread(image, stop_before_pixels=True, force=True)
capture = pydicom.dcmread(capture, stop_before_pixels=True)

CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
ASSOCIATED = Code("246090004", "SCT", "Associated finding")
OPERATING_POINT = Code("operating-point", "99SCANSIDE", "Operating point")
REASON = Code("reason", "99SCANSIDE", "Reason of the decision")


def below(item, name):
    found = [child for child in item.get("ContentSequence", []) if child.name == name]
    return found[0] if found else None


def certainty(measurement):
    item = measurement[0]
    point = below(item, OPERATING_POINT)
    return {
        "label": below(item, ASSOCIATED).value.value,
        "value": float(measurement.value),
        "unit": measurement.unit.value,
        "operating_point": None if point is None else float(point.value),
    }


def group(measurements, of_image):
    evaluations = measurements.get_qualitative_evaluations()
    return {
        "tracking": [measurements.tracking_identifier, str(measurements.tracking_uid)],
        "finding": measurements.finding_type.value if measurements.finding_type else None,
        "certainties": [certainty(m) for m in measurements.get_measurements(name=CERTAINTY)],
        "reasons": [e.value.value for e in evaluations if e.name == REASON],
        "of_image": str(measurements.tracking_uid) in of_image,
    }


# Every standard code that pydicom's tables have means what they say.
known = {}
for scheme, names in concepts.items():
    for entries in names.values():
        for value, (meaning, _) in entries.items():
            # Fully specified names of SNOMED CT end with their kind: "Source (attribute)".
            known.setdefault((scheme, value), set()).update([meaning, meaning.rsplit(" (", 1)[0]])
checked = 0
for element in pydicom.dcmread(report).iterall():
    for item in element.value if element.VR == "SQ" else []:
        if "CodeValue" in item:
            scheme, meaning = item.CodingSchemeDesignator, item.CodeMeaning
            meanings = known.get((scheme, item.CodeValue), set())
            assert meaning in meanings or not meanings and scheme != "DCM", (scheme, item.CodeValue, meaning, meanings)
            checked += meaning in meanings
assert checked > 20, checked

groups = tree.get_image_measurement_groups()
of_image = tree.get_image_measurement_groups(referenced_sop_instance_uid=image.SOPInstanceUID)
of_image = {str(g.tracking_uid) for g in of_image}
assert tree.get_planar_roi_measurement_groups() == []

# Everything that the tree refers to stands in the evidence, and the other way round.
evidence = {
    item.ReferencedSOPInstanceUID
    for study in document.CurrentRequestedProcedureEvidenceSequence
    for series in study.ReferencedSeriesSequence
    for item in series.ReferencedSOPSequence
}
referred = {
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    for item in highdicom.sr.utils.find_content_items(
        pydicom.dcmread(report), value_type=highdicom.sr.ValueTypeValues.IMAGE, recursive=True
    )
}
assert evidence == referred and capture.SOPInstanceUID in evidence, (evidence, referred)
assert document.StudyInstanceUID == image.StudyInstanceUID == capture.StudyInstanceUID

[observer] = tree.get_observer_contexts(observer_type=codes.DCM.Device)
observer = observer.observer_identifying_attributes
library = below(tree[0], codes.DCM.ImageLibrary).ContentSequence[0].ContentSequence
print(
    json.dumps(
        {
            "groups": [group(g, of_image) for g in groups],
            "observer": {"manufacturer": observer.manufacturer_name, "uid": str(observer.uid)},
            "library": [item.value_type.value for item in library],
        }
    )
)
