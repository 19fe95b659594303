"""The simulator: what goes in comes out, the same each time, and Serve's rules hold in it."""

import itertools
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import autoscale
from benchmarks.scaling.arrivals import PATTERNS, Arrival
from benchmarks.scaling.page import page
from benchmarks.scaling.plant import Plant, Setting, replay
from benchmarks.scaling.settings import from_yaml, plant, varied
from serving.graph.args import InvalidGraph
from serving.graph.scaling import ScalingRules

PLANT = Plant(slot_video_s_per_s=10, engine_video_s_per_s=100, worker_start_s=20, engine_start_s=30)


def setting(*, minimum=1, maximum=8, up=10, down=60, engines=None, **rules) -> Setting:
    """Workers that scale between these."""
    return Setting(
        name="tested",
        rules=ScalingRules(**{"video_s_per_s": 20.0, "clear_within_s": 60.0, "oldest_s": 30.0, "poll_s": 1.0} | rules),
        workers={"min_replicas": minimum, "max_replicas": maximum, "upscale_delay_s": up, "downscale_delay_s": down},
        engines=engines or {"num_replicas": 3},
    )


def burst(count: int, at_s: float = 100.0, video_s: float = 120.0) -> list[Arrival]:
    return [Arrival(at_s, video_s) for _ in range(count)]


@pytest.mark.parametrize("name", PATTERNS)
def test_arrivals_are_the_same_for_a_seed_and_in_order(name):
    pattern = PATTERNS[name]
    arrivals = pattern.arrivals(7)
    assert arrivals == pattern.arrivals(7) != pattern.arrivals(8)
    assert [one.at_s for one in arrivals] == sorted(one.at_s for one in arrivals)
    assert all(0 <= one.at_s <= pattern.until_s and one.video_s > 0 for one in arrivals)


def test_a_replay_is_the_same_for_a_seed():
    arrivals = PATTERNS["steady"].arrivals(3)[:200]
    first, second = (replay(arrivals, setting(), PLANT, 1200, seed=5) for _ in range(2))
    assert first.summary() == second.summary()
    assert first.moments == second.moments
    assert first.took_s == second.took_s


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.builds(Arrival, st.floats(0, 600), st.floats(1, 900)), min_size=1, max_size=40),
    st.integers(0, 3),
    st.integers(1, 4),
    st.floats(0, 60),
    st.floats(0, 120),
    st.integers(0, 1),
    st.integers(0, 100),
)
def test_each_job_arrives_and_ends_once(arrivals, minimum, more, up, down, fewest_engines, seed):
    engines = {"min_replicas": fewest_engines, "max_replicas": 2, "target_ongoing_requests": 8, "upscale_delay_s": up}
    chosen = setting(minimum=minimum, maximum=minimum + more, up=up, down=down, engines=engines)
    found = replay(arrivals, chosen, PLANT, 600, seed)
    assert found.arrived == len(arrivals) == len(found.took_s) == len(found.waited_s)
    # Nobody is quicker than a slot, and nobody ends before being claimed.
    quickest_s = min(arrival.video_s for arrival in arrivals) / PLANT.slot_video_s_per_s
    assert min(found.took_s) >= quickest_s - 1e-6
    assert all(0 <= waited_s <= took_s for waited_s, took_s in zip(found.waited_s, found.took_s, strict=True))
    # What was computed is what came, and what had to be done again.
    video_s = sum(arrival.video_s for arrival in arrivals)
    done_s = found.engine_busy_s * PLANT.engine_video_s_per_s
    assert video_s - 1e-3 <= done_s <= video_s + found.handed_back * PLANT.lost_video_s + 1e-3
    for moment in found.moments:
        assert minimum <= moment.workers_wanted <= minimum + more
        assert moment.workers <= minimum + more
        assert moment.waiting + moment.running <= len(arrivals)


def test_nothing_runs_into_nothing():
    with pytest.raises(RuntimeError, match="3 jobs never end"):
        replay(burst(3), setting(engines={"num_replicas": 0}), PLANT, 200)


def test_workers_come_after_the_delay_and_go_after_theirs():
    found = replay(burst(30), setting(up=10, down=60), PLANT, 1200)
    wanted = [(moment.at_s, moment.workers_wanted) for moment in found.moments]
    grown_s = next(at_s for at_s, count in wanted if count > 1)
    # Read within a second, looked at within another one.
    assert 110 <= grown_s <= 112
    there_s = next(moment.at_s for moment in found.moments if moment.workers > 1)
    assert there_s == pytest.approx(grown_s + PLANT.worker_start_s, abs=1)
    ended_s = 100 + max(found.took_s)
    gone_s = next(at_s for at_s, count in wanted if at_s > grown_s and count == 1)
    # Some go as soon as the last jobs leave slots free for that long.
    assert grown_s + 60 <= gone_s <= ended_s + 63
    assert wanted[-1][1] == 1


def test_more_workers_make_jobs_wait_for_less_and_cost_more():
    few, many = (replay(burst(30), setting(maximum=maximum), PLANT, 1200) for maximum in (1, 8))
    assert max(many.waited_s) < max(few.waited_s) / 2
    assert many.worker_s > few.worker_s


