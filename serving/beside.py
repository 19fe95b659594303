"""Which models run beside an encoder, and on what: frames, or the vectors of one of the others."""

from collections.abc import Mapping
from typing import cast

from models.base import Encoder, FrameModel, Head, ModelInfo
from models.catalog import is_encoder
from pipeline.checking import require_rows, told
from pipeline.engine import Added, in_turn
from pipeline.errors import ModelUnavailable


def require_encoder(name: str, model: FrameModel | Head) -> Encoder:
    """The model, if an analysis can be made with it.

    Raises:
        ModelUnavailable: it can only look on besides.
    """
    if not is_encoder(model):
        raise ModelUnavailable(no_encoder(name, model.info))
    return model


def no_encoder(name: str, info: ModelInfo) -> str:
    """What is said of a model that was asked for as one."""
    return (
        f"{name} ({info.kind}) cannot be what an analysis is made with: it is no encoder with a text tower; "
        "let it look on besides one (`spec.models`, --with)"
    )


def all_added(models: Mapping[str, FrameModel | Head], encoder: str, info: ModelInfo) -> dict[str, Added]:
    """How an engine runs models beside an encoder. Arguments and errors as `added_of`, and `given_in_turn`."""
    added = {name: added_of(models, encoder, info, only=name) for name in models}
    given_in_turn(added)
    return added


def given_in_turn(added: Mapping[str, Added]) -> list[str]:
    """Their names, those whose vectors others read before these.

    Raises:
        ModelUnavailable: they read each other's vectors in a circle.
    """
    try:
        return in_turn(added)
    except ValueError as error:
        raise ModelUnavailable(str(error)) from error


def added_of(models: Mapping[str, FrameModel | Head], encoder: str, info: ModelInfo, *, only: str) -> Added:
    """How an engine runs a model beside an encoder.

    Args:
        models: all that look on besides, by the names under which jobs ask for them.
        encoder: the name of the encoder in the engine.
        info: of the encoder.
        only: the name of the model.

    Raises:
        ModelUnavailable: it does not compute, or is a head and none of the others gives vectors of its space.
    """
    model = models[only]
    space = model.info.needs.space
    prove(only, model)
    if space is None:
        return Added(model)
    givers = {encoder: info} | {other: one.info for other, one in models.items() if other != only}
    of = next((giver for giver, card in givers.items() if card.kind == "embedding" and card.space == space), None)
    if of is None:
        spaces = ", ".join(f"{card.name} ({card.space})" for card in givers.values() if card.kind == "embedding")
        trained = getattr(model, "trained_on", None)
        hint = f": run it with the model {trained}" if trained else ""
        raise ModelUnavailable(f"{only} reads vectors of the space {space}, not of {spaces}{hint}")
    return Added(model, of)


def prove(name: str, model: FrameModel | Head) -> None:
    """Have a model that looks on besides compute something, before a job depends on it.

    Raises:
        ModelUnavailable: nothing, or something else than it says of itself.
    """
    try:
        if model.info.needs.space is not None:
            # How long its vectors are, only the model knows that gives them.
            return
        frames = cast(FrameModel, model)
        pixels = frames.example()
        require_rows(frames.encode(frames.preprocess(pixels)), len(pixels), model.info)
    except Exception as error:
        raise ModelUnavailable(f"{name} does not compute what it should: {told(error)}") from error
