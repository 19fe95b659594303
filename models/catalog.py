"""From a name to a loaded model.

    auto                          a real CLIP where it can be had, else the bundled one (and a notice says which)
    bundled                       the small model that comes with the package
    ViT-B-32/openai               an architecture and a pretrained tag of open_clip (also ViT-B-32__openai)
    hf-hub:org/repo               an open_clip model on the hub
    local-dir:/path               the same on disk: open_clip_config.json and open_clip_model.safetensors
    ViT-B-32@/path/x.safetensors  an architecture and a file of weights
    ViT-B-32/random               untrained: for benchmarks and tests

    classifier:resnet50@/x.safetensors  an architecture of torchvision with a file of weights, see `models.classifier`
    head:/path                    a head on another model's vectors, see `models.heads`
    package.module:Class          a class of yours, see `models.custom` and docs/models.md
    NAME                          one that an installed package registered as an entry point `automations.models`

The first six give an `Encoder`, which an analysis can be made with; the others look on besides.

Importing this module loads no network and no torch; `load` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeGuard, TypeVar

from models import custom, trial
from models.base import Encoder, FrameModel, Head
from models.errors import BadModel, ModelError, UnknownModel, WeightsUnavailable

if TYPE_CHECKING:
    from models.device import Placement

DEFAULT = "ViT-B-32/laion2b_s34b_b79k"
"""What `auto` means where it can be had. The smallest CLIP that knows the world well: 66.6 % zero-shot ImageNet at
9 GFLOP a frame, so that two cores without a GPU keep up with 18 frames a second; MIT licence, safetensors, 600 MB."""

BUNDLED = "bundled"

NO_OPTIONS: Final = MappingProxyType[str, Any]({})


@dataclass(frozen=True, slots=True)
class ModelNotice:
    """Something about the loading that the caller should know."""

    code: str
    message: str


M = TypeVar("M", bound=FrameModel | Head)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[M]):
    """A model, ready to run, and what there is to say about how it was come by."""

    model: M
    notices: tuple[ModelNotice, ...] = ()


Options = Mapping[str, Any]
"""What a model is made with besides, by name: plain values, as a YAML has them."""

Factory = Callable[[str, "Placement", Options], Loaded[Any]]


def load(
    name: str, device: str | None = None, dtype: str | None = None, options: Options = NO_OPTIONS
) -> Loaded[Encoder]:
    """As `load_any`, for what an analysis can be made with.

    Raises:
        ModelError: as `load_any`; BadModel where it is no encoder.
    """
    loaded = load_any(name, device, dtype, options)
    model = loaded.model
    if not is_encoder(model):
        raise BadModel(
            f"{name} is no encoder: it has no text tower in its own space (embed_text, likelihood, known_words), so "
            "that labels and prompts mean nothing to it; let it look on besides another one (`models` of a request, "
            "--with)"
        )
    return Loaded(model, loaded.notices)


def load_any(
    name: str,
    device: str | None = None,
    dtype: str | None = None,
    options: Options = NO_OPTIONS,
    limits: trial.Limits | None = trial.LIMITS,
) -> Loaded[FrameModel | Head]:
    """The model of that name on the best device, or the one asked for. One of others is first tried out elsewhere.

    Args:
        device: `cpu`, `cuda` or `cuda:N`; None: the best.
        dtype: `float32` or `bfloat16`; None leaves the choice to a measurement.
        options: what else it is made with.
        limits: of the process in which a model of others is tried out, see `models.trial`; None: it is not.

    Raises:
        ModelError: each says what to do.
    """
    factory = factory_of(name)
    if factory is None:
        raise _unknown(name)
    from models.device import place

    placement = place(device, dtype)
    if limits is not None and factory in (_load_class, _load_entry_point):
        trial.require_sound(name, placement, options, limits)
    return factory(name, placement, options)


def factory_of(name: str) -> Factory | None:
    """What loads a name, by its form; of entry points, whether one is there. None: nothing does."""
    found = next((factory for pattern, factory in FACTORIES if fnmatchcase(name, pattern)), None)
    return _load_entry_point if found is None and custom.entry_point(name) is not None else found


def names_encoder(name: str) -> bool:
    """Whether whatever has a name of this form is an encoder. Not so of classes of others: some are."""
    pattern = next((pattern for pattern, _ in FACTORIES if fnmatchcase(name, pattern)), None)
    return pattern is not None and pattern not in ("classifier:*", "head:*", "*:*")


def is_encoder(model: FrameModel | Head) -> TypeGuard[Encoder]:
    """Whether an analysis can be made with it."""
    whole = all(hasattr(model, name) for name in ("embed_text", "likelihood", "known_words", "preprocess"))
    return whole and model.info.kind == "embedding"


def _plain(load: Callable[[str, Placement], Loaded[Any]]) -> Factory:
    """A factory of models that have no options. Raises BadModel where there are some."""

    def factory(name: str, placement: Placement, options: Options) -> Loaded[Any]:
        if options:
            raise BadModel(f"{name} takes no options, not {', '.join(options)}")
        return load(name, placement)

    return factory


def _clip(load: Callable[[str, Placement], Loaded[Any]]) -> Factory:
    """A factory of open_clip models. Their only option is `compile`: true, or frames in a batch; see
    `models.compiling`. Raises BadModel for others."""

    def factory(name: str, placement: Placement, options: Options) -> Loaded[Any]:
        asked = options.get("compile", False)
        if options.keys() - {"compile"} or not isinstance(asked, int) or asked < 0:
            raise BadModel(f"{name} takes one option, compile: true, or frames in a batch; not {dict(options)}")
        loaded = load(name, placement)
        if not asked:
            return loaded
        found = loaded.model.compile() if asked is True else loaded.model.compile(asked)
        message = f"torch.compile {'is' if found.used else 'is not'} used for {name}: {found.said}."
        return Loaded(
            loaded.model, (*loaded.notices, ModelNotice("compiled" if found.used else "not_compiled", message))
        )

    return factory


def _load_classifier(name: str, placement: Placement, options: Options) -> Loaded[Any]:
    from models.classifier import load_classifier

    return load_classifier(name, placement, options)


def _load_head(name: str, placement: Placement) -> Loaded[Any]:
    from models.heads import from_path

    return Loaded(from_path(name, name.removeprefix("head:")))


def _load_class(name: str, placement: Placement, options: Options) -> Loaded[Any]:
    return Loaded(custom.from_class(name, placement, options))


def _load_entry_point(name: str, placement: Placement, options: Options) -> Loaded[Any]:
    return Loaded(custom.from_entry_point(name, placement, options))


def _load_auto(name: str, placement: Placement) -> Loaded[Encoder]:
    try:
        loaded = _load_tag(DEFAULT, placement)
    except ModelError as error:
        missing = isinstance(error, WeightsUnavailable)
        why = "is not on this machine and could not be downloaded" if missing else f"cannot be used ({error})"
        message = f"Using the small bundled model, which knows only simple shapes and colours: {DEFAULT} {why}."
        loaded = _load_bundled(BUNDLED, placement)
        return Loaded(loaded.model, (*loaded.notices, ModelNotice("bundled_model", message)))
    return Loaded(loaded.model, (*loaded.notices, ModelNotice("auto_model", f"Using {DEFAULT}.")))


def _load_bundled(name: str, placement: Placement) -> Loaded[Encoder]:
    from models.weights import bundled_folder, from_folder

    return Loaded(from_folder(name, bundled_folder(), placement))


def _load_folder(name: str, placement: Placement) -> Loaded[Encoder]:
    from models.weights import from_folder

    return Loaded(from_folder(name, name.removeprefix("local-dir:"), placement))


def _load_repository(name: str, placement: Placement) -> Loaded[Encoder]:
    from models.weights import from_repository

    return Loaded(from_repository(name, name.removeprefix("hf-hub:"), placement))


def _load_file(name: str, placement: Placement) -> Loaded[Encoder]:
    from models.weights import architectures, from_file

    architecture, _, path = name.partition("@")
    if architecture not in architectures():
        raise _unknown(name)
    return Loaded(from_file(name, architecture, path, placement))


def _load_random(name: str, placement: Placement) -> Loaded[Encoder]:
    from models.weights import architectures, from_seed

    architecture = name.removesuffix("/random")
    if architecture not in architectures():
        raise _unknown(name)
    message = f"{architecture} has random weights: its vectors mean nothing."
    return Loaded(from_seed(name, architecture, placement), (ModelNotice("random_weights", message),))


def _load_tag(name: str, placement: Placement, separator: str = "/") -> Loaded[Encoder]:
    from models.weights import from_tag, tags

    architecture, _, tag = name.partition(separator)
    if (architecture, tag) not in tags():
        raise _unknown(name)
    return Loaded(from_tag(name, architecture, tag, placement))


FACTORIES: tuple[tuple[str, Factory], ...] = (
    ("auto", _clip(_load_auto)),
    (BUNDLED, _clip(_load_bundled)),
    ("local-dir:*", _clip(_load_folder)),
    ("hf-hub:*", _clip(_load_repository)),
    ("classifier:*", _load_classifier),
    ("head:*", _plain(_load_head)),
    ("*@*", _clip(_load_file)),
    ("*/random", _clip(_load_random)),
    ("*/*", _clip(_load_tag)),
    ("*__*", _clip(partial(_load_tag, separator="__"))),
    ("*:*", _load_class),
)
"""Shell pattern -> what loads such a name; the first that fits is taken. Entry points come after all of them."""


def names() -> Iterator[str]:
    """Every name that needs no path of the caller's: 190 pretrained models besides `auto` and `bundled`."""
    from models.weights import tags

    yield from ("auto", BUNDLED)
    yield from ("/".join(pair) for pair in tags())


def _unknown(name: str) -> ModelError:
    from difflib import get_close_matches

    from models.weights import tags

    architecture = name.replace("__", "/").replace("@", "/").partition("/")[0]
    known = [*names(), *sorted({pair[0] for pair in tags()})]
    near = get_close_matches(name.replace("__", "/"), known, 3) + get_close_matches(architecture, known, 2)
    hint = f"; near names: {', '.join(dict.fromkeys(near))}" if near else ""
    return UnknownModel(
        f"there is no model {name!r}{hint}. Give a name like {DEFAULT}, hf-hub:ORG/REPO, local-dir:FOLDER, "
        "ARCHITECTURE@FILE.safetensors, or bundled; or what looks on besides: classifier:ARCHITECTURE@FILE, head:FILE, "
        "package.module:Class, or the name of an installed entry point"
    )
