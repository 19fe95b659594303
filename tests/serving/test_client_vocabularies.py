"""`automations submit --vocabulary` against a real server: by name, by id, or as a file."""

from collections.abc import Iterator

import httpx
import pytest

from pipeline.synthesis import Encoding, write_video
from tests.formats.chart import moments
from tests.serving.starting import Serving, started


@pytest.fixture(scope="module")
def idle(server, tmp_path_factory) -> Iterator[Serving]:
    """A server without a worker: what is queued there waits."""
    with started("api", server, tmp_path_factory.mktemp("idle")) as one:
        yield one


def test_a_vocabulary_of_the_server_is_named(idle, tmp_path):
    film = write_video(tmp_path / "film.mp4", moments(8), fps=8, encoding=Encoding(gop=8))
    made = httpx.post(
        f"{idle.address}/v1/vocabularies",
        json={"name": "shapes", "labels": [{"name": "a ring", "parent": "round"}]},
        headers={"Authorization": f"Bearer {idle.key}"},
        trust_env=False,
    ).json()
    for name in ("shapes", made["id"]):
        job = idle.get(f"/v1/jobs/{_submitted(idle, film, '--vocabulary', name)}")
        assert [label["name"] for label in job["spec"]["labels"]] == ["a ring"]
    built_in = idle.get(f"/v1/jobs/{_submitted(idle, film, '--vocabulary', 'example')}")
    assert "goal celebration" in [label["name"] for label in built_in["spec"]["labels"]]
    mine = tmp_path / "mine.toml"
    mine.write_text('[categories]\nround = ["a circle"]\n')
    in_file = idle.get(f"/v1/jobs/{_submitted(idle, film, '--vocabulary', mine)}")
    assert [label["name"] for label in in_file["spec"]["labels"]] == ["a circle"]
    missing = idle.run("submit", film, "--vocabulary", "nothing")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "there is no vocabulary nothing [not_found]" in missing.stderr


def _submitted(one: Serving, *args: object) -> str:
    done = one.run("submit", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
