"""What the text tower of a model is asked for a video: its labels, and what a good moment shows."""

from collections.abc import Sequence

import numpy as np

from pipeline import signals, tags, vocabulary
from pipeline.frames import Samples
from pipeline.report import Notice, Source, Tag
from pipeline.spec import AnalysisSpec, Label
from pipeline.toolkit import TextTower, Toolkit


def found_tags(
    samples: Samples, spec: AnalysisSpec, toolkit: Toolkit, duration_s: float
) -> tuple[tuple[Tag, ...], list[Notice]]:
    """Tags of the labels that were asked for, or of the model's default vocabulary; and what to say of them."""
    encoder = toolkit.encoder
    labels = spec.labels
    if labels is None:
        labels = vocabulary.read("general" if encoder.known_words is None else "bundled")
    if not labels:
        return (), []
    vectors = tags.embed(labels, encoder, encoder.likelihood)
    found = tags.find(
        samples.pts_s,
        samples.embeddings,
        vectors,
        encoder.likelihood,
        duration_s=duration_s,
        source=Source(name=encoder.info.name, version=encoder.info.space),
    )
    return found, unknown_words(labels, encoder)


def unknown_words(labels: Sequence[Label], encoder: TextTower) -> list[Notice]:
    """What to say of labels that a model was never taught."""
    if encoder.known_words is None:
        return []
    unknown = []
    for label in labels:
        texts = label.prompts or (label.name,)
        if not any(set(text.lower().split()) <= encoder.known_words for text in texts):
            unknown.append(label.name)
    if not unknown:
        return []
    return [
        Notice(
            code="unknown_label",
            message=f"the model {encoder.info.name} was never taught these labels, so it cannot find them: "
            f"{', '.join(unknown)}; use a pretrained model (--model) for everyday things",
        )
    ]


def relevance_vectors(spec: AnalysisSpec, toolkit: Toolkit) -> dict[str, np.ndarray]:
    """What the relevance signal compares frames with; nothing where nobody said and no general words are known."""
    encoder = toolkit.encoder
    if spec.segments.prompts:
        return {"wanted": encoder.embed_text(list(spec.segments.prompts))}
    if encoder.known_words is None:
        return {
            "wanted": encoder.embed_text(list(signals.HIGHLIGHT_PROMPTS)),
            "unwanted": encoder.embed_text(list(signals.FILLER_PROMPTS)),
        }
    return {}
