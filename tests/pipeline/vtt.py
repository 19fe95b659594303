"""A parser of WebVTT that forgives nothing: of the syntax that authors have to keep to (W3C WebVTT, section 4), as
far as it is used here. Browsers forgive a lot, and leave out what they do not understand."""

import html
import re
from dataclasses import dataclass

_TIMES = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")
_ESCAPE = re.compile(r"&(amp|lt|gt);")


@dataclass(frozen=True, slots=True)
class Cue:
    start_s: float
    end_s: float
    payload: str

    @property
    def text(self) -> str:
        """What is shown of it; it has to be plain text."""
        assert "<" not in self.payload, self.payload
        assert "&" not in _ESCAPE.sub("", self.payload), self.payload
        return html.unescape(self.payload)


def parsed(file: str) -> list[Cue]:
    """The cues of a file."""
    assert "\r" not in file
    assert "\0" not in file
    assert file.endswith("\n")
    header, *blocks = file.rstrip("\n").split("\n\n")
    assert header == "WEBVTT"
    cues: list[Cue] = []
    for block in blocks:
        if block.startswith("NOTE "):
            assert "-->" not in block
            continue
        times, *payload = block.split("\n")
        found = _TIMES.fullmatch(times)
        assert found, times
        assert payload, block
        assert all(payload), block
        assert not any("-->" in line for line in payload), block
        numbers = [int(group) for group in found.groups()]
        start_s, end_s = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
        assert end_s > start_s, times
        assert not cues or start_s >= cues[-1].start_s, times
        cues.append(Cue(start_s, end_s, "\n".join(payload)))
    return cues
