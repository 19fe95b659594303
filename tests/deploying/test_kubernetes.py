"""The manifests: their form, and what in them has to agree with each other and with the rest of the project."""

import copy
import importlib.metadata

import pytest
import yaml

from serving.graph import deploy_file
from serving.graph.checking import check
from serving.graph.machines import CLASSES, RAYS_SHARE
from tests.deploying import kinds, manifests
from tests.deploying.settings_said import require_settings

FILES = sorted(path.name for path in manifests.FOLDER.glob("*.yaml"))
EVERY = [(name, one) for name in FILES for one in manifests.documents(name)]
IDS = [f"{name}:{one['kind']}" for name, one in EVERY]


@pytest.mark.parametrize("version", kinds.VERSIONS)
@pytest.mark.parametrize(("name", "document"), EVERY, ids=IDS)
def test_manifests_are_what_kubernetes_takes(name, document, version):
    assert kinds.wrong(document, version) == []


def test_a_misspelt_field_would_be_seen():
    for name, kind, path in (
        ("api.yaml", "Deployment", ("spec", "template", "spec", "containers", 0)),
        ("graph.yaml", "RayService", ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec")),
        ("graph.yaml", "RayService", ("spec", "rayClusterConfig", "workerGroupSpecs", 1)),
        ("monitoring.yaml", "PodMonitor", ("spec", "podMetricsEndpoints", 0)),
        ("monitoring.yaml", "PrometheusRule", ("spec", "groups", 0, "rules", 0)),
        ("network.yaml", "NetworkPolicy", ("spec",)),
    ):
        document = copy.deepcopy(manifests.document(name, kind))
        place = document
        for key in path:
            place = place[key]
        place["enviroment"] = []
        assert len(kinds.wrong(document, kinds.VERSIONS[-1])) == 1, (name, path)


@pytest.mark.parametrize("name", ["graph.yaml", "monitoring.yaml"])
def test_what_is_said_elsewhere_is_in_the_manifest_as_it_is(name):
    text = (manifests.FOLDER / name).read_text(encoding="utf-8")
    assert text == manifests.complete(name), "run python -m tests.deploying.manifests"


def test_manifests_have_no_anchors_for_not_every_tool_follows_them():
    for name in FILES:
        tokens = yaml.scan((manifests.FOLDER / name).read_text(encoding="utf-8"))
        assert not [token for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)], name


def _cluster():
    return manifests.document("graph.yaml", "RayService")["spec"]["rayClusterConfig"]


def _pods():
    """Name -> pod, of all that run our image."""
    found = {"api": manifests.document("api.yaml", "Deployment")["spec"]["template"]}
    found["migrate"] = manifests.document("migrate.yaml", "Job")["spec"]["template"]
    found["head"] = _cluster()["headGroupSpec"]["template"]
    return found | {f"ray-{group['groupName']}": group["template"] for group in _cluster()["workerGroupSpecs"]}


PODS = _pods()


def test_the_cluster_is_the_class_of_machines_that_its_configuration_is_for():
    groups = [(1, PODS["head"])] + [(one["maxReplicas"], one["template"]) for one in _cluster()["workerGroupSpecs"]]
    nodes = []
    for count, pod in groups:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        memory_gib = int(limits["memory"].removesuffix("Gi")) * RAYS_SHARE
        nodes += [(float(limits["cpu"]), int(limits.get("nvidia.com/gpu", 0)), pytest.approx(memory_gib))] * count
    assert sorted(nodes, key=str) == sorted(
        ((node.cpus, node.gpus, node.memory_gib) for node in CLASSES["cluster"].nodes), key=str
    )


def test_the_graph_fits_the_cluster_and_is_served_where_the_api_asks_for_it():
    said = manifests.document("graph.yaml", "RayService")
    deploy = deploy_file.parse(said["spec"]["serveConfigV2"], "serveConfigV2")
    check(deploy, CLASSES["cluster"])
    port = deploy["http_options"]["port"]
    for name, pod in PODS.items():
        if name.startswith("ray-") or name == "head":
            assert {"name": "serve", "containerPort": port} in pod["spec"]["containers"][0]["ports"], name
    env = {one["name"]: one["value"] for one in PODS["api"]["spec"]["containers"][0]["env"]}
    assert f"http://{said['metadata']['name']}-serve-svc:{port}" in env.values()


