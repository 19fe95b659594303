"""Manifests of Kubernetes, and what in them is said elsewhere.

python -m tests.deploying.manifests        # puts configs/cluster.yaml and the alerts into the manifests again
"""

from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "configs/kubernetes"

#: Manifest -> the line that is followed, to the end of the file, by lines of another file.
_ENDS = {
    "graph.yaml": "  serveConfigV2: |\n",
    "monitoring.yaml": "  groups:\n",
}


def documents(name: str) -> list[dict[str, Any]]:
    """What is in a manifest."""
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def document(name: str, kind: str) -> dict[str, Any]:
    """The one of that kind in a manifest."""
    return next(one for one in documents(name) if one["kind"] == kind)


def complete(name: str) -> str:
    """The text of a manifest as it should be."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    head, mark, _ = text.partition(_ENDS[name])
    assert mark, f"{name} has no line {_ENDS[name]!r}"
    return head + mark + _rest(name)


def _rest(name: str) -> str:
    if name == "graph.yaml":
        return _indented((TOP / "configs/cluster.yaml").read_text(encoding="utf-8"), 4)
    alerts = (TOP / "configs/prometheus/alerts.yaml").read_text(encoding="utf-8")
    return _indented(alerts.partition("groups:\n")[2], 2)


def _indented(text: str, width: int) -> str:
    return "".join(f"{' ' * width}{line}\n" if line else "\n" for line in text.splitlines())


if __name__ == "__main__":
    for manifest in _ENDS:
        (FOLDER / manifest).write_text(complete(manifest), encoding="utf-8")
