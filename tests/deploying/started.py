"""What was built, started as a careful container would start it: does it live, analyse and end?"""

import json
import os
import re
import shlex
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploying import roots
from tests.deploying.composing import composed
from tests.deploying.dockerfile import Say
from tests.deploying.roots import Root, Running


@dataclass
class Image:
    """A stage that was built, or is about to be."""

    root: Root
    env: dict[str, str] = field(default_factory=dict)
    said: dict[str, Say] = field(default_factory=dict)

    @property
    def user(self) -> str:
        return self.said["USER"].value if "USER" in self.said else "0:0"

    @property
    def folder(self) -> str:
        return self.said["WORKDIR"].value if "WORKDIR" in self.said else "/"


#: What both of the scripts below are made of. A part that dies, or takes too long, shows its log. One that was told to
#: end may say so: 143.
_TOOLS = """
fail() { echo "$1"; cat /tmp/*.log; exit 1; }
seconds() { echo $(( $(date +%s) - began )); }
until_true() {
  what=$1 process=$2; shift 2; began=$(date +%s)
  until "$@"; do
    kill -0 $process || fail "$what: never, for it has ended"
    [ $(seconds) -lt 300 ] || fail "$what: not in 300 s"
    sleep 1
  done
  echo "$what after $(seconds) s"
}
told_to_end() {
  kill -TERM $2; began=$(date +%s)
  wait $2; code=$?
  [ $code -eq 0 ] || [ $code -eq 143 ] || fail "$1 ended with $code"
  echo "$1 ended after $(seconds) s"
}
nothing_left() {
  for process in /proc/[0-9]*; do
    name=$(tr '\\0' ' ' < $process/cmdline)
    case ${process#/proc/} in 1|$$) ;; *) [ -z "$name" ] || fail "left: $name" ;; esac
  done
}
"""

#: What the image does by itself: is healthy, has a video analysed over the API, and ends.
_ALL = """
automations demo --out /tmp/demo > /tmp/demo.log 2>&1 || fail "no demo"
START > /tmp/server.log 2>&1 & server=$!
until_true healthy $server HEALTHY
export AUTOMATIONS_CLIENT__KEY=$(sed -n 's/^key *\\([^ ]*\\) .*/\\1/p' /tmp/server.log)
automations submit /tmp/demo/video.mp4 --wait || fail "no job"
told_to_end serve $server
nothing_left
"""

#: A database that is none of the parts' own, as where they are deployed.
_DATABASE = """
python -c 'import signal, sys; from pathlib import Path; from serving.db.embedded import embedded
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with embedded(Path("/data/postgres")) as url: print(url, flush=True), signal.pause()' > /tmp/url & database=$!
until_true "the database is there" $database grep --quiet postgresql /tmp/url
export AUTOMATIONS_SERVER__DATABASE_URL=$(cat /tmp/url)
automations MIGRATE
automations API > /tmp/api.log 2>&1 & api=$!
until_true "the api is healthy" $api API_HEALTHY
"""

#: What compose.yaml has it do: the API and the graph as parts of their own, healthy as it asks, Ray with its metrics.
_PARTS = """
automations GRAPH > /tmp/graph.log 2>&1 & graph=$!
until_true "the graph is healthy" $graph GRAPH_HEALTHY
until_true "a model computes" $graph HEALTHY
counted() { wget --quiet --output-document=- METRICS | grep --quiet '^ray_automations_model_generation'; }
until_true "it is counted" $graph counted
told_to_end graph $graph
API_HEALTHY || fail "the api needs the graph"
told_to_end api $api
told_to_end database $database
nothing_left
"""

#: What KubeRay has it do: Ray's own command in a login shell with a token, probes that have none, and a deployment over
#: the dashboard, which takes nothing without one.
_NODE = """
export RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef
bash -lc 'exec ray start --head --dashboard-host=0.0.0.0 --metrics-export-port=8080 --num-cpus=2 --block' \\
  > /tmp/ray.log 2>&1 & ray=$!
says() { wget --quiet --tries=1 --timeout=4 --output-document=- $1 | grep --quiet success; }
until_true "the node is alive" $ray says http://localhost:52365/api/local_raylet_healthz
until_true "the cluster is alive" $ray says http://localhost:8265/api/gcs_healthz
wget --quiet --output-document=/dev/null http://localhost:8265/api/serve/applications/ && fail "no token was asked for"
file=$(python -c 'from serving.graph.deploy_file import path_of; print(path_of("cpu"))')
serve deploy $file --address http://localhost:8265 || fail "not deployed"
until_true "the proxy is alive" $ray says http://localhost:8101/-/healthz
until_true "a model computes" $ray HEALTHY
"""


def started(image: Image, work: Path) -> dict[str, str]:
    """Name of a check -> what it said. Raises roots.Failed where one is not as it should be."""
    data = work / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    uid, _, gid = image.user.partition(":")
    os.chown(data, int(uid), int(gid))
    how = Running(
        image.env,
        image.user,
        image.folder,
        binds={image.said["VOLUME"].value: data},
        scratch=("/tmp", "/home/automations"),
        locked=True,
    )
    found: dict[str, str] = {}
    for name, command in _commands(image).items():
        began = time.monotonic()
        said = roots.run(image.root, command, how, timeout_s=1800)
        found[name] = f"{time.monotonic() - began:.1f} s: {_last_lines(said)}"
        print(f"{name}: {found[name]}", flush=True)
    return found


def _commands(image: Image) -> dict[str, str]:
    healthy = re.search(r"CMD (\[.*\])$", image.said["HEALTHCHECK"].value)
    assert healthy is not None, "HEALTHCHECK has no command"
    services = composed()["services"]
    graph = services["graph"]["command"]
    words = {
        "START": [*image.said["ENTRYPOINT"].words(), *image.said["CMD"].words()],
        "API_HEALTHY": services["api"]["healthcheck"]["test"][1:],
        "GRAPH_HEALTHY": services["graph"]["healthcheck"]["test"][1:],
        "HEALTHY": json.loads(healthy[1]),
        "MIGRATE": services["migrate"]["command"],
        "METRICS": [f"http://127.0.0.1:{graph[graph.index('--metrics-port') + 1]}/metrics"],
        "API": services["api"]["command"],
        "GRAPH": graph,
    }

    def script(text: str) -> str:
        names = "|".join(words)
        return _TOOLS + re.sub(rf"\b({names})\b", lambda found: shlex.join(words[found[1]]), text)

    return {
        "doctor": "automations doctor",
        "login shell": "bash -lc 'ray --version && serve --help > /dev/null && automations --help > /dev/null'",
        "serve": script(_ALL),
        "parts": script(_DATABASE + _PARTS),
        "node": script(_DATABASE + _NODE),
    }


def _last_lines(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-25:])
