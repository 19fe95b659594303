"""Serve YAMLs that are to be refused, made of the one for a CPU by one change each."""

from collections.abc import Callable
from typing import Any

from serving.graph import deploy_file

Config = dict[str, Any]
Change = Callable[[Config], Any]


def loaded(name: str) -> Config:
    """A YAML of the package, to be changed."""
    return deploy_file.load(deploy_file.path_of(name))


def deployment(config: Config, name: str) -> Config:
    """What a YAML says about a deployment, to be changed."""
    return next(one for one in config["applications"][0]["deployments"] if one["name"] == name)


def setting(of: str, **values: Any) -> Change:
    """Options of a deployment."""
    return lambda config: deployment(config, of).update(values)


def user(of: str, **values: Any) -> Change:
    """Its `user_config`."""
    return lambda config: deployment(config, of)["user_config"].update(values)


def scaling(of: str, **values: Any) -> Change:
    """Its `autoscaling_config`."""
    return lambda config: deployment(config, of)["autoscaling_config"].update(values)


def application(**values: Any) -> Change:
    """Options of the application."""
    return lambda config: config["applications"][0].update(values)


def to_zero(**values: Any) -> Change:
    """An engine that may have no replica, and what workers are told of it, as `user_config`."""

    def change(config: Config) -> None:
        deployment(config, "engine-default").pop("num_replicas")
        setting("engine-default", autoscaling_config={"min_replicas": 0})(config)
        told = {"on_demand": ["default"], "traffic": {"auto": {"default": 1.0}, "bundled": {"default": 1.0}}}
        user("worker", **told | values)(config)

    return change


def policy(function: str) -> Change:
    """Another policy for workers."""
    return scaling("worker", policy={"policy_function": function})


def backlog(**values: Any) -> Change:
    """`policy_kwargs` of the worker's policy."""
    return scaling("worker", policy={"policy_function": "serving.graph.policy:BacklogPolicy", "policy_kwargs": values})


