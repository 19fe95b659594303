"""`automations search` against a whole server, whose worker reads pictures behind its locks."""

import json
import re
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.serving.search.conftest import picture
from tests.serving.starting import Serving, started


@pytest.fixture(scope="module")
def working(server, tmp_path_factory) -> Iterator[Serving]:
    """A whole server."""
    with started("serve", server, tmp_path_factory.mktemp("working")) as one:
        yield one


def test_moments_are_found_from_the_command_line(working, films, tmp_path):
    assert working.run("search", "a red circle").stderr == "nothing was found\n"
    done = working.run("submit", *films.values(), "--model", "bundled", "--fps", 2, "--wait")
    assert done.returncode == 0, done.stderr
    found = working.run("search", "a red circle", "--limit", 1)
    assert found.returncode == 0, found.stderr
    score, video, *_ = found.stdout.split()
    assert float(score) >= 0.7
    assert "first.mp4" in found.stdout
    assert re.search(r"\(a red circle [01]\.\d\d", found.stdout)
    like = json.loads(working.run("search", "--like", f"{video}@1.0", "--json").stdout)
    assert like["data"][0]["video_id"] == video
    Image.fromarray(picture("green star")).save(tmp_path / "star.png")
    seen = working.run("search", "--image", tmp_path / "star.png", "--group-by", "videos")
    assert "second.mp4" in seen.stdout, seen.stderr
    filtered = working.run("search", "--image", tmp_path / "star.png", "--where", f"video_ids={video}")
    assert (filtered.returncode, filtered.stdout) == (0, "")
    assert filtered.stderr.startswith(f"nothing was found; nearest: {video} at ")
    other = working.run("search", "a red object", "--not", "a circle", "--group-by", "videos")
    assert "third.mp4" in other.stdout
    assert "not a circle 0.0" in other.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing is looked for"),
        (("x", "--group-by", "shots"), "--group-by"),
        (("--image", "nowhere.png"), "no such file"),
        (("--like", "vid_1"), "--like"),
        (("--like", "vid_1@soon"), "--like"),
        (("x", "--where", "label"), "--where"),
        (("x", "--where", "before_s=soon"), "before_s is a number"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(working, arguments, says):
    done = working.run("search", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
