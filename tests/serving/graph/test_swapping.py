"""Models that are replaced while they serve: whatever the next ones do, nobody who asks is the worse for it."""

import asyncio
import threading

import pytest

from pipeline.errors import ModelUnavailable


def test_new_models_answer_once_they_are_there(swapped):
    async def body(world):
        world.loading["a=2"] = go = threading.Event()
        await world.generations.change("a=1")
        await world.generations.change("a=2")
        assert world.generations.coming == "a=2"
        assert world.asked() == "a=1"
        go.set()
        await world.until(lambda: world.asked() == "a=2", "the new ones answer")
        assert world.generations.coming is None
        assert world.before == [None, world.made[0]], "the next ones may take over what stays as it is"
        assert world.told == [("served", "a=1", 1), ("served", "a=2", 2)]

    swapped(body)


BROKEN = {
    "no-file": FileNotFoundError("there is no file"),
    "no-memory": MemoryError(),
    "no-module": ImportError("No module named 'x'"),
    "wants-to-exit": SystemExit(3),
    "is-interrupted": KeyboardInterrupt(),
    "many-lines": RuntimeError("size mismatch for visual.proj:\n" + "x\n" * 10_000),
    "nothing-to-say": ValueError(),
}


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        pytest.param(stage, error, id=f"{stage}-{name}")
        for stage in ("loading", "proving")
        for name, error in BROKEN.items()
        # Models are proved by code of ours, which does not exit.
        if stage == "loading" or isinstance(error, Exception)
    ],
)
def test_whatever_is_wrong_with_the_new_ones_the_old_ones_go_on(swapped, error, stage):
    async def body(world):
        getattr(world, stage)["a=2"] = error
        await world.generations.change("a=1")
        await world.swap("a=2")
        assert world.asked() == "a=1"
        assert world.asked(identity="1") == "a=1"
        failure = world.generations.failure
        assert failure is not None
        assert failure.wanted == "a=2"
        assert type(error).__name__ in failure.error
        assert "\n" not in failure.error
        assert len(failure.error) <= 500
        assert world.told[-1] == ("failed", "a=2")
        if stage == "proving":
            assert world.made[1].closed.wait(10)
        # What is mended is taken.
        getattr(world, stage).clear()
        await world.swap("a=2")
        assert world.asked() == "a=2"
        assert world.generations.failure is None

    swapped(body)


@pytest.mark.parametrize("error", [ValueError("wrong shape"), SystemExit(1)], ids=["error", "exit"])
def test_the_first_ones_are_waited_for_and_raise(swapped, error):
    async def body(world):
        world.loading["a=1"] = error
        with pytest.raises(ModelUnavailable, match=type(error).__name__):
            await world.generations.change("a=1")
        with pytest.raises(ModelUnavailable):
            world.asked()

    swapped(body)


@pytest.mark.parametrize("stage", ["loading", "proving"])
def test_what_hangs_is_given_up_in_time_and_let_go_when_it_comes(swapped, stage):
    async def body(world):
        hanging = threading.Event() if stage == "loading" else asyncio.Event()
        getattr(world, stage)["a=2"] = hanging
        await world.generations.change("a=1")
        await world.swap("a=2")
        assert world.generations.failure.error == "TimeoutError: not loaded and checked within 0.2 s"
        assert world.asked() == "a=1"
        hanging.set()
        await world.until(lambda: len(world.made) == 2, "it came in the end")
        assert await asyncio.to_thread(world.made[1].closed.wait, 10)
        assert world.asked() == "a=1"

    swapped(body, timeout_s=0.2)


def test_a_timeout_of_the_models_own_is_told_as_what_it_is(swapped):
    async def body(world):
        world.loading["a=2"] = TimeoutError("the hub does not answer")
        await world.generations.change("a=1")
        await world.swap("a=2")
        assert world.generations.failure.error == "TimeoutError: the hub does not answer"

    swapped(body)


def test_the_newest_wish_counts(swapped):
    async def body(world):
        world.loading["a=2"] = go = threading.Event()
        await world.generations.change("a=1")
        await world.generations.change("a=2")
        await world.until(lambda: len(world.before) == 2, "it is being loaded")
        await world.swap("a=3")
        assert world.asked() == "a=3"
        go.set()
        await world.until(lambda: len(world.made) == 3, "what nobody wants any more came")
        assert await asyncio.to_thread(world.made[-1].closed.wait, 10)
        assert world.asked() == "a=3"
        assert world.generations.failure is None

    swapped(body)


def test_who_wants_again_what_is_coming_does_not_begin_it_anew(swapped):
    """Serve says the same once more when it numbers its replicas anew."""

    async def body(world):
        world.loading["a=2"] = go = threading.Event()
        await world.generations.change("a=1")
        await world.generations.change("a=2")
        await world.generations.change("a=2")
        go.set()
        await world.until(lambda: world.asked() == "a=2", "the new ones answer")
        assert len(world.made) == 2

    swapped(body)


def test_who_wants_again_what_is_there_gets_just_that(swapped):
    async def body(world):
        world.loading["a=2"] = threading.Event()
        await world.generations.change("a=1")
        await world.generations.change("a=2")
        await world.generations.change("a=1")
        assert world.generations.coming is None
        assert world.asked() == "a=1"
        assert len(world.made) == 1
        world.loading["a=3"] = ValueError("no")
        await world.swap("a=3")
        assert world.generations.failure is not None
        await world.generations.change("a=1")
        assert world.generations.failure is None, "nobody wants that any more"

    swapped(body)