def test_ray_is_the_version_that_is_installed_and_asks_for_a_token():
    assert _cluster()["rayVersion"] == importlib.metadata.version("ray")
    assert _cluster()["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("name", PODS)
def test_nothing_runs_as_root_or_may_become_it(name):
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert spec["automountServiceAccountToken"] is (name == "head")
    assert not spec.get("hostNetwork")
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


@pytest.mark.parametrize("name", PODS)
def test_every_pod_can_write_where_it_has_to_and_reads_its_secret_from_a_file(name):
    spec = PODS[name]["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert set(mounts.values()) == set(volumes)
    claim = manifests.document("storage.yaml", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert volumes[mounts["/tmp"]] == {"name": mounts["/tmp"], "emptyDir": {}}
    secret = manifests.document("secret.example.yaml", "Secret")
    assert volumes[mounts["/run/secrets/automations"]]["secret"]["secretName"] == secret["metadata"]["name"]
    for one in spec["containers"][0]["env"]:
        if one["name"].endswith("_FILE"):
            folder, _, key = one["value"].rpartition("/")
            assert folder == "/run/secrets/automations"
            assert key in secret["stringData"]


@pytest.mark.parametrize("name", PODS)
def test_variables_are_settings(name):
    require_settings({one["name"]: one["value"] for one in PODS[name]["spec"]["containers"][0]["env"]})


def test_ray_nodes_differ_in_size_only():
    nodes = [copy.deepcopy(pod) for name, pod in PODS.items() if name.startswith("ray-")]
    for pod in nodes:
        pod["spec"].pop("tolerations", None)
        del pod["spec"]["containers"][0]["resources"]
    assert nodes[0] == nodes[1]
    head = PODS["head"]["spec"]["containers"][0]
    for key in ("env", "volumeMounts", "image"):
        assert head[key] == nodes[0]["spec"]["containers"][0][key]


def _selects(selector, pod):
    return selector.get("matchLabels", {}).items() <= pod["metadata"]["labels"].items()


def test_policies_and_monitors_are_about_pods_that_there_are():
    ports = {
        name: {port["name"] for port in pod["spec"]["containers"][0].get("ports", [])} for name, pod in PODS.items()
    }
    ray = {name for name in PODS if name.startswith("ray-") or name == "head"}
    policies = [one for one in manifests.documents("network.yaml") if one["kind"] == "NetworkPolicy"]
    monitors = [one for one in manifests.documents("monitoring.yaml") if one["kind"] == "PodMonitor"]
    about = [
        {name for name, pod in PODS.items() if _selects(selector, pod)}
        for selector in [one["spec"]["podSelector"] for one in policies] + [one["spec"]["selector"] for one in monitors]
    ]
    assert about == [{"api"}, ray] * 2
    for monitor, pods in zip(monitors, about[2:], strict=True):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert all(endpoint["port"] in ports[name] for name in pods)


def test_only_the_api_and_the_operator_reach_the_gateway_and_only_the_operator_rays_dashboard():
    graph = manifests.documents("network.yaml")[1]
    reaches = {
        port["port"]: [
            rule["from"][0]["podSelector"]["matchLabels"]
            for rule in graph["spec"]["ingress"]
            if port in rule.get("ports", ())
        ]
        for port in ({"port": 8265}, {"port": 8101})
    }
    api = {"app.kubernetes.io/name": "automations", "app.kubernetes.io/component": "api"}
    operator = {"app.kubernetes.io/name": "kuberay-operator"}
    assert reaches == {8265: [operator], 8101: [api, operator]}
    assert all("from" in rule for rule in graph["spec"]["ingress"])
    everywhere = [rule for rule in graph["spec"]["egress"] if "ipBlock" in rule["to"][0]]
    assert "169.254.0.0/16" in everywhere[0]["to"][0]["ipBlock"]["except"]


def test_alerts_go_by_the_names_that_monitors_give():
    said = {
        one["metadata"]["name"]: one["spec"]["podMetricsEndpoints"][0]["relabelings"]
        for one in manifests.documents("monitoring.yaml")
        if one["kind"] == "PodMonitor"
    }
    assert said == {
        "automations-api": [{"targetLabel": "job", "replacement": "automations"}],
        "automations-graph": [{"targetLabel": "job", "replacement": "ray"}],
    }


def test_kustomize_is_given_every_manifest_but_the_optional_ones():
    said = manifests.document("kustomization.yaml", "Kustomization")
    assert {*said["resources"], "monitoring.yaml", "secret.example.yaml", "kustomization.yaml"} == set(FILES)
    images = {container["image"] for pod in PODS.values() for container in pod["spec"]["containers"]}
    assert images == {one["name"] for one in said["images"]}
