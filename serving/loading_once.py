"""Models of this process, each there once, however many engines run it."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from models.stamps import Stamp, changed
from serving.local import Load

if TYPE_CHECKING:
    from models.catalog import Loaded


class Once:
    """Loads a model unless an engine has it already, and its file is still the same."""

    def __init__(self, load: Load, stamp: Callable[[str], Stamp | None]) -> None:
        self._load, self._stamp = load, stamp
        self._locks: dict[str, threading.Lock] = {}
        self._told: dict[str, tuple[Stamp | None, tuple[Any, ...]]] = {}
        self._there: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __call__(self, name: str) -> "Loaded[Any]":
        """See `Load`."""
        from models.catalog import Loaded

        with self._locks.setdefault(name, threading.Lock()):
            model, now = self._there.get(name), self._stamp(name)
            if model is None or changed(self._told[name][0], now):
                loaded = self._load(name)
                self._there[name], self._told[name] = loaded.model, (now, loaded.notices)
                return loaded
            return Loaded(model, self._told[name][1])
