"""Converts one frame from one compression to another or to none, with the same values. Used in worker processes only.

pydicom's decoders do the decoding, since they know what real code streams state wrongly about themselves. imagecodecs
is added to them as another plug-in and is tried first: it supports everything that they do, and damaged frames crash
GDCM.
"""

from __future__ import annotations

from functools import cache
from struct import pack
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLELossless

from aiodimse.datasets.pixels.code_stream import read_code_stream
from aiodimse.datasets.pixels.jobs import Frame, FrameJob, PixelFormat
from aiodimse.datasets.pixels.syntaxes import DECODED, ENCODED
from aiodimse.errors import DatasetEncodeError
from aiodimse.standard import transfer_syntax as syntaxes

Pixels = NDArray[Any]

_PLUGIN: Final = "imagecodecs"
_RLE_SEGMENTS: Final = 15
_NO_TRANSFORMATION: Final[dict[str, Any]] = {"colorspace": "RGB", "outcolorspace": "RGB"}
_NAMELESS: Final[dict[str, Any]] = {"colorspace": "UNKNOWN", "outcolorspace": "UNKNOWN"}
"""Options for JPEG with three components, which keep them as they are. Some readers take a code stream that names its
components R, G and B for RGB, whatever Photometric Interpretation says, so those of YBR_FULL get no names.
"""


def convert(job: FrameJob, data: bytes) -> Frame:
    """Convert a frame.

    Args:
        job: What to do.
        data: The frame.

    Raises:
        DatasetEncodeError: The frame cannot be decoded or encoded.
        Exception: What the codecs raise.
    """
    form, photometric, stored = job.format, job.format.photometric_interpretation, job.format.bits_stored
    if job.source in DECODED and job.source != syntaxes.EncapsulatedUncompressedExplicitVRLittleEndian:
        pixels, photometric = _decoded(job.source, data, form)
        stored = _bits_stored(pixels, form.bits_stored, job.source, data)
    else:
        pixels = _native(data, form)
    bits = 8 * pixels.dtype.itemsize
    out = encoded(job.target, pixels, stored, photometric) if job.target in ENCODED else pixels.tobytes()
    return Frame(out, photometric, bits, stored)


# --- decoding ---------------------------------------------------------------------------------------------------------


