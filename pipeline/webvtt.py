"""Text tracks as WebVTT has them (W3C, https://www.w3.org/TR/webvtt1/): chapters, data, and what points at pictures."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

#: What would end a line, a cue or the text, or does something instead of being shown.
_CONTROL: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]+")

#: In text. `>` need not be written so, but then `-->` cannot be there.
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

#: In JSON, where what reads it knows no `&amp;`.
_IN_JSON: Final = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"})


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that holds for a while."""

    start_s: float
    end_s: float
    payload: str
    """As it is written: see `shown` and `data`."""


def shown(text: str) -> str:
    """Any text as one line that is shown as it is, whatever is in it."""
    plain = _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()
    return " ".join(plain.split()).translate(_ESCAPED)


def data(value: Mapping[str, Any]) -> str:
    """Values for a program, as JSON in one line: what a track of the kind `metadata` holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    plain = text.encode("utf-8", "replace").decode().translate(_IN_JSON)
    return _CONTROL.sub(lambda found: "".join(f"\\u{ord(one):04x}" for one in found[0]), plain)


def text_of(cues: Iterable[Cue], note: str = "") -> str:
    """A whole file, cues in the order of their times; one that is over as it begins lasts a millisecond.

    Args:
        note: a comment at its head.
    """
    parts = ["WEBVTT\n", *([f"NOTE {shown(note)}\n"] if note else [])]
    for cue in sorted(cues, key=lambda one: (one.start_s, -one.end_s)):
        start_ms = _ms(cue.start_s)
        end_ms = max(start_ms + 1, _ms(cue.end_s))
        parts.append(f"{timestamp(start_ms)} --> {timestamp(end_ms)}\n{cue.payload or '-'}\n")
    return "\n".join(parts)


def timestamp(ms: int) -> str:
    """Milliseconds as `hours:minutes:seconds.thousandths`, hours with two digits or more."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"


def _ms(seconds: float) -> int:
    """The nearest millisecond, of two the later: by the digits that the number is written with, so that two cues with
    one border have it in one place."""
    return int((Decimal(str(max(0.0, seconds))) * 1000).to_integral_value(ROUND_HALF_UP))
