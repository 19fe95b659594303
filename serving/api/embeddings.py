"""Vectors of texts, by the models that jobs run: what a search of one's own is made of."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

from litestar import post
from msgspec import Meta

from pipeline.record import Record
from serving.api.access import needs
from serving.graph.client import GraphClient

if TYPE_CHECKING:
    from serving.graph.messages import Embedded

#: Digits behind the point of a number in a vector of length 1, whose float32 has as many that mean something.
_DIGITS: Final = 7

Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class EmbeddingRequest(Record, frozen=True, kw_only=True):
    """Texts of which vectors are wanted."""

    input: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)]
    """Each is read by itself. Models read the first words of long ones only."""
    model: Annotated[str, Meta(min_length=1, max_length=300)] = "auto"
    """As jobs ask for it: a name of `GET /v1/models`."""


class EmbeddingView(Record, frozen=True, kw_only=True):
    """Vectors of texts."""

    model: str
    """That was asked for."""
    space: str
    """Identity of the vector space, as of a job's report with the same model. Vectors of two spaces are never
    compared: it changes when the operator replaces the model."""
    dim: int
    """Numbers of a vector."""
    data: tuple[tuple[float, ...], ...]
    """One vector for each text, in their order; each of length 1, so that the cosine of two is their product."""


@post(
    "/v1/embeddings",
    operation_id="embed_texts",
    **needs("videos:read"),
    tags=["models"],
    status_code=200,
    summary="Vectors of texts",
)
async def embed(graph: GraphClient, data: EmbeddingRequest) -> EmbeddingView:
    """Turn texts into vectors of the space that a model puts frames into. Needs the graph: while that is away or
    started again, the answer is 503 (`engine_unavailable`) with `Retry-After`, as it is of a server that runs without
    one (`--engine local`)."""
    embedded = await graph.embed(data.model, data.input)
    return await asyncio.to_thread(_view, data.model, embedded)


def _view(model: str, embedded: "Embedded") -> EmbeddingView:
    rows = embedded.rows.astype("float64").round(_DIGITS).tolist()
    return EmbeddingView(model=model, space=embedded.space, dim=embedded.rows.shape[1], data=tuple(map(tuple, rows)))
