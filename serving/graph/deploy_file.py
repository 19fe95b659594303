"""Serve YAMLs as files: those that come with the package, and the operator's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from serving.graph.args import InvalidGraph

FOLDER: Final = Path(__file__).resolve().parents[2] / "configs"

NAMES: Final = ("cpu", "single-gpu", "cluster")
"""Of the files in `FOLDER`, and of the machines that they are for (`machines.CLASSES`)."""

DEFAULT: Final = "cpu"
"""What a machine runs of which nothing is said."""


def path_of(said: str) -> Path:
    """A file: `cpu`, `single-gpu` and `cluster` are those of the package, everything else is a path."""
    return FOLDER / f"{said}.yaml" if said in NAMES else Path(said)


def load(path: Path) -> dict[str, Any]:
    """What a file says, before anything of it is checked.

    Raises:
        InvalidGraph: it cannot be read, is no YAML, says something twice, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidGraph(f"{path} cannot be read ({why})") from error
    return parse(text, str(path))


def gateway_url(deploy: Mapping[str, Any]) -> str:
    """Where processes of the same machine reach the graph's gateway, as Serve will have it."""
    options = deploy.get("http_options") or {}
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host := str(options.get("host", "127.0.0.1")), host)
    return f"http://{f'[{host}]' if ':' in host else host}:{options.get('port', 8000)}"


def parse(text: str, where: str) -> dict[str, Any]:
    """As `load`, of a text; `where` is what errors call it."""
    import yaml

    class Loader(yaml.SafeLoader):
        """What Serve reads YAML with, but that the second of two equal keys does not win in silence."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                if key.value in seen:
                    raise InvalidGraph(f"{where}, line {key.start_mark.line + 1}: {key.value} is there twice")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise InvalidGraph(
            f"{where}{line}: no YAML ({getattr(error, 'problem', None) or 'it cannot be read'})"
        ) from error
    if not isinstance(content, dict):
        raise InvalidGraph(f"{where}: no Serve YAML, which has `applications:`")
    return content


def write(deploy: Mapping[str, Any]) -> str:
    """The YAML of what `load` gave, in the same order."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Says everything where it belongs, rather than by a reference to where it was said before."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(dict(deploy), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
