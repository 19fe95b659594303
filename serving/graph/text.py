"""A replica of text towers: queries and vocabularies are embedded here and do not wait behind frames."""

import numpy as np

from serving.graph.args import TEXT, TextConfig
from serving.graph.loading import TextModels
from serving.graph.networks import Networks
from serving.graph.replica import Replica


class TextReplica(Replica[TextConfig, TextModels]):
    """The deployment `text`."""

    _kind = TextConfig

    def __init__(self, replica: str | None = None) -> None:
        """`replica`: see `Replica`."""
        super().__init__(TEXT, replica)

    def _models(self, config: TextConfig, found: Networks) -> TextModels:
        return TextModels(config, found)

    async def _embed(self, models: TextModels, texts: list[str], identity: str) -> np.ndarray:
        return await models.embed(texts, identity)
