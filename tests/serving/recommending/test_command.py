"""`automations similar`, `copies` and `recommend` against a whole server, whose worker finds copies besides."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.serving.copies.test_copies_api import copied
from tests.serving.starting import Serving, started

__all__ = ["copied"]


@pytest.fixture(scope="module")
def working(server, tmp_path_factory) -> Iterator[Serving]:
    """A whole server."""
    with started("serve", server, tmp_path_factory.mktemp("working")) as one:
        yield one


def test_copies_and_what_is_like_them_are_shown_on_the_command_line(working, copied):
    assert working.run("copies").stderr == "no copies\n"
    assert working.run("recommend").stderr.startswith("nothing was found")
    done = working.run("submit", *copied.values(), "--model", "bundled", "--fps", 2, "--wait")
    assert done.returncode == 0, done.stderr
    while True:
        pairs = working.run("copies")
        assert pairs.returncode == 0, pairs.stderr
        if "still looked for" not in pairs.stderr:
            break
        time.sleep(0.2)
    (line,) = pairs.stdout.splitlines()
    assert "(whole.mp4)" in line
    assert "(part.mp4)" in line
    every = json.loads(working.run("copies", "--json").stdout)
    assert (every["pending"], every["not_looked_at"]) == (0, 0)
    ids = {every["data"][0][side]["title"]: every["data"][0][side]["video_id"] for side in ("first", "second")}
    part = working.run("copies", ids["part.mp4"])
    assert " s is " in part.stdout
    assert part.stdout.split()[1] == ids["part.mp4"]
    like = working.run("similar", ids["whole.mp4"])
    assert like.returncode == 0, like.stderr
    assert f"like {ids['whole.mp4']}@" in like.stdout
    segment = working.run("similar", f"{ids['whole.mp4']}#0", "--limit", 1, "--diversity", 0)
    assert segment.stdout.count("\n") == 1, segment.stderr
    assert f"like {ids['whole.mp4']}#0" in segment.stdout
    start = working.run("recommend", "--limit", 5)
    assert "of the library" in start.stdout, start.stderr
    liked = ("--like", ids["whole.mp4"], "--dislike", f"{ids['part.mp4']}@1.0", "--kind", "segments")
    tasted = working.run("recommend", *liked, "--where", "q=other")
    assert tasted.stdout
    assert "other.mp4" in tasted.stdout.splitlines()[0]
    assert json.loads(working.run("recommend", *liked, "--json").stdout)["data"]
    missing = working.run("recommend", "--like", "vid_" + "0" * 26)
    assert missing.returncode == 2
    assert "not in the space" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("similar", "vid_1"), "neither"),
        (("similar", "vid_" + "0" * 26 + "@1.0"), "neither vid_... nor vid_...#NUMBER"),
        (("recommend", "--kind", "moments"), "--kind"),
        (("recommend", "--like", "vid_1#x"), "--like"),
        (("recommend", "--where", "label"), "--where"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(working, arguments, says):
    done = working.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
