"""Vocabularies that stand for a library, from the command line against a whole server."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.serving.search.conftest import films
from tests.serving.starting import Serving, started

__all__ = ["films"]

LABELS = """
[[label]]
name = "warm"
prompts = ["a red object"]
aliases = ["cosy"]
"""


@pytest.fixture(scope="module")
def working(server, tmp_path_factory) -> Iterator[Serving]:
    """A whole server."""
    with started("serve", server, tmp_path_factory.mktemp("working")) as one:
        yield one


def test_a_library_is_tagged_corrected_and_taught_from_the_command_line(working, films):
    done = working.run("submit", *films.values(), "--model", "bundled", "--fps", 2, "--wait")
    assert done.returncode == 0, done.stderr
    headers = {"Authorization": f"Bearer {working.key}", "Content-Type": "application/toml"}
    made = httpx.post(f"{working.address}/v1/vocabularies?name=moods", headers=headers, content=LABELS, trust_env=False)
    assert made.status_code == 201, made.text
    applied = working.run("vocabularies", "apply", "moods", "--wait")
    assert applied.returncode == 0, applied.stderr
    assert "succeeded  3 of 3 videos" in applied.stdout
    assert "stands since" in next(
        line for line in working.run("vocabularies", "list").stdout.splitlines() if line.startswith("moods ")
    )
    found = json.loads(working.run("search", "a green star", "--json").stdout)["data"][0]["video_id"]
    said = working.run("correct", found, "cosy", "--accept", "--vocabulary", "moods", "--at", "0-2.5")
    assert "warm accepted from 0 s to 2.5 s" in said.stdout, said.stderr
    seen = json.loads(working.run("search", "a green star", "--where", "holds=warm", "--json").stdout)
    assert [one["video_id"] for one in seen["data"]] == [found]
    assert working.run("learned", "list", "moods").stderr == "nothing was learnt yet\n"
    assert working.run("learned", "now", "moods", "cosy").returncode == 0
    nothing = working.run("learned", "undo", "moods", "warm")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "nothing that was learnt holds" in nothing.stderr
    assert working.run("vocabularies", "taggings", "moods").stdout.count("applied  succeeded") == 1
    assert working.run("vocabularies", "unapply", "moods").returncode == 0
    wrong = working.run("correct", found, "warm", "--at", "soon")
    assert (wrong.returncode, "--at" in wrong.stderr) == (2, True)
