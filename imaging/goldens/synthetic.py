"""Writes the synthetic DICOM files: every transfer syntax, depth, sign, VOI kind and frame layout, a few kB each.

Each function returns a pydicom data set that can be saved; names in `files()` become file names.
"""

import io
import warnings

import gdcm
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless as JPEGLosslessP14,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from phantom import texture, thorax

ROWS, COLUMNS = 14, 16
#: the JPEG 2000 encoder halves the image five times
WAVELET_SIZE = (33, 34)
#: bits allocated, bits stored, signed
DEPTHS = [(8, 8, 0), (8, 6, 0), (8, 8, 1), (16, 16, 0), (16, 16, 1), (16, 12, 0), (16, 12, 1), (16, 10, 0)]


def data_set(frames, allocated, stored, signed, syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2"):
    """An uncompressed data set of [N, H, W] integers."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.2", "2.25.3"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "PA"
    ds.PatientAge, ds.Manufacturer, ds.ImagerPixelSpacing = "045Y", "Phantom", [0.2, 0.25]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = frames.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, stored, stored - 1, signed
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = frames.astype(f"{order}{'i' if signed else 'u'}{allocated // 8}").tobytes()
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    ds["PixelData"].VR = "OW" if allocated == 16 else "OB"
    return ds


def textured(allocated, stored, signed, count=1, size=(ROWS, COLUMNS), **options):
    frames = np.stack([texture(*size, stored, signed, frame) for frame in range(count)])
    return data_set(frames, allocated, stored, signed, **options)


def compressed(ds, syntax, **options):
    """By pydicom's own encoders: RLE, JPEG-LS, JPEG 2000."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.compress(syntax, generate_instance_uid=False, **options)
    return ds


def by_gdcm(ds, syntax, gdcm_syntax, folder):
    """JPEG lossless and 12-bit lossy, which pydicom cannot write."""
    source, target = folder / "plain.dcm", folder / "coded.dcm"
    ds.save_as(source, enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read(), "gdcm cannot read the plain file"
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm_syntax))
    change.SetInput(reader.GetImage())
    assert change.Change(), f"gdcm cannot write {syntax}"
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    coded = pydicom.dcmread(target)
    assert coded.file_meta.TransferSyntaxUID == syntax
    ds.PixelData, ds.file_meta.TransferSyntaxUID = coded.PixelData, syntax
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    return ds


def jpeg_baseline(frames, quality, **options):
    ds = data_set(frames, 8, 8, 0, **options)
    streams = []
    for frame in frames:
        stream = io.BytesIO()
        Image.fromarray(frame.astype(np.uint8)).save(stream, "JPEG", quality=quality)
        streams.append(stream.getvalue())
    return encapsulated(ds, streams, JPEGBaseline8Bit)


def encapsulated(ds, streams, syntax, **options):
    ds.PixelData = encapsulate(streams, **options)
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def lut(first, bits, entries, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, dtype="<u2").tobytes())
    return Sequence([item])