def test_to_zero_and_back():
    found = replay(burst(4, at_s=400), setting(minimum=0, down=30), PLANT, 1200)
    zero = [moment.at_s for moment in found.moments if moment.workers == 0]
    assert zero[0] <= 1
    assert zero[-1] == found.moments[-1].at_s
    # From nothing, Serve waits for no delay.
    first_s = next(moment.at_s for moment in found.moments if moment.workers_wanted > 0)
    assert 400 <= first_s <= 402
    assert found.handed_back == 0
    for moment in found.moments:
        assert moment.workers_wanted > 0 or moment.running == 0


def changes(found, after_s: float = 1800) -> list[int]:
    """The numbers of workers that were aimed at, one after the other, once things have settled."""
    later = (moment.workers_wanted for moment in found.moments if moment.at_s > after_s)
    return [count for count, _ in itertools.groupby(later)]


#: From an eighth of what a worker clears to eight workers' worth; 4.5 s are just what one clears.
@pytest.mark.parametrize("every_s", [0.6, 0.7, 1.0, 1.3, 2.2, 2.9, 4.4, 4.5, 7.0, 36.0])
def test_constant_load_ends_in_a_constant_number(every_s):
    arrivals = [Arrival(number * every_s, 90.0) for number in range(int(7200 / every_s))]
    found = replay(arrivals, setting(up=10, down=300), PLANT, 7200)
    assert len(changes(found)) <= 2, changes(found)
    # Nor is that so because there are too few: nobody waits for longer than the rules say, and a start takes.
    late = max(moment.oldest_s for moment in found.moments if moment.at_s > 1800)
    assert late <= 30 + 10 + PLANT.worker_start_s


def test_it_is_the_delays_that_keep_it_constant():
    arrivals = [Arrival(number * 1.3, 90.0) for number in range(int(7200 / 1.3))]
    assert len(changes(replay(arrivals, setting(up=0, down=0), PLANT, 7200))) > 10


@pytest.mark.parametrize(("clips", "most"), [(4, 6), (2, 4), (1, 2)])
def test_engines_scale_on_clips_that_workers_have_out(clips, most):
    engines = {"min_replicas": 1, "max_replicas": 6, "target_ongoing_requests": 8, "upscale_delay_s": 5}
    slow = replace(PLANT, engine_video_s_per_s=10, worker_start_s=5, engine_start_s=10, clips_of_a_job=clips)
    found = replay(burst(60), setting(up=1, engines=engines), slow, 1200)
    # Eight workers with two jobs each, eight Clips for each engine; six are the most that there may be.
    assert max(moment.workers for moment in found.moments) == 8
    assert max(moment.engines for moment in found.moments) == most


def test_a_yaml_says_what_is_replayed():
    read = from_yaml("cluster")
    assert read.name == "cluster.yaml"
    assert read.rules.slots == read.slots
    assert read.workers["max_replicas"] >= 1
    assert "policy" not in read.workers
    assert replay(burst(3), read, PLANT, 300).arrived == 3
    with pytest.raises(InvalidGraph, match="cannot be read"):
        from_yaml("nowhere.yaml")


def test_one_number_is_varied():
    base = setting()
    names = [one.name for one in varied(base, "rules.clear_within_s=60,120.5")]
    assert names == ["rules.clear_within_s=60", "rules.clear_within_s=120.5"]
    (changed,) = varied(base, "workers.max_replicas=3")
    assert changed.workers == base.workers | {"max_replicas": 3}
    with pytest.raises(ValueError, match="is wanted"):
        varied(base, "clear_within_s=3")
    with pytest.raises(InvalidGraph, match="there is no clear"):
        varied(base, "rules.clear=3")
    with pytest.raises(ValueError, match="there are slot_video_s_per_s"):
        plant(["colour=red"])


class Text(HTMLParser):
    """Refuses what does not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_it_writes_figures_and_a_page_that_needs_nothing(tmp_path, capsys):
    out = tmp_path / "autoscale.json"
    arguments = ["--patterns", "burst", "--config", "cpu", "--vary", "rules.clear_within_s=30", "--out", str(out)]
    assert autoscale.main(arguments) == 0
    result = json.loads(out.read_text())
    names = [run["setting"] for run in result["patterns"]["burst"]["runs"]]
    assert names == ["fixed", "patient", "eager", "to zero", "cpu.yaml", "rules.clear_within_s=30"]
    assert all(run["summary"]["jobs"] == 31 for run in result["patterns"]["burst"]["runs"])
    for run in result["patterns"]["burst"]["runs"]:
        assert len({len(curve) for curve in run["curves"].values()}) == 1
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    read = Text()
    html = out.with_suffix(".html").read_text()
    read.feed(html)
    assert read.open == []
    assert all(name in read.text for name in names)
    assert read.seen.count("svg") == 4
    assert not {"script", "link", "img"} & set(read.seen)
    assert "http" not in html


def test_names_are_no_markup():
    run = {
        "setting": "<b>bold",
        "summary": {"jobs": 1},
        "curves": {key: [0.0, 1.0] for key in ("at_s", "oldest_s", "waiting", "workers", "engines")},
    }
    shown = page({"seed": 1, "plant": {}, "patterns": {"<i>": {"what": "&", "runs": [run]}}}, {"jobs": "jobs <hr>"})
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "<hr>" not in shown


def test_what_cannot_be_is_refused(capsys):
    for arguments in (["--config", "nowhere.yaml"], ["--plant", "x=1"], ["--vary", "x=1"], ["--only-config"]):
        with pytest.raises(SystemExit):
            autoscale.main(arguments)
    assert "nowhere.yaml cannot be read" in capsys.readouterr().err
