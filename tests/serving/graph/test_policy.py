"""How many workers there should be: arithmetic that can be checked by hand, and what holds whatever the figures are."""

import doctest
import logging
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.autoscaling_policy import _apply_scaling_factors
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from serving.graph import scaling
from serving.graph.args import InvalidGraph
from serving.graph.backlog import Reading
from serving.graph.policy import BacklogPolicy, held
from serving.graph.scaling import POLICIES, Decision, Present, ScalingRules, decide, scaling_rules
from serving.jobs.backlog import Backlog

RULES = ScalingRules(video_s_per_s=5, clear_within_s=120, oldest_s=60, slots=2, unknown_video_s=100)
FOUR = Present(running=1, maximum=4)
counts = st.integers(0, 500)
seconds = st.floats(0, 1e5)
backlogs = st.builds(
    Backlog,
    waiting=counts,
    waiting_video_s=seconds,
    waiting_unknown=counts,
    oldest_s=seconds,
    running=counts,
    running_video_s=seconds,
    running_unknown=counts,
    typical_video_s=st.none() | st.floats(0.1, 1e4),
    errands=st.integers(0, 3),
)
rules = st.builds(
    ScalingRules,
    policies=st.lists(st.sampled_from(sorted(POLICIES)), min_size=1, unique=True).map(tuple),
    video_s_per_s=st.floats(0.1, 1e3),
    clear_within_s=st.floats(1, 1e4),
    oldest_s=st.floats(1, 1e4),
    slots=st.integers(1, 8),
)
presents = st.builds(
    lambda running, minimum, more: Present(running=running, minimum=minimum, maximum=minimum + more),
    st.integers(0, 50),
    st.integers(0, 20),
    st.integers(1, 50),
)


@pytest.mark.parametrize(
    ("backlog", "present", "workers", "why"),
    [
        (Backlog(), FOUR, 1, "nothing waits or runs; min_replicas is 1"),
        (Backlog(), Present(running=1, minimum=0, maximum=4), 0, "nothing waits or runs"),
        # 5 s of video a second, for 120 s: 600 s of video on each.
        (Backlog(waiting=9, waiting_video_s=600), FOUR, 1, "9 jobs wait: 600 s of video, to be done within 120 s"),
        (Backlog(waiting=9, waiting_video_s=601), FOUR, 2, "9 jobs wait: 601 s of video, to be done within 120 s"),
        # Half of what runs is done.
        (
            Backlog(waiting=9, waiting_video_s=600, running=2, running_video_s=10),
            FOUR,
            2,
            "9 jobs wait: 605 s of video, to be done within 120 s",
        ),
        # Lengths that are not known: by the default, or by those that are.
        (
            Backlog(waiting=9, waiting_unknown=9),
            FOUR,
            2,
            "9 jobs wait: 900 s of video (9 of unknown length taken for 100 s each, unknown_video_s), to be done "
            "within 120 s",
        ),
        (
            Backlog(waiting=9, waiting_unknown=8, waiting_video_s=10, typical_video_s=10),
            FOUR,
            1,
            "9 jobs wait: 90 s of video (8 of unknown length taken for 10 s each, the median of the latest), to "
            "be done within 120 s",
        ),
        (
            Backlog(waiting=30, waiting_video_s=3000),
            FOUR,
            4,
            "30 jobs wait: 3000 s of video, to be done within 120 s; 5 would be needed, max_replicas is 4",
        ),
        # A video that is as good as nothing has to be looked at, too.
        (
            Backlog(waiting=1),
            Present(running=0, minimum=0, maximum=4),
            1,
            "1 jobs wait: 0 s of video, to be done within 120 s",
        ),
        # One that is as long as ten keeps one worker busy, not ten.
        (
            Backlog(waiting=2, waiting_video_s=6000),
            Present(running=0, maximum=20),
            1,
            "2 jobs wait: 6000 s of video, to be done within 120 s; more than 1 would have no job",
        ),
        # Who waited for too long gets one more, and not another one before that one has started.
        (
            Backlog(waiting=9, waiting_video_s=9, oldest_s=61),
            Present(running=2, maximum=4),
            3,
            "a job has waited for 61 s, which is more than 60 s",
        ),
        # The oldest waits since long, but there is nobody whom another worker could help.
        (
            Backlog(waiting=1, oldest_s=900, running=1),
            Present(running=1, maximum=4),
            1,
            "a job has waited for 900 s, which is more than 60 s; more than 1 would have no job",
        ),
        # Those that work stay.
        (Backlog(running=5), Present(running=4, minimum=0, maximum=4), 3, "5 jobs run, 2 on a worker"),
        (
            Backlog(errands=2),
            Present(running=0, minimum=0, maximum=4),
            1,
            "2 deliveries of webhooks or videos to be fetched are due",
        ),
    ],
)
def test_decisions(backlog, present, workers, why):
    assert decide(backlog, RULES, present) == Decision(workers=workers, why=why)