def windows():
    """VOI and modality transforms, on uncompressed pixels."""
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            ds = textured(16, 12, 0, photometric=photometric)
            ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = [1800, 500], [2500, 10], function
            yield f"voi_{function.lower()}_{photometric.lower()}", ds
    ds = textured(16, 12, 0)
    ds.WindowCenter, ds.WindowWidth = 2000, 1
    yield "voi_width_one", ds
    ds = textured(16, 12, 1)
    ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = "2.5", "-100.5", "40.25", "400.5"
    yield "rescale_fraction_window", ds
    ds = textured(16, 12, 0)
    ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
    yield "rescale_only", ds
    ds = textured(16, 12, 0)
    ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = "1", "-1024", "40", "400"
    yield "rescale_hounsfield_window", ds
    curve = [round(4095 * (i / 1023) ** 2) for i in range(1024)]
    ds = textured(16, 10, 0)
    ds.VOILUTSequence = lut(0, 12, curve)
    yield "voi_table", ds
    # pydicom counts the entries of an 8-bit table in 8 bits: inputs beyond 255 would wrap.
    ds = textured(8, 8, 0, photometric="MONOCHROME1")
    ds.VOILUTSequence, ds.WindowCenter, ds.WindowWidth = lut(60, 8, [i * 255 // 149 for i in range(150)]), 100, 50
    yield "voi_table_before_window", ds
    ds = textured(16, 10, 1)
    ds.VOILUTSequence = lut(-300, 16, [i * 65535 // 599 for i in range(600)], "SS")
    yield "voi_table_signed", ds
    ds = textured(16, 10, 0)
    ds.ModalityLUTSequence = lut(50, 16, [60000 - 55 * i for i in range(1000)])
    ds.WindowCenter, ds.WindowWidth = 30000, 45000
    yield "modality_table_window", ds


def layouts(folder):
    """Frames, fragments, byte orders and odd headers."""
    odd = np.stack([texture(13, 11, 8, 0, frame) for frame in range(3)])
    yield "frames_native_odd", data_set(odd, 8, 8, 0)
    yield "frames_rle", compressed(textured(16, 12, 1, count=3), RLELossless)
    yield "frames_jpegls", compressed(textured(16, 12, 0, count=3), JPEGLSLossless)
    yield "frames_j2k", compressed(textured(8, 8, 0, count=2, size=WAVELET_SIZE), JPEG2000Lossless)
    ds = compressed(textured(16, 16, 0, count=2), RLELossless)
    streams = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=2))
    yield "fragments_offset_table", encapsulated(ds, streams, RLELossless, fragments_per_frame=3)
    ds = compressed(textured(16, 16, 0), RLELossless)
    streams = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    yield "fragments_one_frame", encapsulated(ds, streams, RLELossless, fragments_per_frame=3, has_bot=False)
    ds = compressed(textured(16, 12, 0, count=2), RLELossless)
    streams = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=2))
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(streams)
    ds["PixelData"].is_undefined_length = True
    yield "fragments_extended_table", ds
    for allocated, stored, signed in DEPTHS:
        yield f"big_{allocated}_{stored}_{'su'[not signed]}", textured(allocated, stored, signed, syntax=ExplicitVRBigEndian)
    words = texture(14, 15, 8, 0)
    ds = data_set(words[None], 8, 8, 0, syntax=ExplicitVRBigEndian)
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    yield "big_8_words", ds
    overlaid = textured(16, 12, 0)
    noise = np.arange(ROWS * COLUMNS, dtype="<u2") % 16 << 12
    overlaid.PixelData = (np.frombuffer(overlaid.PixelData, "<u2") | noise).tobytes()
    yield "overlay_bits", overlaid
    yield "enhanced_multiframe", enhanced()


def enhanced():
    """A rescale shared by all frames and a window for each (PS3.3 C.7.6.16)."""
    ds = textured(16, 12, 0, count=2)
    shared, transform, measures = Dataset(), Dataset(), Dataset()
    transform.RescaleSlope, transform.RescaleIntercept = "2", "-500"
    measures.PixelSpacing = [0.5, 0.75]
    shared.PixelValueTransformationSequence, shared.PixelMeasuresSequence = Sequence([transform]), Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for center in (300, 3000):
        group, window = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 1200
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return ds


def codings(folder):
    """Every lossless transfer syntax with every depth that its encoder writes."""
    for allocated, stored, signed in DEPTHS:
        name = f"{allocated}_{stored}_{'su'[not signed]}"
        depth = (allocated, stored, signed)
        yield f"explicit_{name}", textured(*depth)
        yield f"implicit_{name}", textured(*depth, syntax=ImplicitVRLittleEndian)
        yield f"deflated_{name}", textured(*depth, syntax=DeflatedExplicitVRLittleEndian)
        yield f"rle_{name}", compressed(textured(*depth), RLELossless)
        yield f"jpegls_{name}", compressed(textured(*depth), JPEGLSLossless)
        yield f"j2k_{name}", compressed(textured(*depth, size=WAVELET_SIZE), JPEG2000Lossless)
        if stored in (8, 12, 16):
            process = textured(*depth)
            yield f"jpeg57_{name}", by_gdcm(process, JPEGLosslessP14, gdcm.TransferSyntax.JPEGLosslessProcess14, folder)
            first = textured(*depth)
            yield f"jpeg70_{name}", by_gdcm(first, JPEGLosslessSV1, gdcm.TransferSyntax.JPEGLosslessProcess14_1, folder)