#: What is done to `configs/cpu.yaml`, and a part of what is said then.
BROKEN: list[tuple[Change, str]] = [
    # what Serve does not know, and would ignore
    (lambda config: config.update(proxy_locaton="HeadOnly"), "Serve knows no proxy_locaton; is proxy_location meant?"),
    (lambda config: config["http_options"].update(prt=1), "http_options: Serve knows no prt; is port meant?"),
    (application(arg={}), "applications[0]: Serve knows no arg; is args meant?"),
    (setting("text", max_ongoing_request=3), "text: Serve knows no max_ongoing_request; is"),
    (setting("text", ray_actor_options={"num_cpu": 1}), "text.ray_actor_options: Serve knows no num_cpu; is num_cpus"),
    (scaling("worker", max_replica=3), "worker.autoscaling_config: Serve knows no max_replica; is"),
    (scaling("worker", policy={"function": "a"}), "worker.autoscaling_config.policy: Serve knows no function"),
    # what Serve refuses
    (lambda config: config.pop("applications"), "applications: Field required"),
    (setting("text", max_ongoing_requests=0), "text.max_ongoing_requests: should be greater than 0 (it is 0)"),
    (setting("worker", num_replicas=2), "worker: Manually setting num_replicas is not allowed"),
    (scaling("worker", min_replicas=5), "worker.autoscaling_config: max_replicas (2) must be greater"),
    (policy("serving.nowhere:Policy"), "cannot be imported: No module named 'serving.nowhere'"),
    (policy("serving.graph.policy:Policy"), "cannot be imported: module 'serving.graph.policy' has no attribute"),
    (scaling("worker", look_back_period_s=5), "worker.autoscaling_config: `look_back_period_s`"),
    # which deployments there are
    (application(import_path="serving.app:build"), "has to be one, whose import_path is serving.graph.app:build"),
    (application(name="default"), "applications[0].name: has to be automations, by which it is found, not default"),
    (application(args={"engine": ["default"]}), "args: there is no engine; is engines meant?"),
    (application(args={"engines": ["default", "default"]}), "args.engines: names an engine twice: default, default"),
    (application(args={"engines": ["Default"]}), "args.engines[0]: has to be str matching"),
    (application(args={"engines": []}), "args.engines: has to be array of length >= 1"),
    (application(args={"engines": ["large"]}), "deployments: there is no engine-default; is engine-large meant?"),
    (setting("text", name="texts"), "deployments: there is no texts; is text meant?; there are"),
    (setting("text", name="worker"), "deployments: worker is there twice"),
    # user_config
    (user("engine-default", batchsize=1), "engine-default.user_config: there is no batchsize; is batch_size"),
    (user("engine-default", batch_size=0), "engine-default.user_config.batch_size: has to be int >= 1"),
    (user("engine-default", models={"auto": {"dtype": "fp8"}}), "engine-default.user_config.models['auto'].dtype: "),
    (
        user("engine-default", models={"auto": {"from": "x"}}),
        "engine-default.user_config.models['auto']: there is no from;",
    ),
    (user("engine-default", models={" auto": {}}), "engine-default.user_config.models (a name in it): has to be"),
    (user("engine-default", models={}), "engine-default.user_config.models: has to be object of length >= 1"),
    (user("engine-default", models={"clip": {}}), ".models['clip']: 'clip' is no name of a model; they look like auto"),
    (user("text", models={"auto": {}}), "text.user_config.models: has no text tower for engine-default's bundled; add"),
    (user("worker", slots="2"), "worker.user_config.slots: has to be int, got str"),
    (setting("gateway", user_config={"a": 1}), "gateway.user_config: there is nothing to be configured"),
    # numbers of which each is possible
    (
        setting("text", num_replicas="auto", max_ongoing_requests=1),
        "text: target_ongoing_requests (2) has to be at most",
    ),
    (backlog(slot=1), "worker.autoscaling_config.policy.policy_kwargs: there is no slot; is slots meant?"),
    (backlog(poll_s=60), "stale_s has to be more than poll_s"),
    # what is not to be chosen
    (setting("engine-default", request_router_config={}), "engine-default.request_router_config: is set by the graph"),
    # engines that may have no replica
    (
        to_zero(on_demand=[]),
        "engine-default.autoscaling_config.min_replicas: workers wake no engine of which they do not know that it may "
        "have no replica; say on_demand: [default] in worker.user_config",
    ),
    (to_zero(on_demand=["defualt"]), "worker.user_config.on_demand: there is no engine defualt; is default meant?"),
    (to_zero(on_demand=["default", "default"]), "worker.user_config.on_demand: names an engine twice: default"),
    (
        user("worker", on_demand=["default"], traffic={"auto": {"default": 1}, "bundled": {"default": 1}}),
        "worker.user_config.on_demand: default always has replicas; leave it out, or say min_replicas: 0 in engine-def",
    ),
    (to_zero(traffic={"auto": {"default": 1.0}}), "worker.user_config.traffic: does not say that default runs bundled"),
    (to_zero(traffic={"auto": {"default": 1.0}}), "can ask it; add bundled: {default: 1}"),
    # who is asked
    (lambda config: config["http_options"].pop("host"), "http_options.host: has to be said"),
    (lambda config: config.update(proxy_location="Disabled"), "proxy_location: Disabled leaves the API without a way"),
    # what does not fit two cores
    (
        setting("engine-default", num_replicas=4),
        "4 x 0.5 + text 1 x 0.1 + worker 1 x 0.1 + gateway 1 x 0.1 = 2.3 CPUs; a cpu machine has 2",
    ),
    (
        setting("engine-default", ray_actor_options={"num_gpus": 0.5}),
        "engine-default 1 x 0.5 = 0.5 GPUs; a cpu machine has 0",
    ),
    (setting("engine-default", ray_actor_options={}, num_replicas=2), "engine-default 2 x 1 + text 1 x 0.1"),
]
