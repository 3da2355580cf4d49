"""Records what pydicom makes of DICOM files, for `imaging/tests/dicom_goldens.rs`.

    cargo xtask peers dicom        (or: python imaging/goldens/record.py [FOLDER WITH DICOM FILES])

1. Writes the synthetic files of `synthetic.py` to `dicom/` and `refused/`, and to `expected.json` and `expected.bin`
   what pydicom decodes: per frame the stored values (int16 or uint16), the modality values (float32) and the display
   values (uint16, 65535 is white), all little endian.
2. For real files (default: `shared/data/dicom` beside the repository; no pixel of them is kept) writes `shared.json`:
   shape, type and SHA-256 of the stored values as little-endian int32. For lossy files decoders round differently, so
   the digest there is that of our own decoder, whose agreement with pydicom is measured here, and must hold.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from agreement import agreement, stored_values
from synthetic import files, refused

HERE = Path(__file__).resolve().parent
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"}
#: share of the pixels of a lossy file that must lie within one grey step
WITHIN_ONE = 0.999


def transforms(path, frame):
    """The attributes of one frame, with those of its functional groups."""
    merged = pydicom.dcmread(path, stop_before_pixels=True)
    per_frame = merged.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1]
    for group in list(merged.get("SharedFunctionalGroupsSequence", [])) + list(per_frame):
        for macro in group:
            merged.update({element.tag: element for element in macro.value[0]})
    return merged


def full_range(ds):
    """What apply_voi_lut calls black and white."""
    bits = ds.BitsStored
    if "ModalityLUTSequence" in ds:
        return 0.0, float(2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if ds.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def display(ds, modality):
    """Black 0 to white 1: VOI, then MONOCHROME1."""
    low, high = full_range(ds)
    if "VOILUTSequence" in ds:
        low, high = 0.0, float(2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    unit = (apply_voi_lut(modality, ds, index=0).astype(np.float64) - low) / (high - low)
    return 1.0 - unit if ds.PhotometricInterpretation == "MONOCHROME1" else unit


def record_synthetic():
    entries, blob = [], bytearray()
    for folder in (HERE / "dicom", HERE / "refused"):
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.dcm"):
            old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        for name, ds, exact in files(Path(scratch)):
            path = HERE / "dicom" / f"{name}.dcm"
            ds.save_as(path, enforce_file_format=True)
            stored = stored_values(path)
            entries.append({"file": path.name, "exact": exact, "shape": stored.shape, "signed": ds.PixelRepresentation == 1})
            kind = "<i2" if ds.PixelRepresentation else "<u2"
            for frame, pixels in enumerate(stored):
                attributes = transforms(path, frame)
                integers = pixels.astype(f"{kind[1]}{ds.BitsAllocated // 8}")
                modality = apply_modality_lut(integers, attributes)
                blob += pixels.astype(kind).tobytes() + np.asarray(modality).astype("<f4").tobytes()
                blob += np.rint(display(attributes, modality) * 65535).clip(0, 65535).astype("<u2").tobytes()
        reasons = []
        for name, code, ds in refused(Path(scratch)):
            path = HERE / "refused" / f"{name}.dcm"
            ds.save_as(path, enforce_file_format=True)
            reasons.append({"file": path.name, "code": code})
    (HERE / "expected.json").write_text(lines({"decoded": entries, "refused": reasons}))
    (HERE / "expected.bin").write_bytes(blob)
    print(f"{len(entries)} synthetic files, {len(reasons)} refused ones, {len(blob)} bytes of expected values")


def ours(path):
    """What this repository decodes, as int32."""
    command = ["cargo", "run", "--quiet", "--package", "scanside-imaging", "--example", "stored_values", "--", str(path)]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True, cwd=HERE).stdout, dtype="<i4")


def record_shared(folder):
    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".md", ".xml")):
        pixels = stored_values(path)
        meta = pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta
        entry = {"file": str(path.relative_to(folder)), "shape": pixels.shape}
        values = pixels.astype("<i4").ravel()
        if meta.get("TransferSyntaxUID") in LOSSY:
            decoded = ours(path)
            figures = agreement(values, decoded)
            assert figures["within_one"] >= WITHIN_ONE, (path, figures)
            entry |= {"agreement": figures}
            values = decoded
        entries.append(entry | {"sha256": hashlib.sha256(values.tobytes()).hexdigest()})
    (HERE / "shared.json").write_text(lines({"files": entries}))
    print(f"{len(entries)} real files")


def lines(document):
    """JSON with one entry a line, so that differences can be read."""
    parts = []
    for key, entries in document.items():
        body = ",\n".join("  " + json.dumps(entry) for entry in entries)
        parts.append(f'"{key}": [\n{body}\n]')
    return "{" + ",\n".join(parts) + "}\n"


def main(arguments):
    warnings.simplefilter("ignore")
    record_synthetic()
    folder = Path(arguments[0]) if arguments else HERE.parents[2] / "shared" / "data" / "dicom"
    if folder.is_dir():
        record_shared(folder)
    else:
        print(f"{folder} is not there: shared.json is left as it is")


if __name__ == "__main__":
    main(sys.argv[1:])
