"""Models of others: a class by its import path, or by the name that its package registered.

Such a class is a `FrameModel`, an `Encoder` or a `Head` of `models.base`. It is called with the options that the
configuration gives, by name, and with `placement=` (a `models.device.Placement`) where it takes one.

Loading one runs its code: names of this kind are for whoever runs the server, never for its users.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from models.base import FrameModel, Head
from models.declared import require_declared
from models.errors import BadModel, MissingDependency, UnknownModel

if TYPE_CHECKING:
    from models.device import Placement

GROUP = "automations.models"
"""Of entry points: `[project.entry-points."automations.models"]` of a package's pyproject.toml."""


def entry_point(name: str) -> EntryPoint | None:
    """The one of that name among installed packages.

    Raises:
        BadModel: several packages have one, so that nobody knows which is meant.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if len(found) > 1:
        owners = " and ".join(sorted(f"{one.dist.name if one.dist else 'a package'} ({one.value})" for one in found))
        raise BadModel(f"{name} is registered by {owners}: uninstall one, or name the class, package.module:Class")
    return found[0] if found else None


def registered() -> tuple[str, ...]:
    """Names that installed packages registered, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


def from_class(name: str, placement: Placement, options: Mapping[str, Any]) -> FrameModel | Head:
    """`package.module:Class` -> a model.

    Raises:
        UnknownModel: there is no such module or class.
        MissingDependency: the module needs what is not installed.
        BadModel: it cannot be made, or is no model; says why.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UnknownModel(
                f"there is no module {module_name} for {name}: install its package where the models run (pip install), "
                "or correct the name"
            ) from error
        raise MissingDependency(f"{name} needs a package that is not installed: {error}") from error
    except Exception as error:
        raise BadModel(f"{name}: its module fails at its import: {told(error)}") from error
    made = getattr(module, attribute, None)
    if made is None:
        raise UnknownModel(f"{module_name} has no {attribute}")
    return made_by(made, name, placement, options)


def from_entry_point(name: str, placement: Placement, options: Mapping[str, Any]) -> FrameModel | Head:
    """The model that an installed package registered. Raises as `from_class`."""
    found = entry_point(name)
    if found is None:
        raise UnknownModel(f"no installed package registers a model {name!r} ({GROUP})")
    try:
        made = found.load()
    except ImportError as error:
        raise MissingDependency(f"{name} ({found.value}) cannot be imported: {error}") from error
    except Exception as error:
        raise BadModel(f"{name} ({found.value}) fails at its import: {told(error)}") from error
    return made_by(made, name, placement, options)


def made_by(made: Any, name: str, placement: Placement, options: Mapping[str, Any]) -> FrameModel | Head:
    """What a class, or a function that gives a model, makes of its options.

    Raises:
        BadModel: nothing, or no model.
    """
    if not callable(made):
        raise BadModel(f"{name} is no class: it has to be one, or a function that gives a model")
    try:
        takes = inspect.signature(made).parameters
        placed = {"placement": placement} if "placement" in takes else {}
        model: Any = made(**placed, **options)
    except Exception as error:
        said = ", ".join(options) or "no options"
        raise BadModel(f"{name} cannot be made with {said}: {told(error)}") from error
    require_declared(model, name)
    return model


def told(error: BaseException) -> str:
    """An error in a line of 500 characters at most: which, and what it says first."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:500]