def test_a_slot_for_every_job_where_that_is_asked_for():
    rules = msgspec.structs.replace(RULES, policies=("each",))
    assert decide(Backlog(waiting=5, running=2), rules, FOUR) == Decision(
        workers=4, why="7 jobs wait or run, 2 on a worker"
    )


def test_examples_in_docstrings():
    assert doctest.testmod(scaling).failed == 0


@given(backlogs, rules, presents)
def test_never_out_of_bounds_and_always_with_a_reason(backlog, rules, present):
    decision = decide(backlog, rules, present)
    assert present.minimum <= decision.workers <= present.maximum
    assert decision.why


@given(backlogs, backlogs, rules, presents)
def test_more_to_do_is_never_a_reason_for_fewer(less, more, rules, present):
    figures = {
        name: max(getattr(less, name), getattr(more, name))
        for name in Backlog.__struct_fields__
        if name != "typical_video_s"
    }
    more = Backlog(**figures, typical_video_s=less.typical_video_s)
    assert decide(more, rules, present).workers >= decide(less, rules, present).workers


@given(backlogs, rules, presents)
def test_none_at_all_only_where_nothing_runs_or_waits(backlog, rules, present):
    if decide(backlog, rules, present).workers == 0:
        assert (backlog.running, backlog.waiting, backlog.errands, present.minimum) == (0, 0, 0, 0)


@given(backlogs, rules, presents)
def test_no_more_than_have_a_job(backlog, rules, present):
    workers = decide(backlog, rules, present).workers
    jobs = backlog.waiting + backlog.running
    assert workers <= max(present.minimum, 1 if backlog.errands else 0, -(-jobs // rules.slots))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clear_whithin_s": 3}, "policy_kwargs: there is no clear_whithin_s"),
        ({"slots": 0}, "policy_kwargs.slots: has to be int >= 1"),
        ({"policies": ["fastest"]}, "policy_kwargs.policies[0]: Invalid enum value 'fastest'"),
        ({"policies": []}, "policy_kwargs.policies: has to be array of length >= 1"),
        ({"poll_s": 30, "stale_s": 30}, "policy_kwargs: stale_s has to be more than poll_s: 30, 30"),
    ],
)
def test_what_is_wrong_in_a_yaml_is_said(values, said):
    with pytest.raises(InvalidGraph) as refused:
        scaling_rules(values)
    assert str(refused.value).startswith(said)


def context(running: int, target: int, config: AutoscalingConfig | None = None) -> AutoscalingContext:
    """What Serve's controller hands to a policy."""
    config = config or AutoscalingConfig(min_replicas=0, max_replicas=50)
    return AutoscalingContext(
        deployment_id=None,  # type: ignore[arg-type]
        deployment_name="worker",
        app_name="automations",
        current_num_replicas=running,
        target_num_replicas=target,
        running_replicas=[],
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=None,
        capacity_adjusted_min_replicas=config.min_replicas,
        capacity_adjusted_max_replicas=config.max_replicas,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=0.0,
        config=config,
    )


def test_the_policy_decides_by_what_is_read():
    readings = [Reading(backlog=Backlog(waiting=9, waiting_video_s=601), trouble=None)]
    policy = BacklogPolicy.over(lambda: readings[-1], RULES)
    workers, state = policy(context(1, 1))
    assert workers == 2
    assert state == {"workers": 2, "why": "9 jobs wait: 601 s of video, to be done within 120 s"}
    readings.append(Reading(backlog=Backlog(), trouble=None))
    assert policy(context(2, 2))[0] == 0


def test_without_a_reading_the_number_stays_and_the_log_says_why(caplog):
    policy = BacklogPolicy.over(lambda: Reading(backlog=None, trouble="the cellar is flooded"), RULES)
    with caplog.at_level(logging.WARNING, logger="ray.serve"):
        for _ in range(100):
            workers, state = policy(context(3, 3))
            assert workers == 3
    assert state["why"] == "the cellar is flooded"
    assert [record.getMessage() for record in caplog.records] == [
        "the number of workers stays at 3: the cellar is flooded"
    ]


def test_wrong_rules_hold_the_number_and_never_raise(caplog):
    with caplog.at_level(logging.WARNING, logger="ray.serve"):
        workers, _ = BacklogPolicy(oldest="1 minute", poll_s="often")(context(2, 5))
    assert math.ceil(workers) == 5
    assert "the number of workers stays at 5: policy_kwargs" in caplog.text


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 10), st.floats(0.05, 10))
def test_held_means_held_whatever_the_factors_are(running, target, up, down):
    config = AutoscalingConfig(min_replicas=0, max_replicas=99, upscaling_factor=up, downscaling_factor=down)
    ctx = context(running, target, config)
    assert _apply_scaling_factors(held(ctx), running, config) == target