def _native(data: bytes, form: PixelFormat) -> Pixels:
    if len(data) < form.frame_size:
        raise DatasetEncodeError("a frame has fewer bytes than its rows and columns need")
    pixels = np.frombuffer(data, _kind(form), form.frame_size // (form.bits_allocated // 8))
    return _by_pixel(pixels, form, form.planar_configuration)


def _kind(form: PixelFormat) -> np.dtype[Any]:
    return np.dtype(f"<{'ui'[form.pixel_representation]}{form.bits_allocated // 8}")


def _by_pixel(pixels: Pixels, form: PixelFormat, planar: int) -> Pixels:
    if form.samples_per_pixel == 1:
        return pixels.reshape(form.rows, form.columns)
    if planar:
        pixels = pixels.reshape(form.samples_per_pixel, form.rows, form.columns).transpose(1, 2, 0)
        return np.ascontiguousarray(pixels)
    return pixels.reshape(form.rows, form.columns, form.samples_per_pixel)


def _decoded(source: str, data: bytes, form: PixelFormat) -> tuple[Pixels, str]:
    """Decode a frame. Return its pixels and their photometric interpretation."""
    _check_size(source, data, form)
    options: dict[str, Any] = {
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": 1,
        "samples_per_pixel": form.samples_per_pixel,
        "photometric_interpretation": form.photometric_interpretation,
        "planar_configuration": form.planar_configuration,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": form.pixel_representation,
        "pixel_keyword": "PixelData",
    }
    if source not in JPEG2000TransferSyntaxes and source not in JPEGLSTransferSyntaxes:
        options["correct_unused_bits"] = False  # unused bits may contain something, such as an overlay
    decoder, whole = _decoder(source), encapsulate([data])
    try:
        found, properties = decoder.as_array(whole, raw=True, decoding_plugin=_PLUGIN, **options)
    except Exception:
        if len(decoder.available_plugins) < 2:
            raise
        found, properties = decoder.as_array(whole, raw=True, **options)
    pixels = np.ascontiguousarray(found, found.dtype.newbyteorder("<"))
    if pixels.dtype.itemsize * 8 < form.bits_allocated:
        pixels = pixels.astype(_kind(form))  # the code stream has fewer bits than Bits Allocated, which stays
    return pixels, str(properties["photometric_interpretation"])


def _check_size(source: str, data: bytes, form: PixelFormat) -> None:
    """Raise DatasetEncodeError if the code stream would be decoded to another size, and perhaps to gigabytes."""
    if source == RLELossless:
        _check_run_lengths(data, form)
        return
    try:
        found = read_code_stream(source, data)
    except ValueError as error:
        raise DatasetEncodeError(str(error)) from None
    if found is not None and found.values != form.rows * form.columns * form.samples_per_pixel:
        raise DatasetEncodeError("a code stream of other dimensions than the image has")


def _check_run_lengths(data: bytes, form: PixelFormat) -> None:
    """Decode an RLE frame into twice the memory that it should take. A frame of 8 MiB may inflate to 512."""
    kind = np.dtype(f"<u{form.bits_allocated // 8}")
    try:
        imagecodecs.dicomrle_decode(data, kind, out=bytearray(2 * form.frame_size))
    except Exception as error:
        if "OUTPUT_TOO_SMALL" in str(error):
            raise DatasetEncodeError("an RLE frame that inflates to more than the image has") from None
        # Other decoders may read it, within the memory that is left to this process.


def _bits_stored(pixels: Pixels, stored: int, source: str, data: bytes) -> int:
    """Return Bits Stored; if the code stream has more bits and pixels use them, return the number of those."""
    precision = _precision(source, data)
    if precision <= stored:
        return stored
    most = 1 << (stored - (pixels.dtype.kind == "i"))
    least = -most if pixels.dtype.kind == "i" else 0
    return stored if least <= int(pixels.min()) and int(pixels.max()) < most else precision


def _precision(source: str, data: bytes) -> int:
    """Return the bits of a sample in the code stream; 0 for compressions where pydicom uses Bits Stored."""
    if source in JPEG2000TransferSyntaxes:
        return int(get_j2k_parameters(data).get("precision", 0))
    pos = 2
    while source in JPEGLSTransferSyntaxes and data[pos : pos + 1] == b"\xff":
        if data[pos + 1 : pos + 2] == b"\xf7":  # start of frame (ISO 14495-1 C.2.2)
            return data[pos + 4]
        pos += 2 + int.from_bytes(data[pos + 2 : pos + 4], "big")
    return 0


@cache
def _decoder(source: str) -> Decoder:
    decoder = get_decoder(source)
    decoder.add_plugin(_PLUGIN, (__name__, "decode_frame"))
    return decoder


def is_available(uid: str) -> bool:
    """Return whether this plug-in of pydicom decodes a transfer syntax."""
    return uid in DECODED


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """Decode a frame as a plug-in of pydicom. The runner is told the format of the pixels."""
    uid, samples = runner.transfer_syntax, runner.samples_per_pixel
    if uid == RLELossless:
        runner.set_option("planar_configuration", 1)
        return bytearray(imagecodecs.dicomrle_decode(source, np.dtype(f"<u{runner.bits_allocated // 8}")))
    if uid in JPEG2000TransferSyntaxes:
        pixels = imagecodecs.jpeg2k_decode(source, numthreads=1)
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")
    elif uid in JPEGLSTransferSyntaxes:
        pixels = imagecodecs.jpegls_decode(source)
    else:
        pixels = imagecodecs.jpeg8_decode(source, **(_NO_TRANSFORMATION if samples == 3 else {}))
    if pixels.size != runner.rows * runner.columns * samples:
        raise DatasetEncodeError("a code stream of other dimensions than the image has")
    if samples > 1:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return bytearray(pixels.tobytes())


# --- encoding ---------------------------------------------------------------------------------------------------------


def encoded(target: str, pixels: Pixels, bits: int, photometric: str) -> bytes:
    """Compress a frame losslessly. To prove that, it is decoded again and compared.

    Args:
        target: One of ENCODED.
        pixels: An array of rows, columns and, if there are several, samples.
        bits: Bits Stored. If other bits are used too, all of them are encoded.
        photometric: Photometric Interpretation (0028,0004).

    Raises:
        DatasetEncodeError: The compression does not support such pixels, or does not reproduce them.
    """
    allocated = 8 * pixels.dtype.itemsize
    for precision in dict.fromkeys((bits, allocated)):
        try:
            out = _encode(target, pixels, precision, photometric)
            form = _format(pixels, precision, photometric)
            again = _decoded(target, out, form)[0]
        except DatasetEncodeError:
            raise
        except Exception:
            continue
        if again.shape == pixels.shape and np.array_equal(again, pixels):
            return out
    raise DatasetEncodeError("the compression does not reproduce the pixels exactly")


def _format(pixels: Pixels, bits: int, photometric: str) -> PixelFormat:
    rows, columns, *others = pixels.shape
    samples = others[0] if others else 1
    signed = int(pixels.dtype.kind == "i")
    return PixelFormat(rows, columns, samples, photometric, 0, 8 * pixels.dtype.itemsize, bits, signed)


def _encode(target: str, pixels: Pixels, bits: int, photometric: str) -> bytes:
    if target == RLELossless:
        return _run_length_encoded(pixels)
    if pixels.dtype.itemsize > 2:
        raise DatasetEncodeError(f"{8 * pixels.dtype.itemsize} bits are too many for this compression")
    if target == syntaxes.JPEG2000Lossless:
        # Without a multiple component transformation, so that Photometric Interpretation stays the same.
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels, level=0, codecformat="j2k", bitspersample=bits, reversible=True, mct=False, numthreads=1
            )
        )
    if target == syntaxes.HTJ2KLossless:
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True, rgb=False))
    unsigned = pixels.view(pixels.dtype.str.replace("i", "u"))  # these two have no signed values (PS3.5 8.2.1, 8.2.3)
    if target == syntaxes.JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(unsigned))
    kept: dict[str, Any] = {}
    if pixels.ndim == 3:
        kept = _NAMELESS if photometric.startswith("YBR") else _NO_TRANSFORMATION
    return bytes(imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=1, bitspersample=bits, **kept))


def _run_length_encoded(pixels: Pixels) -> bytes:
    """Compress with RLE (PS3.5 G): one segment for each byte of each sample, most significant first, rows apart."""
    rows, columns = pixels.shape[:2]
    planes = pixels.reshape(rows, columns, -1)
    size = pixels.dtype.itemsize
    octets = planes.astype(pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, columns, -1, size)
    segments: list[bytes] = []
    for sample in range(planes.shape[2]):
        for octet in range(size):
            plane = np.ascontiguousarray(octets[:, :, sample, octet])
            segment = bytes(imagecodecs.packbits_encode(plane, axis=-1))
            segments.append(segment + b"\0" * (len(segment) % 2))
    if len(segments) > _RLE_SEGMENTS:
        raise DatasetEncodeError(f"{len(segments)} bytes of a pixel are too many for RLE")
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    offsets += [0] * (_RLE_SEGMENTS - len(offsets))
    return pack("<16L", len(segments), *offsets) + b"".join(segments)
