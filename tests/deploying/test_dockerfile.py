"""Dockerfile.gpu and .dockerignore: what they say; and the reader that runs their steps elsewhere.

Whether the steps work is `make image-check`'s to say.
"""

import re
import subprocess

import pytest

from tests.deploying.context import files
from tests.deploying.dockerfile import Copy, Mount, NotUnderstood, Run, Say, Set, chain, expanded, stages
from tests.deploying.manifests import TOP
from tests.deploying.settings_said import require_settings

TEXT = (TOP / "Dockerfile.gpu").read_text(encoding="utf-8")
STAGES = stages(TEXT)


def _steps(target, kind):
    return [step for stage in chain(STAGES, target) for step in stage.steps if isinstance(step, kind)]


def _said(target, what):
    return [step.value for step in _steps(target, Say) if step.what == what]


def test_a_file_is_read_into_stages_and_steps():
    text = """
        # a comment
        FROM debian:x AS one
        ARG  MODELS="a b"
        ENV A=1 B="two words"
        RUN --mount=type=cache,target=/c --mount=type=bind,source=m,target=/src/m first \\
            # within
            && second
        FROM one AS two
        COPY --from=one /a /b ./
        USER 1000:1000
    """
    lines = "\n".join(line.strip() for line in text.splitlines())
    one, two = stages(lines)
    assert (one.name, one.base, two.name, two.base) == ("one", "debian:x", "two", "one")
    assert one.steps == [
        Set("MODELS", "a b", kept=False),
        Set("A", "1", kept=True),
        Set("B", "two words", kept=True),
        Run("first && second", (Mount("cache", "/c"), Mount("bind", "/src/m", "m"))),
    ]
    assert two.steps == [Copy(("/a", "/b"), "./", "one"), Say("USER", "1000:1000")]
    assert chain([one, two], "two") == [one, two]


@pytest.mark.parametrize(
    "line",
    [
        "FROM debian",
        "ADD a b",
        "SHELL ['bash']",
        "RUN <<EOF",
        "RUN ['a']",
        "RUN --network=none a",
        "RUN --mount=type=secret,target=/x a",
        "COPY --chown=1:1 a b",
        "ENV A 1",
        "RUN a \\",
    ],
)
def test_what_the_reader_has_no_meaning_for_is_refused(line):
    with pytest.raises(NotUnderstood):
        stages(f"FROM a AS b\n{line}".replace("['", '["').replace("']", '"]'))


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("$A-$B", "1-"),
        ("${A}${B}", "1"),
        ("${A:+then}", "then"),
        ("${B:+then}", ""),
        ("${B:-else}", "else"),
        ("${A:-else}", "1"),
    ],
)
def test_variables_stand_for_what_docker_has_them_stand_for(word, becomes):
    assert expanded(word, {"A": "1", "B": ""}) == becomes


def test_the_default_is_for_a_gpu_and_the_other_is_the_same_less_the_driver():
    assert STAGES[-1].name == "gpu"
    assert chain(STAGES, "gpu")[:-1] == chain(STAGES, "cpu")[:-1]
    gpu = {step.name: step.value for step in STAGES[-1].steps}
    assert gpu["NVIDIA_DRIVER_CAPABILITIES"] == "compute,video,utility"
    assert not [stage for stage in STAGES if stage.name == "cpu" and stage.steps]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_it_runs_as_a_user_with_a_name_whose_processes_are_reaped(target):
    assert _said(target, "USER") == ["1000:1000"]
    assert [run for run in _steps(target, Run) if "useradd --uid 1000" in run.command]
    assert _said(target, "ENTRYPOINT") == ['["tini", "--", "automations"]']
    assert _said(target, "CMD") == ['["serve"]']
    health = _said(target, "HEALTHCHECK")[0]
    assert "--start-period=300s" in health
    assert "http://127.0.0.1:8000/readyz" in health


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_variables_are_settings_and_ray_asks_for_a_token(target):
    env = {step.name: step.value for step in _steps(target, Set) if step.kept}
    require_settings(env)
    assert env["RAY_AUTH_MODE"] == "token"
    assert env["RAY_USAGE_STATS_ENABLED"] == "0"
    assert env["HF_HUB_OFFLINE"] == "${MODELS:+1}"


def test_packages_come_before_the_project_and_are_those_of_the_lock():
    dependencies = next(stage for stage in STAGES if stage.name == "dependencies")
    copied = [source for step in dependencies.steps if isinstance(step, Copy) for source in step.sources]
    assert copied == ["pyproject.toml", "requirements.lock"]
    installing = next(step for step in dependencies.steps if isinstance(step, Run) and "uv pip" in step.command)
    assert "--constraints requirements.lock" in installing.command
    assert re.findall(r"--extra \S+", installing.command) == ["--extra kms"], "nothing that only tests need"
    assert installing.mounts == (Mount("cache", "/root/.cache/uv"),)
    env = {step.name: step.value for step in dependencies.steps if isinstance(step, Set)}
    assert env["UV_COMPILE_BYTECODE"] == "1"
    assert env["UV_LINK_MODE"] == "copy"


def test_no_address_of_a_registry_and_nothing_secret_is_in_it():
    addresses = re.findall(r"https?://[^\s\"/]+", TEXT)
    assert set(addresses) == {"http://127.0.0.1:8000"}
    assert not re.search(r"(?i)(index-url|extra-index|find-links|password|secret|token=|api_key)", TEXT)


def test_what_goes_into_the_image_is_what_git_has_and_nothing_else():
    given = {str(file) for file in files(TOP)}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    )
    assert given <= set(listed.stdout.splitlines())
    tops = {name.partition("/")[0] for name in given}
    copied = {
        source
        for stage in STAGES
        for step in stage.steps
        if isinstance(step, Copy) and not step.stage
        for source in step.sources
    }
    assert tops == copied
    assert {"configs/cpu.yaml", "serving/cli.py", "models/bundled/MODEL_CARD.md"} <= given
    assert not [name for name in given if name.startswith(("tests", ".git", "benchmarks"))]


def test_a_rule_of_another_kind_is_not_passed_over(tmp_path):
    for rules in ("a\n", "*\nb\n", "*\n!a/b\n", "*\n**/a/b\n"):
        (tmp_path / ".dockerignore").write_text(rules)
        with pytest.raises(NotUnderstood):
            list(files(tmp_path))


def test_wheels_hold_what_the_image_installs():
    """`configs` has the Serve YAMLs that `automations graph` is told by name."""
    import tomllib

    said = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    packages = said["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) == {"serving", "models", "pipeline", "configs"}
