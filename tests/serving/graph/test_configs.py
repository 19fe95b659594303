"""Serve YAMLs: those of the package can be deployed where they are meant to be, and broken ones are refused with the
place and the reason."""

import copy
import re

import pytest
import yaml
from ray import serve
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from serving.graph import checking, config_page, deploy_file, rendering
from serving.graph.args import (
    EngineConfig,
    InvalidGraph,
    ModelConfig,
    TextConfig,
    WorkerConfig,
    deployments,
    graph_args,
    read,
    worker_config,
)
from serving.graph.checking import check
from serving.graph.machines import CLASSES, Machine, Node, machine
from serving.graph.rendering import rendered, with_engines
from serving.graph.wiring import wiring
from tests.serving.graph.broken_configs import BROKEN, Config, deployment, loaded, scaling, setting, to_zero, user


@pytest.fixture
def cpu() -> Config:
    return copy.deepcopy(loaded("cpu"))


@pytest.fixture
def two(cpu) -> Config:
    """With a canary of `auto` beside it."""
    canary = copy.deepcopy(deployment(cpu, "engine-default"))
    canary |= {"name": "engine-canary", "user_config": {"models": {"auto": {"source": "ViT-L-14/openai"}}}}
    cpu["applications"][0]["args"]["engines"].append("canary")
    cpu["applications"][0]["deployments"].append(canary)
    text = deployment(cpu, "text")["user_config"]
    text["models"] = {**text["models"], "auto-canary": {"source": "ViT-L-14/openai"}}
    deployment(cpu, "worker")["user_config"]["traffic"] = {"auto": {"default": 0.9, "canary": 0.1}}
    return cpu


@pytest.mark.parametrize("name", deploy_file.NAMES)
class TestOfThePackage:
    def test_serve_deploy_takes_it_unchanged(self, name):
        text = deploy_file.path_of(name).read_text(encoding="utf-8")
        # As `serve deploy` reads it.
        schema = ServeDeploySchema.model_validate(yaml.safe_load(text))
        assert schema.applications[0].import_path == "serving.graph.app:build"
        assert yaml.safe_load(text) == loaded(name)

    def test_it_says_something_about_every_deployment_and_about_no_other(self, name):
        application = loaded(name)["applications"][0]
        listed = [one["name"] for one in application["deployments"]]
        assert sorted(listed) == sorted(deployments(graph_args(application["args"])))

    def test_it_fits_the_machine_that_it_is_for_with_all_replicas(self, name):
        warnings = check(loaded(name), CLASSES[name])
        # The API of a cluster is on another machine.
        assert [line for line in warnings if not (name == "cluster" and line.startswith("http_options.host"))] == []

    def test_every_number_has_a_reason(self, name):
        lines = deploy_file.path_of(name).read_text(encoding="utf-8").splitlines()
        numbers = [line for line in lines if re.match(r"\s+[\w-]+: [\d.]+( |$)", line)]
        assert len(numbers) > 20
        assert [line for line in numbers if not re.search(r" # \S.{7}", line)] == []

    def test_rendering_says_all_and_changes_nothing(self, name):
        full = rendered(loaded(name))
        assert rendered(full) == full
        text = deploy_file.write(full)
        assert deploy_file.parse(text, "rendered") == full
        assert yaml.safe_load(text) == full
        ServeDeploySchema.model_validate(yaml.safe_load(text))
        before, after = wiring(loaded(name)), wiring(full)
        assert (after.args, after.engines, after.text, after.worker) == (
            before.args,
            before.engines,
            before.text,
            before.worker,
        )
        assert check(full, CLASSES[name]) == check(loaded(name), CLASSES[name])
        for kind, where in ((EngineConfig, "engine-default"), (TextConfig, "text"), (WorkerConfig, "worker")):
            assert set(deployment(full, where)["user_config"]) == set(kind.__struct_fields__)


def test_each_file_fits_its_own_kind_of_machine_only():
    with pytest.raises(InvalidGraph, match=r"1 GPU; a cpu machine has 0$"):
        check(loaded("single-gpu"), Machine("a cpu machine", (Node(8),)))
    with pytest.raises(InvalidGraph, match=r"text 2 x 2 .* = 10 CPUs; a single-gpu machine has 8$"):
        check(loaded("cluster"), CLASSES["single-gpu"])


def test_the_graph_starts_on_one_core():
    assert check(loaded("cpu"), machine("cpus=1")) == ()


