"""How far decoded pixels agree with pydicom's.

Run with pairs of paths: a DICOM file and a file of its decoded frames (little-endian int32, frame by frame). Prints one
JSON line for each pair: {"exact": bool, "within_one": share of pixels, "largest": difference}.
"""

import json
import sys
import warnings

import numpy as np
import pydicom
from pydicom.pixels import pixel_array


def stored_values(path):
    """All frames of a file as [N, H, W] int32, whatever is missing in its header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in data_set.file_meta:
            data_set.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        if "SamplesPerPixel" not in data_set:
            data_set.SamplesPerPixel = 1
        if "PhotometricInterpretation" not in data_set:
            data_set.PhotometricInterpretation = "MONOCHROME2"
        pixels = pixel_array(data_set).astype(np.int32)
    return pixels if pixels.ndim == 3 else pixels[None]


def agreement(reference, decoded):
    """Figures of agreement of two arrays of the same size."""
    difference = np.abs(reference.ravel().astype(np.int64) - decoded.ravel().astype(np.int64))
    return {
        "exact": bool((difference == 0).all()),
        "within_one": float((difference <= 1).mean()),
        "largest": int(difference.max()),
    }


def main(arguments):
    for dicom, values in zip(arguments[::2], arguments[1::2], strict=True):
        reference = stored_values(dicom)
        decoded = np.fromfile(values, dtype="<i4")
        if decoded.size != reference.size:
            raise SystemExit(f"{dicom}: {decoded.size} decoded pixels, pydicom has {reference.shape}")
        print(json.dumps(agreement(reference, decoded)))


if __name__ == "__main__":
    main(sys.argv[1:])
