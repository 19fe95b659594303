"""Weights of signals, as people write them."""

from collections.abc import Sequence

import msgspec

from pipeline.errors import InvalidSpec
from pipeline.spec import DEFAULT_WEIGHTS, AnalysisSpec, SegmentSpec, check, is_signal


def parse_weights(
    text: str | None, base: dict[str, float] = DEFAULT_WEIGHTS, name: str = "--weights", models: Sequence[str] = ()
) -> dict[str, float]:
    """`motion=2,audio=0` -> the weights of `base` with those changed.

    Args:
        name: what errors call them.
        models: that look on besides, and may give signals.

    Raises:
        InvalidSpec: not of that form, or an unknown signal.
    """
    weights = dict(base)
    for item in filter(None, (part.strip() for part in (text or "").split(","))):
        signal, equals, value = item.partition("=")
        try:
            number = float(value)
        except ValueError:
            equals = ""
            number = 0.0
        if not equals:
            raise InvalidSpec(f"{name}: {item!r} is not of the form signal=number")
        if not is_signal(signal.strip(), models):
            known = ", ".join((*DEFAULT_WEIGHTS, *models))
            raise InvalidSpec(f"{name}: unknown signal {signal.strip()!r}; known: {known}")
        weights[signal.strip()] = number
    return weights


def segment_spec(
    spec: AnalysisSpec, weights: str | None, max_segments: int | None, target_s: float | None
) -> SegmentSpec:
    """How segments are chosen by `spec`, with what was given changed.

    Raises:
        InvalidSpec: a value that cannot be; says which.
    """
    changes: dict[str, object] = {}
    if weights is not None:
        changes["weights"] = parse_weights(weights, spec.segments.weights, "weights", spec.models)
    if max_segments is not None:
        changes["max_segments"] = max_segments
    if target_s is not None:
        changes["target_s"] = target_s
    changed = msgspec.structs.replace(spec.segments, **changes)
    try:
        check(AnalysisSpec(segments=changed, models=spec.models))
    except InvalidSpec as error:
        # What it points at is a part of a spec; here there is none that the caller wrote.
        raise InvalidSpec(str(error)) from error
    return changed
