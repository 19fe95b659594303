"""The networks of a generation, each loaded once whoever asks for it by which name, and which run beside which."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from models.base import Encoder
from models.catalog import Loaded, is_encoder
from models.stamps import Stamp, changed, stamp
from pipeline.engine import Added
from pipeline.errors import ModelUnavailable
from serving.beside import added_of, given_in_turn
from serving.graph.args import ModelConfig
from serving.named_models import load_any


@dataclass(frozen=True, slots=True)
class Networks:
    """Models by the names under which jobs ask for them; one network may answer to several."""

    configs: Mapping[str, ModelConfig]
    loaded: Mapping[str, Loaded[Any]]
    stamps: Mapping[str, Stamp | None]
    """Of the files that they were loaded from, as they were before that."""

    @property
    def stale(self) -> bool:
        """Whether the file of one of them was replaced."""
        return any(changed(self.stamps[name], _stamp(name, config)) for name, config in self.configs.items())

    @property
    def identities(self) -> dict[str, str]:
        """See `generations.Models.identities`."""
        return {name: loaded.model.info.identity for name, loaded in self.loaded.items()}

    @property
    def encoders(self) -> dict[str, Loaded[Encoder]]:
        """Those that an analysis can be made with."""
        return {name: loaded for name, loaded in self.loaded.items() if is_encoder(loaded.model)}

    @property
    def beside(self) -> dict[str, Loaded[Any]]:
        """The others."""
        return {name: loaded for name, loaded in self.loaded.items() if not is_encoder(loaded.model)}

    def of(self, identity: str) -> Loaded[Any]:
        """One that gives such numbers. Raises StopIteration where there is none."""
        return next(loaded for loaded in self.loaded.values() if loaded.model.info.identity == identity)

    def of_space(self, space: str) -> Loaded[Encoder] | None:
        """One whose vectors, and texts, are of this space."""
        return next((loaded for loaded in self.encoders.values() if loaded.model.info.space == space), None)


def networks(configs: Mapping[str, ModelConfig], before: Networks | None) -> Networks:
    """Load them; of `before` is taken over what is configured the same and whose file is the same, so that it is there
    once.

    Raises:
        ModelUnavailable: one cannot be loaded; says which and why.
    """
    made: dict[bytes, Loaded[Any]] = {}
    loaded: dict[str, Loaded[Any]] = {}
    stamps: dict[str, Stamp | None] = {}
    for name, config in configs.items():
        stamps[name] = _stamp(name, config)
        whole = msgspec.structs.replace(config, source=config.source_of(name))
        said = msgspec.json.encode(whole, order="deterministic")
        if before is not None and before.configs.get(name) == config and not changed(before.stamps[name], stamps[name]):
            made.setdefault(said, before.loaded[name])
            stamps[name] = before.stamps[name]
        if said not in made:
            found = load_any(config, name)
            # Under another name it may be there already: `auto` is often another model's alias.
            twin = next((one for one in made.values() if one.model.info.identity == found.model.info.identity), None)
            made[said] = found if twin is None else Loaded(twin.model, found.notices)
        loaded[name] = made[said]
    return Networks(dict(configs), loaded, stamps)


def _stamp(name: str, config: ModelConfig) -> Stamp | None:
    return stamp(config.source_of(name), config.options)


def beside(networks: Networks) -> dict[str, dict[str, Added]]:
    """Name of each model that looks on besides -> what it is called in an engine -> how it is run: a head once for each
    encoder whose vectors it reads, for they may differ by their arithmetic.

    Raises:
        ModelUnavailable: one does not compute, or is a head that reads vectors which no model here gives, or its own.
    """
    models = {name: loaded.model for name, loaded in networks.beside.items()}
    found: dict[str, dict[str, Added]] = {name: {} for name in models}
    refused: dict[str, ModelUnavailable] = {}
    for encoder in networks.encoders.values():
        info = encoder.model.info
        each: dict[str, Added] = {}
        for name in models:
            try:
                each[name] = added_of(models, info.identity, info, only=name)
            except ModelUnavailable as error:
                refused[name] = error
        called: dict[str, str] = {}
        for name in given_in_turn(each):
            of = each[name].of
            if of in models:
                if of not in called:
                    refused[name] = refused[of]
                    continue
                of = called[of]
            called[name] = name if of is None else f"{name} of {of}"
            found[name][called[name]] = replace(each[name], of=of)
    for name, keys in found.items():
        if not keys:
            raise refused[name]
    return found
