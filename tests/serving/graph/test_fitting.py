"""What fits a machine and what does not, checked by trying every way; and what is said about it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve._private.config import DeploymentConfig, ReplicaConfig
from ray.serve.config import AutoscalingConfig, HTTPOptions

from serving.graph import checking, fitting, machines
from serving.graph.args import InvalidGraph
from serving.graph.fitting import Demand, DoesNotFit, demands, require_fits
from serving.graph.machines import Machine, Node, machine
from serving.graph.packing import Piece, pack


def deploy(**deployments: dict) -> dict:
    """A Serve YAML with these deployments (`_` stands for `-`), of an application that is not ours."""
    listed = [{"name": name.replace("_", "-"), **options} for name, options in deployments.items()]
    return {"applications": [{"import_path": "some.app:build", "deployments": listed}]}


def test_what_serve_does_where_nothing_is_said_is_what_is_reckoned_with():
    replica = ReplicaConfig.create(object, ray_actor_options={"num_gpus": 0.5})
    assert replica.ray_actor_options["num_cpus"] == fitting.CPUS_OF_A_REPLICA
    auto, plain = AutoscalingConfig.default(), AutoscalingConfig()
    assert (auto.min_replicas, auto.max_replicas) == (1, fitting.AUTO_MAX)
    assert (plain.min_replicas, plain.initial_replicas, plain.max_replicas) == (1, None, 1)
    deployment = DeploymentConfig()
    assert deployment.num_replicas == 1
    assert deployment.max_ongoing_requests == checking.MAX_ONGOING
    assert plain.target_ongoing_requests == auto.target_ongoing_requests == checking.TARGET_ONGOING
    assert deployment.health_check_timeout_s == checking.HEALTH_TIMEOUT_S
    assert HTTPOptions().num_cpus == 0, "proxies take no CPU"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, (1, 1, {"CPU": 1})),
        ({"num_replicas": 3, "ray_actor_options": {"num_gpus": 0.25}}, (3, 3, {"CPU": 1, "GPU": 0.25})),
        ({"num_replicas": None, "ray_actor_options": {"num_cpus": 0}}, (1, 1, {})),
        ({"num_replicas": "auto"}, (1, 100, {"CPU": 1})),
        ({"num_replicas": "auto", "autoscaling_config": {"max_replicas": 7}}, (1, 7, {"CPU": 1})),
        ({"autoscaling_config": {"min_replicas": 0, "max_replicas": 4}}, (0, 4, {"CPU": 1})),
        ({"autoscaling_config": {"initial_replicas": 2, "max_replicas": 4}}, (2, 4, {"CPU": 1})),
        (
            {"ray_actor_options": {"num_cpus": 0.5, "memory": 3 << 30, "resources": {"ssd": 1}}},
            (1, 1, {"CPU": 0.5, "memory": 3, "ssd": 1}),
        ),
    ],
)
def test_what_a_deployment_asks_for(options, wanted):
    (demand,) = demands(deploy(one=options))
    assert (demand.least, demand.most, demand.wants) == wanted


def test_deployments_of_ours_that_the_yaml_leaves_out_are_there_all_the_same():
    found = demands({"applications": [{"import_path": "serving.graph.app:build", "args": {"engines": ["a", "b"]}}]})
    assert [demand.deployment for demand in found] == ["engine-a", "engine-b", "text", "worker", "gateway"]
    assert {demand.wants["CPU"] for demand in found} == {1.0}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ray_actor_options": {"num_gpus": 1.5}}, "one.ray_actor_options.num_gpus: Ray gives away whole GPUs"),
        ({"placement_group_bundles": [{"CPU": 1}]}, "one.placement_group_bundles"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(options, says):
    with pytest.raises(InvalidGraph, match=says.replace(".", r"\.")):
        require_fits(deploy(one=options), machine("cluster"))


def test_the_arithmetic_is_said():
    with pytest.raises(DoesNotFit) as raised:
        require_fits(
            deploy(engine={"num_replicas": 2}, worker={"ray_actor_options": {"num_cpus": 0.5}}), machine("cpu")
        )
    assert str(raised.value) == "engine 2 x 1 + worker 1 x 0.5 = 2.5 CPUs; a cpu machine has 2"


def test_a_sum_that_is_exactly_there_fits():
    tenths = {f"d{number}": {"ray_actor_options": {"num_cpus": 0.1}} for number in range(20)}
    assert require_fits(deploy(**tenths), machine("cpus=2")) == ()


def test_no_gpu_is_said_as_it_is():
    with pytest.raises(DoesNotFit, match=r"^engine 1 x 0\.5 = 0\.5 GPUs; a cpu machine has 0$"):
        require_fits(deploy(engine={"ray_actor_options": {"num_gpus": 0.5}}), machine("cpu"))


def test_fractions_of_a_gpu_are_of_one_gpu():
    three = deploy(engine={"num_replicas": 3, "ray_actor_options": {"num_cpus": 1, "num_gpus": 0.6}})
    assert require_fits(three, machine("cpus=8,gpus=3")) == ()
    with pytest.raises(DoesNotFit) as raised:
        require_fits(three, machine("cpus=8,gpus=2"))
    assert "in sum it is enough" in str(raised.value)
    assert str(raised.value).endswith("a fraction is of one GPU, and each has room for 1 x 0.6")


def test_a_replica_is_on_one_node():
    wide = deploy(engine={"ray_actor_options": {"num_cpus": 6}})
    assert require_fits(wide, machine("cpus=2 + cpus=8")) == ()
    with pytest.raises(DoesNotFit, match=r"in sum it is enough.*a replica finds all that it wants on one node"):
        require_fits(wide, machine("2xcpus=4"))


def test_replicas_that_may_not_be_together_are_on_several_nodes():
    apart = deploy(text={"num_replicas": 2, "max_replicas_per_node": 1})
    assert require_fits(apart, machine("2xcpus=1")) == ()
    with pytest.raises(DoesNotFit, match="max_replicas_per_node"):
        require_fits(apart, machine("cpus=8"))


def test_what_only_autoscaling_would_ask_for_is_a_warning():
    growing = deploy(worker={"autoscaling_config": {"min_replicas": 1, "max_replicas": 5}})
    (warning,) = require_fits(growing, machine("cpu"))
    assert "worker 5 x 1 = 5 CPUs; a cpu machine has 2" in warning


def test_memory_is_what_ray_has_of_it():
    asking = deploy(engine={"ray_actor_options": {"memory": 6 << 30}})
    assert require_fits(asking, machine("cpus=2")) == (), "not looked at where it is not known"
    assert require_fits(asking, machine("cpus=2,memory_gib=9")) == ()
    with pytest.raises(DoesNotFit, match=r"engine 1 x 6 = 6 GiB of memory; the machine has 5\.6"):
        require_fits(asking, machine("cpus=2,memory_gib=8"))


def test_wishes_that_are_not_looked_at_are_named():
    picky = deploy(engine={"ray_actor_options": {"accelerator_type": "H100"}})
    (warning,) = require_fits(picky, machine("cpu"))
    assert warning.startswith("engine: accelerator_type")


@pytest.mark.parametrize(
    ("said", "nodes"),
    [
        ("cpus=4", (Node(4),)),
        ("cpus=8, gpus=2", (Node(8, 2),)),
        ("cpus=1 + 2xcpus=0.5,gpus=1", (Node(1), Node(0.5, 1), Node(0.5, 1))),
    ],
)
def test_machines_that_are_spelled_out(said, nodes):
    assert machine(said).nodes == nodes


@pytest.mark.parametrize(
    "said",
    ["", "gpu", "cpus", "cpus=", "cpus=-1", "gpus=1", "cpus=2,cpus=2", "cpus=2,gpus=0.5", "0xcpus=2", "cpus=2+"],
)
def test_other_machines_are_refused(said):
    with pytest.raises(InvalidGraph, match="--machine"):
        machine(said)


def test_the_machine_that_ray_tells_of():
    alive = {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0, "memory": float(4 << 30), "ssd": 3.0}}
    found = machines.machine_of_ray([alive, {"Alive": False, "Resources": {"CPU": 64.0}}])
    assert [found.has(name) for name in ("CPU", "GPU", "memory", "ssd", "tpu")] == [2, 1, 4, 3, 0]


amounts = st.sampled_from([0.0, 0.25, 0.4, 0.5, 0.6, 1.0])
pieces = st.builds(
    lambda name, cpus, gpus, per_node: Piece(
        f"{name}{per_node}", {key: value for key, value in (("CPU", cpus), ("GPU", gpus)) if value}, per_node
    ),
    st.sampled_from("ab"),
    amounts,
    st.sampled_from([0.0, 0.25, 0.4, 0.5, 0.6, 1.0, 2.0]),
    st.sampled_from([None, None, 1]),
)
nodes = st.builds(Node, st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 2))


@given(st.lists(pieces, max_size=5), st.lists(nodes, min_size=1, max_size=3))
def test_pieces_are_left_over_exactly_where_no_way_of_placing_them_works(asked, there):
    assert (pack(asked, there) is None) == any(
        _works(asked, there, where) for where in itertools.product(range(len(there)), repeat=len(asked))
    )


def _works(asked: list[Piece], there: list[Node], where: tuple[int, ...]) -> bool:
    for index, node in enumerate(there):
        here = [piece for piece, at in zip(asked, where, strict=True) if at == index]
        if sum(piece.wants.get("CPU", 0) for piece in here) > node.cpus + 1e-6:
            return False
        if any(piece.per_node and sum(one.name == piece.name for one in here) > piece.per_node for piece in here):
            return False
        gpus = [piece.wants["GPU"] for piece in here if "GPU" in piece.wants]
        whole, parts = sum(int(gpu) for gpu in gpus if gpu >= 1), [gpu for gpu in gpus if gpu < 1]
        left = node.gpus - whole
        if left < 0 or not any(
            all(sum(part for part, at in zip(parts, on, strict=True) if at == gpu) <= 1 + 1e-6 for gpu in range(left))
            for on in itertools.product(range(left), repeat=len(parts))
        ):
            return False
    return True


def test_a_whole_cluster_is_worked_out_at_once():
    many = [
        Demand("engine", 64, 64, {"CPU": 3.0, "GPU": 0.5}, None, ()),
        Demand("worker", 64, 64, {"CPU": 1.0}, None, ()),
    ]
    cluster = Machine("the cluster", (Node(8, 1),) * 32)
    assert fitting.misfit(many, cluster, lambda demand: demand.least) is None
