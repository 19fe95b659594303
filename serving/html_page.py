"""What pages have in common that are one file each: they open from disk, need no network and run no foreign code.

Names and labels come from strangers, so they only ever travel as escaped text or as JSON, and a page's
Content-Security-Policy names its styles and scripts by hash: whatever slipped through would still not run.
"""

import base64
import hashlib
import json
import math
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any


def policy(style: str, *scripts: str, media: str = "'self' file: blob:") -> str:
    """Nothing may load but what the page itself carries, and media from `media`: a video file beside it."""
    allowed = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; style-src 'sha256-{_sha256(style)}'; script-src {allowed}; "
        f"img-src data:; media-src {media}; base-uri 'none'; form-action 'none'"
    )


def embedded(data: Any) -> str:
    """The JSON that a page draws, safe inside a `<script>` element; values made fit as by `tidy`."""
    written = json.dumps(tidy(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside a JSON string "<" may be written as an escape; then no text can close the element or open another.
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def tidy(value: Any) -> Any:
    """The same value fit for JSON: four decimals (no screen shows more), no NaN, no lone surrogates."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): tidy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(item) for item in value]
    return value


def text(value: str) -> str:
    """A string that UTF-8 can hold: file names need not be valid Unicode."""
    return value.encode("utf-8", "replace").decode("utf-8")


def inlined(jpeg: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


@cache
def joined(package: str, *names: str) -> str:
    """Files of a package, one after the other."""
    return "\n".join(files(package).joinpath(name).read_text("utf-8") for name in names)


@cache
def template(package: str, name: str = "page.html") -> Template:
    """The frame of a page."""
    return Template(joined(package, name))


def _sha256(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
