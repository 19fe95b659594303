"""Models that an operator gave a name, with all that belongs to each: `jobs.models_file`.

    models:
      sports: {source: "head:heads/sports.safetensors"}
      defects: {source: "my_package.models:Defects", options: {threshold: 0.7}, device: cpu}

Each entry is what a Serve YAML has in `user_config.models`, so that it can be moved there as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import InvalidSettings, ModelUnavailable
from pipeline.record import Record
from pipeline.spec import DEFAULT_WEIGHTS
from serving.graph.args import InvalidGraph, ModelConfig, Models, read
from serving.settings import Settings

if TYPE_CHECKING:
    from models.catalog import Loaded


PLAIN: Final = ModelConfig()
"""Of a name that the file does not have: the catalog's model of that name."""


class ModelsFile(Record, frozen=True, kw_only=True):
    """What `jobs.models_file` holds."""

    models: Models


def named_models(settings: Settings) -> Mapping[str, ModelConfig]:
    """Those of the file; none where there is no file.

    Raises:
        InvalidSettings: it cannot be read, or says what cannot be; the message begins with the place.
    """
    import yaml

    if not settings.jobs.models_file:
        return {}
    path = Path(settings.jobs.models_file).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(f"jobs.models_file: {path} cannot be read ({error})".replace("\n", " ")) from error
    if not isinstance(content, dict):
        raise InvalidSettings(f"jobs.models_file: {path} holds no mapping; it begins with `models:`")
    try:
        models = read(ModelsFile, content, str(path)).models
    except InvalidGraph as error:
        raise InvalidSettings(str(error)) from error
    for name in models:
        if name in DEFAULT_WEIGHTS:
            raise InvalidSettings(f"{path}.models: {name} is the name of a signal of every video; give it another one")
    return models


def allowed(settings: Settings) -> tuple[str, ...]:
    """Names that jobs may ask for, the one that every worker loads first. Raises InvalidSettings as `named_models`."""
    return tuple(dict.fromkeys((*settings.jobs.models.split(","), *named_models(settings))))


def load_any(config: ModelConfig, name: str) -> Loaded[Any]:
    """The model behind a name.

    Raises:
        ModelUnavailable: it cannot be loaded; says why and what to do.
    """
    from models import catalog
    from models.errors import ModelError
    from models.trial import Limits

    limits = Limits(seconds=config.trial_s, memory_gib=config.trial_gib)
    try:
        loaded = catalog.load_any(config.source_of(name), config.device, config.dtype, config.options, limits)
    except ModelError as error:
        raise ModelUnavailable(f"{name}: {error}") from error
    there = loaded.model.info.device
    # `cuda` is any of them.
    if config.device in (None, "auto", there, there.partition(":")[0]):
        return loaded
    message = f"{name} was to run on {config.device} and runs on {there}, as it says of itself."
    return catalog.Loaded(loaded.model, (*loaded.notices, catalog.ModelNotice("other_device", message)))