def test_the_graph_consists_of_these_deployments_and_leaves_to_the_yaml_what_is_its_business():
    from serving.graph.app import build

    args = {"engines": ["default", "canary"]}
    built = build_app(build(args), name="automations")
    assert {one.name for one in built.deployments} == set(deployments(graph_args(args)))
    plain = serve.deployment(type("Plain", (), {}))
    for one in built.deployments:
        for option in (*rendering.OPTIONS, "num_replicas", "autoscaling_config"):
            assert getattr(one._deployment_config, option) == getattr(plain._deployment_config, option), option
        assert one.ray_actor_options == plain.ray_actor_options
        kind = deployments(graph_args(args))[one.name]
        assert one.user_config is None if kind is None else read(kind, one.user_config, "") == kind()


def test_a_canary_can_be_said(two):
    assert check(two, machine("cpus=4")) == ()
    assert wiring(two).worker.traffic == {"auto": {"default": 0.9, "canary": 0.1}}


@pytest.mark.parametrize(("change", "says"), BROKEN, ids=[says[:50] for _, says in BROKEN])
def test_what_is_broken_is_refused_with_place_and_reason(cpu, change, says):
    change(cpu)
    with pytest.raises(InvalidGraph) as raised:
        check(cpu, CLASSES["cpu"])
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("traffic", "says"),
    [
        ({}, "who gets how many of its jobs, for example {auto: {default: 0.9, canary: 0.1}}"),
        ({"auto": {"default": 0.8, "canary": 0.1}}, "the shares have to be 1 together: default 0.8 + canary 0.1 = 0.9"),
        ({"auto": {}}, "the shares have to be 1 together: nothing = 0"),
        ({"auto": {"default": 0.9, "canari": 0.1}}, "traffic['auto']: there is no engine canari; is canary meant?"),
        ({"auto": {"default": 1.0}, "bundled": {"canary": 1.0}}, "the engine canary has no bundled; it has auto"),
        ({"auto": {"default": 1.5, "canary": -0.5}}, "worker.user_config.traffic['auto']"),
    ],
)
def test_shares_have_to_add_up_and_to_lead_somewhere(two, traffic, says):
    deployment(two, "worker")["user_config"]["traffic"] = traffic
    with pytest.raises(InvalidGraph) as raised:
        check(two, machine("cpus=4"))
    assert says in str(raised.value)


def test_an_engine_may_have_no_replica_if_workers_are_told_whom_to_wake(cpu):
    to_zero()(cpu)
    assert check(cpu, CLASSES["cpu"]) == ()
    assert wiring(cpu).worker.on_demand == ("default",)
    other = with_engines(cpu, {"large": {"auto": ModelConfig()}, "small": {"bundled": ModelConfig()}})
    assert check(other, CLASSES["cpu"]) == ()
    assert wiring(other).worker.on_demand == ("large", "small")


def test_a_canary_may_have_no_replica_if_a_share_of_it_is_said(two):
    deployment(two, "engine-canary").pop("num_replicas")
    setting("engine-canary", autoscaling_config={"min_replicas": 0})(two)
    user("worker", on_demand=["canary"], traffic={"auto": {"default": 1.0}})(two)
    with pytest.raises(InvalidGraph, match=r"canary runs auto, .* add auto: {default: 1, canary: 0}$"):
        check(two, machine("cpus=4"))
    user("worker", traffic={"auto": {"default": 1.0, "canary": 0.0}})(two)
    assert check(two, machine("cpus=4")) == ()
    assert wiring(with_engines(two, {"default": {"auto": ModelConfig()}})).worker.on_demand == ()


def test_a_canary_needs_its_own_text_tower(two):
    del deployment(two, "text")["user_config"]["models"]["auto-canary"]
    with pytest.raises(InvalidGraph, match=r"for engine-canary's auto; add auto-canary: {source: ViT-L-14/openai}$"):
        check(two, machine("cpus=4"))


def test_fractions_of_a_gpu_that_do_not_pack_are_refused():
    gpu = copy.deepcopy(loaded("single-gpu"))
    deployment(gpu, "engine-default")["num_replicas"] = 2
    deployment(gpu, "engine-default")["ray_actor_options"]["num_gpus"] = 0.6
    with pytest.raises(InvalidGraph, match=r"engine-default 2 x 0\.6 \+ text 1 x 0\.1 = 1\.3 GPUs"):
        check(gpu, machine("cpus=32,gpus=1"))
    deployment(gpu, "engine-default")["num_replicas"] = 3
    with pytest.raises(InvalidGraph, match=r"in sum it is enough.* each has room for 1 x 0\.6$"):
        check(gpu, machine("cpus=32,gpus=2"))
    assert check(gpu, machine("cpus=32,gpus=3")) == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config["http_options"].update(host="0.0.0.0"), "http_options.host: 0.0.0.0 can be reached"),
        (scaling("worker", min_replicas=0), "worker: without a replica nothing is tidied up"),
        (scaling("worker", max_replicas=40), "with all replicas that autoscaling may ask for: "),
        (user("worker", slots=3), "worker: runs 3 jobs at once (user_config.slots), but is scaled as if it were 2"),
        (setting("text", health_check_timeout_s=30), "text: a replica that has to do for 60 s would be taken"),
        (user("engine-default", clips_in_flight=16), "engine-default: works on 12 Clips at once"),
        (
            lambda config: (
                deployment(config, "gateway").pop("num_replicas"),
                setting("gateway", autoscaling_config={"min_replicas": 0})(config),
            ),
            "gateway: without a replica, whoever searches waits",
        ),
    ],
)
def test_what_works_but_may_be_meant_otherwise_is_a_warning(cpu, change, says):
    change(cpu)
    (warning,) = check(cpu, CLASSES["cpu"])
    assert warning.startswith(says)


