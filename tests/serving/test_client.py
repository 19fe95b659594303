"""The commands of who uses a server, against real ones over a real PostgreSQL."""

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from pipeline.report import Report
from pipeline.spec import AnalysisSpec, Label, Sampling, SegmentSpec
from pipeline.synthesis import Encoding, write_video
from serving.client import Client
from serving.db.accounts import Tenant
from serving.db.database import SYSTEM, Database
from serving.jobs import events
from serving.outputs import read_report
from tests.formats.chart import moments
from tests.serving.commands import here
from tests.serving.cutting import free_port, line
from tests.serving.starting import Serving, started


@pytest.fixture(scope="module")
def working(server, tmp_path_factory) -> Iterator[Serving]:
    """A whole server."""
    with started("serve", server, tmp_path_factory.mktemp("working")) as one:
        yield one


@pytest.fixture(scope="module")
def idle(server, tmp_path_factory) -> Iterator[Serving]:
    """A server without a worker: what is queued there waits."""
    with started("api", server, tmp_path_factory.mktemp("idle")) as one:
        yield one


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Two seconds and a half."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, moments(64), fps=25, encoding=Encoding(gop=8))


def submitted(one: Serving, *args: object) -> str:
    """The id of the job that `submit` makes."""
    done = one.run("submit", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_from_a_file_to_its_report(working, film, tmp_path):
    job = submitted(working, film, "--model", "bundled", "--fps", 4)
    assert re.fullmatch(r"job_[0-9A-Z]{26}", job)
    watched = working.run("watch", job)
    assert (watched.returncode, watched.stderr) == (0, "")
    *_, last = watched.stdout.splitlines()
    assert re.fullmatch(rf"{job} succeeded: \d+ segments, \d+ shots, \d+ tags", last)
    status = working.run("status", job).stdout
    assert status.startswith(f"{job} succeeded\n")
    video = re.search(r"vid_[0-9A-Z]{26}", status)[0]
    shown = working.run("results", job, "--json", tmp_path / "report.json")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("film.mp4")
    report = read_report(tmp_path / "report.json")
    assert report.spec == AnalysisSpec(model="bundled", sampling=Sampling(fps=4.0))
    assert report.decode.frames_decoded == report.decode.frames_wanted > 0
    assert msgspec.json.decode(working.run("results", video, "--json", "-").stdout, type=Report) == report
    assert "is over already: succeeded" in working.run("cancel", job).stdout
    again = working.run("submit", film, video, "--model", "bundled", "--fps", 4, "--weights", "audio=0", "--wait")
    assert again.returncode == 0, again.stderr
    first, second = again.stdout.split()
    for one in (first, second):
        assert working.get(f"/v1/jobs/{one}")["video_id"] == video, "the same bytes are the same video"
        assert f"{one} succeeded" in again.stderr


def test_a_job_that_fails_says_why_and_one_bad_video_stops_no_other(working, film, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video at all\n" * 100)
    gone = tmp_path / "gone.mp4"
    done = working.run("submit", text, gone, film, "--model", "ViT-Z-99/nobody", "--wait")
    assert done.returncode == 2
    job = done.stdout.strip()
    assert "text.mp4: it does not begin as any video does" in done.stderr
    assert "gone.mp4: no such file [not_found]" in done.stderr
    assert f"{job} failed: " in done.stderr
    assert working.run("watch", job).returncode == 2
    results = working.run("results", job)
    assert results.returncode == 2
    assert results.stderr.strip().endswith("[model_unavailable]")


def test_options_are_the_body(idle, film, tmp_path):
    vocabulary = tmp_path / "own.toml"
    options = (
        "--model bundled --sampling snap --fps 2 --tolerance 0.25 --labels dog,beach --weights motion=2 --priority 7"
    )
    rest = ["--prompt", "a goal", "--prompt", "a crowd", "--max-segments", 3, "--target-seconds", 9]
    job = idle.get(f"/v1/jobs/{submitted(idle, film, *options.split(), *rest)}")
    weights = SegmentSpec().weights | {"motion": 2.0}
    assert msgspec.convert(job["spec"], AnalysisSpec) == AnalysisSpec(
        model="bundled",
        sampling=Sampling(policy="snap", fps=2.0, tolerance_s=0.25),
        labels=(Label(name="dog"), Label(name="beach")),
        segments=SegmentSpec(weights=weights, max_segments=3, target_s=9.0, prompts=("a goal", "a crowd")),
    )
    assert job["priority"] == 7
    done = idle.run("submit", film, "--labels", "a", "--vocabulary", vocabulary)
    assert (done.returncode, done.stdout) == (2, "")
    assert "exclude each other" in done.stderr


def test_cancel_ends_those_who_watch(idle, film):
    first, second = submitted(idle, film), submitted(idle, film)
    assert idle.run("status", first).stdout.startswith(f"{first} queued\n")
    unfinished = idle.run("results", first)
    assert unfinished.returncode == 2
    assert f"{first} is queued; `automations watch {first}` waits for it [conflict]" in unfinished.stderr
    watching = idle.start("watch", first, second)
    assert watching.stdout.readline().endswith("waits\n")
    assert watching.stdout.readline().endswith("waits\n")
    for job in (first, second):
        assert idle.run("cancel", job).stdout == f"{job} canceled\n"
    out, error = watching.communicate(timeout=60)
    assert (watching.returncode, error) == (2, "")
    assert sorted(out.splitlines()) == sorted(f"{job} canceled" for job in (first, second))
    assert "was canceled [conflict]" in idle.run("results", first).stderr


def test_who_interrupts_leaves_at_once(idle, film):
    watching = idle.start("watch", submitted(idle, film))
    assert watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, error = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("args", "variables", "says"),
    [
        (["status", "job_x"], {"KEY": "aut_wrong"}, "[unauthenticated]"),
        (["status", "job_x"], {"KEY": ""}, "[unauthenticated]"),
        (["status", "job_x"], {"KEY": "ü"}, "no key has [invalid_settings]"),
        (["status", "job_x", "--server", "nowhere"], {}, "begins with http:// or https:// [invalid_settings]"),
        (["status", "job_x"], {}, "there is no such job [not_found]"),
        (["status", "../videos"], {}, "no id of a job"),
        (["watch", "job_x"], {}, "there is no such job [not_found]"),
        (["cancel", "job_x"], {}, "there is no such job [not_found]"),
        (["results", "job_x"], {}, "there is no such job [not_found]"),
        (["results", "vid_00000000000000000000000000"], {}, "there is no such video [not_found]"),
        (["submit", "vid_00000000000000000000000000"], {}, "there is no video vid_0"),
        (["submit", "README.md"], {}, "README.md: it does not begin as any video does"),
        (["submit", "docs"], {}, "docs: a folder, no file [not_found]"),
        (["submit", "README.md", "README.md"], {"KEY": "aut_wrong"}, "[unauthenticated]"),
        (["submit", "README.md", "--fps", "0"], {}, "sampling.fps"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(idle, args, variables, says):
    done = idle.run(*args, **{f"AUTOMATIONS_CLIENT__{name}": value for name, value in variables.items()})
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("key", "code"), [(None, "unsupported_container"), ("aut_wrong", "unauthenticated")])
def test_a_refusal_is_heard_in_the_midst_of_an_upload(idle, tmp_path, key, code):
    big = tmp_path / "big.mp4"
    with big.open("wb") as out:
        out.write(b"no video\n" * 1000)
        out.truncate(200 << 20)
    done = idle.run("submit", big, *(["--key", key] if key else []))
    assert done.returncode == 2
    assert done.stderr.strip().endswith(f"[{code}]")


def test_no_server_is_one_line():
    address = f"http://127.0.0.1:{free_port()}"
    done = here("watch", "job_x", AUTOMATIONS_CLIENT__SERVER=address)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {address} cannot be reached: ")
    assert done.stderr.strip().endswith("[unreachable]")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("body", [None, b"<h1>oops</h1>"])
def test_a_fault_of_the_server_is_exit_code_1(body):
    problem = {"status": 500, "code": "internal_error", "detail": "a fault of the server", "request_id": "req_7"}

    class Faulty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(body or json.dumps(problem).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Faulty) as faulty:
        Thread(target=faulty.serve_forever, daemon=True).start()
        done = here("status", "job_x", "--server", f"http://127.0.0.1:{faulty.server_port}")
        faulty.shutdown()
    assert done.returncode == 1
    says = "answers 500 Internal Server Error [unknown_answer]" if body else "the server; req_7 [internal_error]"
    assert done.stderr.strip().endswith(says)
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_repeated_makes_no_second_job(idle, tmp_path):
    """The video is cut off half way, then its answer is lost, twice; so is the answer to the other job."""
    own = write_video(tmp_path / "own.mp4", moments(9), fps=9)
    half = own.stat().st_size // 2
    with line(idle.address, [(half, None), (None, 1), (None, 0)]) as cut:
        job = idle.run("submit", own, AUTOMATIONS_CLIENT__SERVER=cut.address).stdout.strip()
        video = idle.get(f"/v1/jobs/{job}")["video_id"]
        with line(idle.address, [(None, 1), (None, 1)]) as other:
            once = idle.run("submit", video, AUTOMATIONS_CLIENT__SERVER=other.address).stdout.strip()
        assert (cut.cut, other.cut) == (3, 2)
    assert {one["id"] for one in idle.get(f"/v1/jobs?video_id={video}")["data"]} == {job, once}


def test_a_watch_survives_cuts_without_gap_or_repeat(idle, film):
    job = submitted(idle, film)
    # At any place of an event: the answer to "is there such a job?" is about as long as these.
    cuts = [(None, most) for most in (1700, 701, 777, 850, 933, 1001)]
    with line(idle.address, cuts) as cut, Client(cut.address, idle.key) as client:
        watching = idle.start("watch", job, AUTOMATIONS_CLIENT__SERVER=cut.address)
        assert watching.stdout.readline() == f"{job} waits\n"
        for first in range(0, 24, 6):
            asyncio.run(_tell(idle, job, [f"stage-{number}" for number in range(first, first + 6)]))
            time.sleep(0.5)
        idle.run("cancel", job)
        out, error = watching.communicate(timeout=120)
        assert (watching.returncode, error) == (2, "")
        assert out.splitlines() == [*(f"{job} stage-{number}" for number in range(24)), f"{job} canceled"]
        assert cut.cut >= 3
        assert [event.number for event in client.events(job)] == list(range(1, 27))


def test_a_watch_tells_what_was_found_so_far(idle, film):
    job = submitted(idle, film)
    found = [{"start_s": start, "end_s": start + 2.5, "score": 0.5, "reasons": ["motion"]} for start in (61.0, 3.0)]
    told = ({"until_s": 75.25, "segments": found}, {"until_s": 80.0, "segments": []}, {"of": "later servers"})
    asyncio.run(_happen(idle, job, [("candidates", data) for data in told]))
    idle.run("cancel", job)
    lines = idle.run("watch", job).stdout.splitlines()
    best = f"{job} so far (of the first 1:15.2): best from 1:01.0 to 1:03.5 and 1 more"
    assert lines == [f"{job} waits", best, f"{job} canceled"]


async def _tell(one: Serving, job: str, stages: list[str]) -> None:
    """Have these stages happen to a job, as its worker would."""
    await _happen(one, job, [("progress", {"stage": stage, "done": 1, "total": 2}) for stage in stages])


async def _happen(one: Serving, job: str, told: list[tuple[str, dict]]) -> None:
    """Have these events happen to a job."""
    from sqlmodel import select

    database = Database(one.database_url)
    try:
        async with database.write("job.progress", SYSTEM) as session:
            tenant = (await session.exec(select(Tenant.id))).one()
            await events.append(session, tenant, job, told)
    finally:
        await database.close()
