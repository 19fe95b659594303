"""What the application consists of."""

import subprocess
import sys

import pytest

from serving.graph.app import build
from serving.graph.args import GraphArgs, InvalidGraph, deployments
from tests.serving.commands import ROOT


def test_it_has_every_deployment_that_a_yaml_may_name():
    from ray.serve._private.build_app import build_app

    built = build_app(build({"engines": ["default", "heavy"]}), name="automations", default_runtime_env={})
    kinds = deployments(GraphArgs(engines=("default", "heavy")))
    assert {one.name for one in built.deployments} == set(kinds)
    assert built.ingress_deployment_name == "gateway"
    for one in built.deployments:
        # Serve calls `reconfigure` of those alone that have one.
        assert (one.user_config is None) == (kinds[one.name] is None), one.name


def test_args_are_checked():
    with pytest.raises(InvalidGraph, match="engine"):
        build({"engins": ["default"]})


def test_building_it_loads_neither_torch_nor_the_database():
    """It is built in a process that does nothing else, while everything waits for it."""
    code = "import serving.graph.app, sys; print({'torch', 'sqlalchemy', 'open_clip'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n", done.stdout + done.stderr
