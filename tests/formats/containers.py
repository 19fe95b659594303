"""Codecs and containers: a plain video in each, BT.601 and limited range unless its pixels say otherwise."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.formats.chart import GREYS, PATCHES, moments
from tests.formats.matrix import Entry
from tests.formats.writing import COUNT, Codec, Known, Tags, encode, even

X264 = {"preset": "veryfast", "crf": "12"}
X265 = {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=none:pools=1:frame-threads=1"}
VPX = {"deadline": "realtime", "cpu-used": "8", "crf": "10"}
SVT = {"preset": "8", "crf": "8", "svtav1-params": "lp=1"}
_MBIT = 4_000_000

#: FFmpeg's scaler repeats halved chroma of even 8-bit pictures, which the chart is drawn for, and blends it between
#: pixels elsewhere: soft borders between patches, which are most of the error there.
DEEP_420_DB = 26.0

#: Patches that 3 bits of red and green and 2 of blue can say, as FFmpeg's `rgb8` has them.
_RGB8 = np.stack(
    [
        (PATCHES[..., 0] >> 5) * 36,
        (PATCHES[..., 1] >> 5) * 36,
        (PATCHES[..., 2] >> 6) * 85,
    ],
    -1,
).astype(np.uint8)

#: Patches that 5 bits a channel can say.
_RGB15 = ((PATCHES >> 3) << 3) | (PATCHES >> 5)


def plain(
    name: str, suffix: str, codec: Codec, oddity: str = "", *, bound_db: float = 40.0, patches: np.ndarray = PATCHES
) -> Entry:
    """An entry of `COUNT` charts at a constant rate."""

    def make(path: Path) -> Known:
        frames = moments(COUNT, patches=patches)
        encode(path, codec, frames)
        return Known(frames, even())

    return Entry(name, suffix, codec.name, codec.pixels, oddity, make, bound_db)


def _transparent(name: str, suffix: str, codec: Codec, bound_db: float = 45.0) -> Entry:
    """Charts that fade to the right; on black they are themselves times their alpha."""

    def make(path: Path) -> Known:
        frames = moments(COUNT)
        # In steps that halved chroma does not blur.
        alpha = np.repeat(np.tile(np.linspace(1, 0, 20), (96, 1)), 8, axis=1)
        encode(path, codec, frames, alphas=[alpha] * COUNT)
        return Known([(frame * alpha[..., None]).round().astype(np.uint8) for frame in frames], even())

    return Entry(name, suffix, codec.name, codec.pixels, "transparent, shown on black", make, bound_db)


H264 = Codec("libx264", options=X264, b_frames=2)
H265 = Codec("libx265", options=X265, b_frames=2)
VP9 = Codec("libvpx-vp9", options=VPX, bit_rate=_MBIT)

ENTRIES = [
    plain("h264-420", "mp4", H264),
    plain("h264-422", "mp4", replace(H264, pixels="yuv422p")),
    plain("h264-444", "mp4", replace(H264, pixels="yuv444p")),
    plain("h264-420-10", "mp4", replace(H264, pixels="yuv420p10le"), "10 bits", bound_db=DEEP_420_DB),
    plain("h264-422-10", "mov", replace(H264, pixels="yuv422p10le"), "10 bits", bound_db=DEEP_420_DB),
    plain("h264-rgb", "mp4", Codec("libx264rgb", "rgb24", options=X264), "RGB inside H.264"),
    plain("h264-mkv", "mkv", H264),
    plain("h264-ts", "ts", H264),
    plain("h264-flv", "flv", H264),
    plain("h264-3gp", "3gp", H264),
    plain("hevc-420", "mp4", H265),
    plain("hevc-420-10", "mkv", replace(H265, pixels="yuv420p10le"), "10 bits", bound_db=DEEP_420_DB),
    plain("hevc-420-12", "mp4", replace(H265, pixels="yuv420p12le"), "12 bits", bound_db=DEEP_420_DB),
    plain("hevc-422-12", "mp4", replace(H265, pixels="yuv422p12le"), "12 bits"),
    plain("hevc-444", "mp4", replace(H265, pixels="yuv444p")),
    plain("vp8", "webm", Codec("libvpx", options=VPX, bit_rate=_MBIT)),
    plain("vp9-420", "webm", VP9),
    plain("vp9-444", "webm", replace(VP9, pixels="yuv444p")),
    plain("vp9-ivf", "ivf", VP9),
    plain("av1-420", "mp4", Codec("libsvtav1", options=SVT), bound_db=33.0),
    plain("av1-420-10", "webm", Codec("libsvtav1", "yuv420p10le", options=SVT), "10 bits", bound_db=DEEP_420_DB),
    plain("mpeg1", "mpg", Codec("mpeg1video", bit_rate=_MBIT, b_frames=2)),
    plain("mpeg2-ts", "ts", Codec("mpeg2video", bit_rate=_MBIT, b_frames=2)),
    plain("mpeg2-mxf", "mxf", Codec("mpeg2video", bit_rate=_MBIT)),
    plain("mpeg4-avi", "avi", Codec("mpeg4", bit_rate=_MBIT, b_frames=1)),
    plain("msmpeg4", "avi", Codec("msmpeg4", bit_rate=_MBIT)),
    plain("wmv2", "wmv", Codec("wmv2", bit_rate=_MBIT)),
    plain("flv1", "flv", Codec("flv", bit_rate=_MBIT)),
    plain("rv20", "rm", Codec("rv20", bit_rate=_MBIT)),
    plain("mjpeg-420", "avi", Codec("mjpeg", "yuvj420p", options={"qmin": "1", "qmax": "2"}), "full range"),
    plain("mjpeg-422", "mov", Codec("mjpeg", "yuvj422p", options={"qmin": "1", "qmax": "2"}), "full range"),
    plain("prores-422", "mov", Codec("prores_ks", "yuv422p10le"), "10 bits"),
    _transparent("prores-4444-alpha", "mov", Codec("prores_ks", "yuva444p10le")),
    plain("cineform", "mov", Codec("cfhd", "yuv422p10le"), "10 bits"),
    plain("v210", "mov", Codec("v210", "yuv422p10le"), "10 bits, uncompressed"),
    plain("ffv1-420", "mkv", Codec("ffv1")),
    plain("ffv1-gbrp16", "mkv", Codec("ffv1", "gbrp16le"), "RGB, 16 bits", bound_db=50.0),
    _transparent("ffv1-bgra", "mkv", Codec("ffv1", "bgra")),
    _transparent("ffv1-yuva", "mkv", Codec("ffv1", "yuva420p")),
    plain("huffyuv", "avi", Codec("huffyuv", "yuv422p")),
    plain("utvideo-rgb", "avi", Codec("utvideo", "gbrp"), "RGB", bound_db=50.0),
    plain("raw-bgr", "avi", Codec("rawvideo", "bgr24"), "RGB, uncompressed, bottom line first", bound_db=50.0),
    plain("raw-uyvy", "mov", Codec("rawvideo", "uyvy422"), "uncompressed"),
    plain("animation-rgb", "mov", Codec("qtrle", "rgb24"), "RGB; a codec once taken for a still", bound_db=50.0),
    _transparent("animation-argb", "mov", Codec("qtrle", "argb")),
    plain("png", "mov", Codec("png", "rgb24"), "RGB; many stills in a row are a video", bound_db=50.0),
    _transparent("png-rgba", "mov", Codec("png", "rgba")),
    plain("jpeg2000", "mov", Codec("jpeg2000", "rgb24"), "RGB; many stills in a row are a video"),
    plain("gif", "gif", Codec("gif", "rgb8"), "256 colours", bound_db=45.0, patches=_RGB8),
    plain("palette-msrle", "avi", Codec("msrle", "pal8"), "256 colours, palette in the header", bound_db=50.0),
    plain("palette-png", "mov", Codec("png", "pal8"), "256 colours, palette in each picture", bound_db=50.0),
    plain("palette-raw", "nut", Codec("rawvideo", "pal8"), "256 colours, palette in each picture", bound_db=50.0),
    plain("cinepak", "avi", Codec("cinepak", "rgb24"), "a codec of 1991"),
    plain("video1", "avi", Codec("msvideo1", "rgb555le"), "15 bits of RGB", bound_db=31.0, patches=_RGB15),
    plain("screen-zmbv", "avi", Codec("zmbv", "bgr0"), "screen recording, RGB", bound_db=50.0),
    plain("screen-flashsv2", "flv", Codec("flashsv2", "bgr24"), "screen recording, RGB", bound_db=35.0),
    plain("dxv", "mov", Codec("dxv", "rgba"), "texture compression"),
    plain("grey-h264", "mp4", replace(H264, pixels="gray"), "grey, limited range untagged", patches=GREYS),
    plain("grey-hevc", "mp4", replace(H265, pixels="gray"), "grey, limited range untagged", patches=GREYS),
    plain("grey-ffv1", "mkv", Codec("ffv1", "gray", tags=Tags(full=True)), "grey, full range", patches=GREYS),
    plain("grey-ffv1-10", "mkv", Codec("ffv1", "gray10le", tags=Tags(full=False)), "grey, 10 bits", patches=GREYS),
]
