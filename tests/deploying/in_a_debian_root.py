"""Runs the steps of Dockerfile.gpu as they stand in a plain Debian 13, and then what was built: for machines without a
container engine.

    python -m tests.deploying.in_a_debian_root                      # the cpu target: 10 minutes, 17 GB meanwhile
    python -m tests.deploying.in_a_debian_root --keep build/image   # leaves the layers there, and goes on from them

Needs root, Linux, debootstrap and a network. Steps are read from the file (`dockerfile`) and run in layers (`roots`);
nothing of them is written down here. What was built is then started as a careful container: user 1000, a root that
cannot be written to, no capabilities, no network.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.deploying import roots
from tests.deploying.context import laid_out
from tests.deploying.dockerfile import Copy, Run, Say, Set, Stage, chain, expanded, stages
from tests.deploying.roots import Root, Running
from tests.deploying.started import Image, started

TOP = Path(__file__).resolve().parents[2]

DEBIAN = "trixie"
"""What the image of the first stage is a slim one of."""


@dataclass(frozen=True)
class Site:
    """Where it is built."""

    work: Path
    context: Path
    """What the build is given: the working copy less what .dockerignore leaves out."""
    cache: Path
    """Of packages; outlives the build."""

    def folder(self, name: str) -> Path:
        return self.work / "layers" / name


def build(target: str, site: Site, args: Mapping[str, str]) -> tuple[Image, list[tuple[str, float]]]:
    """Build a stage and those that it needs; each step with its seconds."""
    every = stages((TOP / "Dockerfile.gpu").read_text(encoding="utf-8"))
    took: list[tuple[str, float]] = []
    built: dict[str, Image] = {}
    for one in every:
        if one.name in _needed(every, target):
            with _timed(f"{one.name}: FROM {one.base}", took):
                base = built.get(one.base) or _debian(one.base, site)
                image = Image(base.root.above(site.folder(one.name)), dict(base.env), dict(base.said))
            _build(one, image, built, site, args, took)
            built[one.name] = image
    return built[target], took


def _needed(every: list[Stage], target: str) -> set[str]:
    """Names of the stage, of those it is built on, and of those that files are taken from."""
    needed = {target}
    while True:
        more = {one.name for name in needed for one in chain(every, name)}
        more |= {
            step.stage
            for one in every
            if one.name in more
            for step in one.steps
            if isinstance(step, Copy) and step.stage is not None
        }
        if more <= needed:
            return needed
        needed |= more


def _debian(image: str, site: Site) -> Image:
    """What stands for `debian:trixie-slim`: the smallest system that debootstrap makes."""
    if image != f"debian:{DEBIAN}-slim":
        raise SystemExit(f"FROM {image}: only debian:{DEBIAN}-slim is known here")
    folder = site.folder("debian")
    if not (folder / "etc/debian_version").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["debootstrap", "--variant=minbase", DEBIAN, folder], check=True, stdout=subprocess.DEVNULL)
    return Image(Root((folder,)))


def _build(one: Stage, image: Image, built: dict[str, Image], site: Site, args: Mapping[str, str], took: list) -> None:
    given: dict[str, str] = {}
    for step in one.steps:
        values = {**image.env, **given}
        match step:
            case Set(name, value, kept):
                if kept:
                    image.env[name] = expanded(value, values)
                else:
                    given[name] = args.get(name, value)
            case Say(what, value):
                image.said[what] = step if what in _LISTS else replace(step, value=expanded(value, values))
            case Copy(sources, target, stage):
                with _timed(f"{one.name}: COPY {' '.join(sources)} {target}", took):
                    to = os.path.join(image.folder, target)
                    for source in sources:
                        if stage is None:
                            roots.given(site.context / source, image.root, to)
                        else:
                            roots.copied(built[stage].root, source, image.root, to)
            case Run(command, mounts):
                binds = {m.target: site.cache if m.type == "cache" else site.context / m.source for m in mounts}
                how = Running(values, image.user, image.folder, {**binds, **_certificates()})
                with _timed(f"{one.name}: RUN {command[:90]}", took):
                    roots.run(image.root, command, replace(how, env=_network(values)), out=site.work / "build.log")


_LISTS = frozenset({"ENTRYPOINT", "CMD", "HEALTHCHECK", "VOLUME", "EXPOSE"})

_CERTIFICATES = "/run/certificates-of-this-machine.crt"


def _certificates() -> dict[str, Path]:
    """Where this machine trusts others than Debian does, its steps have to, too; as a bind, so that nothing is left."""
    file = os.environ.get("SSL_CERT_FILE")
    return {_CERTIFICATES: Path(file)} if file else {}


def _network(values: Mapping[str, str]) -> dict[str, str]:
    proxies = {name: os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if name in os.environ}
    trust = dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), _CERTIFICATES)
    return {**values, **proxies, **(trust if _certificates() else {})}


@contextmanager
def _timed(what: str, took: list[tuple[str, float]]) -> Iterator[None]:
    print(f"        {what}", end="", flush=True)
    began = time.monotonic()
    yield
    took.append((what, time.monotonic() - began))
    print(f"\r{took[-1][1]:6.1f}s", flush=True)


def rules_checked(site: Site) -> str:
    """What Debian's promtool says about the alerts, and about their tests."""
    root = _debian(f"debian:{DEBIAN}-slim", site).root.above(site.folder("prometheus"))
    roots.run(root, _PROMTOOL, Running(_network({}), binds=_certificates()), out=site.work / "build.log")
    here = Running(folder="/src", binds={"/src": TOP}, scratch=("/tmp",), locked=True)
    commands = (
        "check rules configs/prometheus/alerts.yaml",
        "check config --syntax-only configs/prometheus/prometheus.yaml",
        "test rules tests/deploying/alerts_tests.yaml",
    )
    said = "".join(roots.run(root, f"promtool {command}", here) for command in commands)
    print(said)
    return said


_PROMTOOL = "apt-get update && apt-get install --yes --no-install-recommends prometheus && mkdir /src"


def main() -> None:
    """Build, run what was built, say how long each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu", help="stage to build (cpu)")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", type=Path, help="folder for the layers, which stay; a system that is there is used")
    parser.add_argument("--record", type=Path, help="file for what was run and how long it took, as JSON")
    said = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.exit("this needs to be root, and debootstrap (apt-get install debootstrap)")
    with tempfile.TemporaryDirectory(
        prefix="image-check-", dir=TOP / "build" if (TOP / "build").is_dir() else None
    ) as own:
        work = (said.keep or Path(own)).resolve()
        for old in (work / "layers").glob("*"):
            if old.name != "debian":
                shutil.rmtree(old)
        context = work / "context"
        shutil.rmtree(context, ignore_errors=True)
        laid_out(TOP, context)
        cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache/uv"))
        cache.mkdir(parents=True, exist_ok=True)
        site = Site(work, context, cache)
        args = dict(arg.partition("=")[::2] for arg in said.build_arg)
        image, took = build(said.target, site, args)
        checks = started(image, work) | {"promtool": rules_checked(site)}
        sizes = {layer.name: _bytes(layer) for layer in image.root.layers}
    for name, size in sizes.items():
        print(f"{size / 1e6:8.0f} MB  {name}")
    if said.record:
        record = {"target": said.target, "steps": took, "checks": checks, "layer_bytes": sizes}
        said.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _bytes(folder: Path) -> int:
    return int(subprocess.run(["du", "-sbx", folder], check=True, capture_output=True, text=True).stdout.split()[0])


if __name__ == "__main__":
    main()