def near_lossless():
    for near in (1, 3, 10):
        yield f"jpegls_near{near}_16_12_u", compressed(textured(16, 12, 0), JPEGLSNearLossless, jls_error=near)
    yield "jpegls_near2_8_8_u", compressed(textured(8, 8, 0), JPEGLSNearLossless, jls_error=2)
    yield "jpegls_near4_16_16_u", compressed(data_set(thorax(40, 16)[None], 16, 16, 0), JPEGLSNearLossless, jls_error=4)


def lossy():
    """Files whose decoders may round differently."""
    for quality in (60, 95):
        yield f"lossy_jpeg_q{quality}", jpeg_baseline(thorax(64, 8)[None], quality)
    yield "lossy_jpeg_monochrome1", jpeg_baseline(thorax(48, 8)[None], 85, photometric="MONOCHROME1")
    yield "lossy_jpeg_frames", jpeg_baseline(np.stack([thorax(40, 8, frame) for frame in range(2)]), 80)
    for allocated, stored, ratio in ((8, 8, 8), (16, 12, 10), (16, 15, 6), (16, 16, 12)):
        ds = data_set(thorax(64, stored)[None], allocated, stored, 0)
        yield f"lossy_j2k_{stored}", compressed(ds, JPEG2000, j2k_cr=[ratio])


def refused(folder):
    """Files that must be refused, with the code of the reason."""
    twelve = data_set(thorax(32, 12)[None], 16, 12, 0)
    twelve = by_gdcm(twelve, JPEGExtended12Bit, gdcm.TransferSyntax.JPEGExtendedProcess2_4, folder)
    # gdcm writes the allocated bits where the frame header has the precision.
    frame_header = twelve.PixelData.index(b"\xff\xc1")
    twelve.PixelData = twelve.PixelData[: frame_header + 4] + b"\x0c" + twelve.PixelData[frame_header + 5 :]
    yield "lossy_12_bit", "lossy-12-bit", twelve
    video = encapsulated(textured(8, 8, 0), [b"\0\0\1\xb3" + bytes(60)], "1.2.840.10008.1.2.4.102")
    yield "video", "video", video
    high_throughput = encapsulated(textured(8, 8, 0), [b"\xff\x4f\xff\x51" + bytes(60)], "1.2.840.10008.1.2.4.201")
    yield "htj2k", "unsupported-transfer-syntax", high_throughput
    colour = textured(8, 8, 0)
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.PixelData = colour.PixelData * 3
    yield "rgb", "colour-image", colour
    palette = textured(8, 8, 0)
    palette.PhotometricInterpretation = "PALETTE COLOR"
    yield "palette", "colour-image", palette
    report = textured(8, 8, 0)
    del report.PixelData
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    yield "report_without_pixels", "no-pixels", report
    floating = textured(8, 8, 0)
    del floating.PixelData
    floating.FloatPixelData = np.zeros(ROWS * COLUMNS, "<f4").tobytes()
    yield "float_pixels", "unsupported", floating
    deep = textured(16, 16, 0)
    deep.BitsAllocated = deep.BitsStored = 32
    deep.HighBit, deep.PixelData = 31, deep.PixelData * 2
    yield "thirty_two_bits", "unsupported", deep
    short = textured(16, 16, 0)
    short.PixelData = short.PixelData[:-40]
    yield "too_few_pixels", "truncated", short
    huge = textured(16, 16, 0)
    huge.Rows = huge.Columns = 65535
    yield "absurd_size", "too-large", huge
    many = textured(16, 16, 0)
    many.NumberOfFrames = 2_000_000_000
    yield "absurd_frames", "too-large", many
    flat = textured(16, 16, 0)
    flat.Rows = 0
    yield "no_rows", "damaged", flat
    contradiction = compressed(textured(16, 12, 0), JPEGLSLossless)
    contradiction.Columns = 4096
    yield "size_contradiction", "damaged", contradiction


def files(folder):
    """(name, data set, exact) of every file that must decode."""
    for group in (windows(), layouts(folder), codings(folder), near_lossless()):
        for name, ds in group:
            yield name, ds, True
    for name, ds in lossy():
        yield name, ds, False