def test_a_busy_replica_has_the_time_for_its_check_that_it_takes_itself():
    from serving.graph import replica

    assert checking.CHECK_S == replica.CHECK_S


def test_a_deployment_that_is_left_out_has_serves_defaults(cpu):
    cpu["applications"][0]["deployments"] = [deployment(cpu, "engine-default")]
    with pytest.raises(
        InvalidGraph, match=r"engine-default 1 x 0\.5 \+ text 1 x 1 \+ worker 1 x 1 \+ gateway 1 x 1 = 3\.5"
    ):
        check(cpu, CLASSES["cpu"])
    full = rendered(cpu)
    assert [one["name"] for one in full["applications"][0]["deployments"]] == [
        "engine-default",
        "text",
        "worker",
        "gateway",
    ]
    assert deployment(full, "worker")["ray_actor_options"] == {"num_cpus": 1.0, "num_gpus": 0.0}


def test_engines_can_be_put_in_place_of_the_files(cpu):
    other = with_engines(
        cpu,
        {
            "default": {"auto": ModelConfig(), "bundled": ModelConfig()},
            "canary": {"auto": ModelConfig(source="ViT-L-14/openai")},
            "large": {"ViT-H-14/laion2b_s32b_b79k": ModelConfig()},
        },
    )
    assert check(other, machine("cpus=4")) == ()
    found = wiring(other)
    assert list(found.engines) == ["default", "canary", "large"]
    assert found.worker.traffic == {"auto": {"default": 1.0, "canary": 0.0}}
    assert {asked: model.source_of(asked) for asked, model in found.text.models.items()} == {
        "auto": "auto",
        "bundled": "bundled",
        "auto-canary": "ViT-L-14/openai",
        "ViT-H-14/laion2b_s32b_b79k": "ViT-H-14/laion2b_s32b_b79k",
    }


def test_nothing_said_is_the_default_and_every_key_is_named_in_errors():
    assert read(EngineConfig, None, "user_config") == EngineConfig() == read(EngineConfig, {}, "user_config")
    assert worker_config(None) == WorkerConfig()
    with pytest.raises(InvalidGraph, match=r"^here\.models\['b'\]\.device: has to be"):
        read(TextConfig, {"models": {"a": {}, "b": {"device": "gpu"}}}, "here")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", r"f\.yaml, line 1: no YAML"),
        ("a: 1\nb: 2\na: 3\n", r"f\.yaml, line 3: a is there twice"),
        ("- a\n", r"f\.yaml: no Serve YAML"),
        ("a: !!python/object/apply:os.system [true]", r"f\.yaml, line 1: no YAML"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, text, says):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(InvalidGraph, match=says):
        deploy_file.load(path)
    with pytest.raises(InvalidGraph, match="cannot be read"):
        deploy_file.load(tmp_path / "other.yaml")


def test_the_page_has_every_field():
    page = config_page.PAGE.read_text(encoding="utf-8")
    assert page == config_page.renewed(page), "run: python -m serving.graph.config_page"
    assert "| `batch_size` | `32` | more than 0, at most 4,096 | Most frames in one forward pass" in page


def test_examples_of_the_page_are_right():
    page = config_page.PAGE.read_text(encoding="utf-8")
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(args: .*?)```", page, re.DOTALL)]
    assert len(found) == 2
    for application in found:
        listed = {one["name"]: one for one in application["deployments"]}
        # The first one leaves out what the prose says next.
        listed.setdefault("text", {"name": "text"})
        if "engine-large" in listed:
            large = {"ViT-H-14/laion2b_s32b_b79k": {}}
            listed["text"]["user_config"] = {"models": {"auto": {}, "bundled": {}, **large}}
        whole = {"name": "automations", "import_path": "serving.graph.app:build", "args": application["args"]}
        assert wiring({"applications": [{**whole, "deployments": list(listed.values())}]}).args.engines[0] == "default"
