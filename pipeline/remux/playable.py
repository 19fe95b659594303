"""What browsers play as it is, repacked; and how they are told which codec it is (RFC 6381)."""

from typing import Final

#: Containers that keep samples as an MP4 does. Others have them as a bitstream.
CONTAINERS: Final = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})

#: 8 bits, 4:2:0: what is decoded everywhere.
_PIXELS: Final = frozenset({"yuv420p", "yuvj420p"})

_VIDEO: Final = frozenset({"h264", "vp9", "av1"})
#: Not MP3, which Chromium plays out of an MP4 but not out of one in fragments.
_SOUND: Final = frozenset({"aac", "opus", "flac"})


def why_not(container: str, codec: str, pixels: str | None, sound: str | None) -> str | None:
    """Why a browser cannot be given the video as it is, in a few words; None where it can.

    Args:
        container, codec: as FFmpeg names them.
        pixels: its pixel format.
        sound: codec of its sound; None where it has none.
    """
    if codec not in _VIDEO:
        return f"its codec is {codec}"
    if pixels not in _PIXELS:
        return f"its pixel format is {pixels}"
    if sound is not None and sound not in _SOUND:
        return f"the codec of its sound is {sound}"
    if container not in CONTAINERS:
        return f"its container is {container}"
    return None


def told(codec: str, setup: bytes) -> str | None:
    """A codec as browsers are told it; None where what it is set up with makes no sense.

    Args:
        setup: the codec's own data, as containers of `CONTAINERS` have it.
    """
    name = {"vp9": "vp09.00.51.08", "opus": "opus", "flac": "fLaC"}.get(codec)
    if name is not None:
        return name
    if codec == "h264" and len(setup) >= 7 and setup[0] == 1:
        return f"avc1.{setup[1:4].hex()}"
    if codec == "aac" and len(setup) >= 2:
        kind = setup[0] >> 3
        return f"mp4a.40.{kind if kind < 31 else 32 + ((setup[0] & 7) << 3 | setup[1] >> 5)}"
    if codec == "av1" and len(setup) >= 4 and setup[0] == 0x81:
        profile, level, tier = setup[1] >> 5, setup[1] & 31, "MH"[setup[2] >> 7]
        return f"av01.{profile}.{level:02}{tier}.{10 if setup[2] & 0x40 else 8:02}"
    return None
