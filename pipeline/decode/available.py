"""What this machine can decode with which library, and what to do where it cannot. Never raises."""

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True, slots=True)
class Support:
    """One library on one kind of device."""

    library: str
    """The decoder's name."""
    device: str
    """`cpu` or `cuda`."""
    version: str | None
    """Of the package; None where it is not installed."""
    why_not: str | None
    """Why it does not work here; None where it does."""
    fix: str | None
    """What would make it work, in one line; None where it works."""

    @property
    def works(self) -> bool:
        """Whether Clips can be given to it; what it takes of them, the decoder says."""
        return self.why_not is None


_PACKAGES = {
    "pyav": ("av",),
    "torchcodec": ("torchcodec",),
    "dali": ("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
    "decord": ("decord",),
}

#: Library -> devices that there is an adapter for.
DEVICES = {
    "torchcodec": ("cpu", "cuda"),
    "dali": ("cpu", "cuda"),
    "decord": ("cpu",),
    "pyav": ("cpu",),
}


def machine() -> tuple[Support, ...]:
    """Every library on every device that there is an adapter for. Imports them all: seconds, once."""
    return tuple(support(library, device) for library, devices in DEVICES.items() for device in devices)


@lru_cache
def support(library: str, device: str) -> Support:
    """Whether `library` works on `device` (`cpu`, `cuda` or `cuda:0`). Kept for the life of the process."""
    device = device.partition(":")[0]
    if device not in DEVICES.get(library, ()):
        text = f"there is no adapter for {library} on {device}"
        return Support(library, device, None, text, "choose another decoder or device")
    installed = _version(_PACKAGES[library])
    if installed is None:
        fix = f"pip install {_PACKAGES[library][0]} (where it has a wheel for this system)"
        return Support(library, device, None, "not installed", fix)
    found = _LOADS[library]()
    if found is None and device == "cuda":
        found = _gpu()
    why_not, fix = found or (None, None)
    return Support(library, device, installed, why_not, fix)


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


Problem = tuple[str, str]
"""(why not, what to do)"""


def _imports(module: str) -> Problem | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything, and is an answer here
        return f"cannot be imported: {_line(error)}", "install it again; its libraries do not fit this system"
    return None


def _torchcodec() -> Problem | None:
    problem = _imports("torchcodec.decoders")
    if problem is not None:
        return problem
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportPrivateImportUsage]

    try:
        # Its libraries are loaded at first use only.
        VideoDecoder(b"no video")
    except Exception as error:  # noqa: BLE001 - of whatever kind: the text tells a missing library from a refusal
        if "Could not load libtorchcodec" in str(error):
            return "FFmpeg's shared libraries are not installed", "apt-get install ffmpeg (any version from 4 to 9)"
    return None


def _gpu() -> Problem | None:
    try:
        import torch

        if not torch.cuda.is_available():
            return "there is no CUDA device that torch can use", "run on a machine with an NVIDIA GPU and its driver"
    except Exception as error:  # noqa: BLE001 - a broken torch is an answer here
        return f"torch cannot be imported: {_line(error)}", "install torch again"
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError:
        text = "NVIDIA's decoder library (libnvcuvid) is not there"
        return text, "in a container, set NVIDIA_DRIVER_CAPABILITIES=all (or compute,utility,video)"
    return None


_LOADS: dict[str, Callable[[], Problem | None]] = {
    "pyav": lambda: _imports("av"),
    "torchcodec": _torchcodec,
    "dali": lambda: _imports("nvidia.dali.experimental.dynamic"),
    "decord": lambda: _imports("decord"),
}


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
