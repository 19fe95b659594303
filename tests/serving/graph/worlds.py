"""Generations of models that compute nothing, by a clock that stands still until it is moved."""

import asyncio
import threading

from serving.graph.generations import Generations


class Fake:
    """Models that compute nothing; `identities` as they are configured."""

    def __init__(self, config: str) -> None:
        self.config = config
        # "a=1,b=2": the name under which jobs ask, and what comes out.
        self.identities = dict(pair.split("=") for pair in config.split(","))
        self.closed = threading.Event()
        self.checks = 0

    async def check(self):
        self.checks += 1

    def close(self):
        self.closed.set()


class World:
    """Generations of fakes whose clock stands still until it is moved."""

    def __init__(self, *, timeout_s: float = 30.0, linger_s: float = 60.0) -> None:
        self.clock_s = 1000.0
        self.loading: dict[str, object] = {}
        """Configuration -> what goes wrong with it: an exception, or an event that it waits for."""
        self.proving: dict[str, object] = {}
        self.made: list[Fake] = []
        self.before: list[Fake | None] = []
        self.told: list[tuple] = []
        self.generations: Generations[str, Fake] = Generations(
            self._load,
            self._prove,
            timeout_s=lambda config: timeout_s,
            linger_s=lambda config: linger_s,
            watch=self,
            now=lambda: self.clock_s,
        )

    def served(self, models, number, took_s):
        self.told.append(("served", models.config, number))

    def failed(self, wanted, took_s):
        self.told.append(("failed", wanted))

    def _load(self, config, before):
        self.before.append(before)
        trouble = self.loading.get(config)
        if isinstance(trouble, threading.Event):
            assert trouble.wait(30), "nobody let it go on"
        elif trouble is not None:
            raise trouble
        made = Fake(config)
        self.made.append(made)
        return made

    async def _prove(self, models):
        trouble = self.proving.get(models.config)
        if isinstance(trouble, asyncio.Event):
            await trouble.wait()
        elif trouble is not None:
            raise trouble

    def asked(self, name="a", identity=None):
        """What answers now."""
        with self.generations.using(name, identity) as models:
            return models.config

    async def until(self, what, told):
        """Waits until `what()` holds."""
        async with asyncio.timeout(20):
            while not what():
                await asyncio.sleep(0.005)
        assert what(), told

    async def swap(self, config):
        """Go over to it, and wait for how that ends."""
        await self.generations.change(config)
        await self.until(lambda: self.generations.coming is None, "the swap has ended")
