"""Models that were replaced stay for those who began with them, and no longer."""

import asyncio
import weakref

import pytest

from pipeline.errors import ModelReplaced, ModelUnavailable
from serving.graph import generations


def test_who_began_with_a_model_ends_with_it(swapped):
    async def body(world):
        await world.generations.change("a=1")
        assert world.asked(identity="1") == "a=1"
        await world.swap("a=2")
        for _ in range(4):
            world.clock_s += 50.0
            await asyncio.sleep(0.1)
            assert world.asked(identity="1") == "a=1"
            assert world.asked() == world.asked(identity="2") == "a=2"
        world.clock_s += 61.0
        assert await asyncio.to_thread(world.made[0].closed.wait, 10), "nobody has wanted it for a minute"
        with pytest.raises(ModelReplaced):
            world.asked(identity="1")
        assert world.asked() == "a=2"

    swapped(body)


def test_what_is_under_way_ends_on_what_it_began_with(swapped):
    async def body(world):
        await world.generations.change("a=1")
        with world.generations.using("a", "1") as models:
            await world.swap("a=2")
            world.clock_s += 1000.0
            await asyncio.sleep(0.2)
            assert not models.closed.is_set()
            assert world.asked() == "a=2"
        # It was wanted until now.
        world.clock_s += 59.0
        await asyncio.sleep(0.2)
        assert world.asked(identity="1") == "a=1"
        world.clock_s += 61.0
        assert await asyncio.to_thread(models.closed.wait, 10)

    swapped(body)


def test_what_gives_the_same_numbers_takes_over_at_once(swapped):
    """Another batch size, or one more model: nobody needs the old ones."""

    async def body(world):
        await world.generations.change("a=1,b=7")
        assert world.asked(identity="1")
        await world.swap("a=2,b=7,c=1")
        assert await asyncio.to_thread(world.made[0].closed.wait, 10)
        assert world.asked(identity="1") == world.asked("b", "7") == "a=2,b=7,c=1"
        assert world.asked("a") == world.asked("c") == "a=2,b=7,c=1"

    swapped(body)


def test_of_those_that_stay_there_are_few(swapped):
    async def body(world):
        await world.generations.change("a=1")
        for number in range(2, 7):
            world.clock_s += 1.0
            await world.swap(f"a={number}")
            world.asked(identity=str(number))
        await world.until(lambda: len(world.generations.all) == 1 + generations.MOST_OLD, "the oldest ones went")
        assert [one.models.config for one in world.generations.all] == ["a=6", "a=5", "a=4"]
        assert world.asked(identity="4") == "a=4"
        with pytest.raises(ModelReplaced):
            world.asked(identity="3")

    swapped(body)


def test_names_that_are_not_there_are_told(swapped):
    async def body(world):
        await world.generations.change("a=1,b=2")
        with pytest.raises(ModelUnavailable, match="no model c"):
            world.asked("c")
        await world.swap("a=1")
        with pytest.raises(ModelUnavailable):
            world.asked("b")
        assert world.asked("b", "2") == "a=1,b=2", "who began with it has it still"

    swapped(body)


def test_models_that_are_gone_leave_nothing_behind(swapped):
    async def body(world):
        await world.generations.change("a=1")
        first = weakref.ref(world.made[0])
        with world.generations.using("a"):
            pass
        await world.swap("a=2")
        world.loading["a=3"] = ValueError("no")
        await world.swap("a=3")
        closed = world.made[0].closed
        world.made.clear()
        world.before.clear()
        assert await asyncio.to_thread(closed.wait, 10)
        await world.until(lambda: first() is None, "their memory is free")

    swapped(body, linger_s=0.0)


def test_many_swaps_while_many_ask(swapped):
    """Each request gets what it wants, from one generation, whatever is swapped meanwhile."""

    async def body(world):
        await world.generations.change("a=1")
        stop = False
        answered = 0

        async def client():
            nonlocal answered
            while not stop:
                with world.generations.using("a") as models:
                    identity = models.identities["a"]
                for _ in range(5):
                    with world.generations.using("a", identity) as mine:
                        await asyncio.sleep(0.001)
                        assert mine.identities["a"] == identity
                        assert not mine.closed.is_set()
                        answered += 1

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for number in range(30):
            if number % 3 == 2:
                world.loading[f"a=x{number}"] = ValueError("no")
                await world.swap(f"a=x{number}")
            else:
                await world.swap(f"a={number // 3}.{number % 3}")
            world.clock_s += 1.0
            await asyncio.sleep(0.01)
        stop = True
        await asyncio.gather(*clients)
        assert answered > 100
        assert sum(told[0] == "served" for told in world.told) == 21, "the first one, and 20 of 30"

    swapped(body)
