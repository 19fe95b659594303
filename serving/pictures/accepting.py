"""Which kind of picture somebody gets, by their `Accept` (RFC 9110, 12.5.1)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.pictures import Kind


def kind_for(accept: str | None) -> "Kind":
    """WebP for those who name it and want nothing more than that; else JPEG, which all can read, and which is also what
    those get who accept neither: a picture is of more use to them than a refusal."""
    weights: dict[str, float] = {}
    for one in (accept or "").lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        weights[name] = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
    webp = weights.get("image/webp", 0.0)
    return "webp" if webp > 0 and webp >= weights.get("image/jpeg", 0.0) else "jpeg"


def _weight(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0
