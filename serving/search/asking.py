"""Asks models for the vectors of a query: rows of a table, which workers answer. The API has no models, and need not
know where they are: a worker has them itself, or passes on what it is asked to the engines of a graph.

Pixels stay away from here: a picture is passed on as the file that it came as, and decoded where videos are.
"""

import asyncio
import contextvars
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from sqlalchemy import text

from pipeline.errors import EngineUnavailable, VideoError
from serving.db.database import Database
from serving.db.search import Question
from serving.db.statements import execute
from serving.errors import SpaceMismatch
from serving.ids import new_id
from serving.jobs.events import notify
from serving.jobs.listening import Listener
from serving.storage.keyring import Keyring
from serving.storage.values import Values
from serving.workers import alive

#: PostgreSQL's channels: on the first workers hear that something was asked, on the second those who asked, with the
#: id, that there is an answer.
QUESTION_CHANNEL: Final = "automations_question"
ANSWER_CHANNEL: Final = "automations_answer"

#: How long an answer may take, seconds: a model that has to be loaded first takes longer, and whoever asked asks again.
PATIENCE_S: Final = 15.0

#: How often it is looked for without a notice, seconds.
_LOOK_S: Final = 0.5

#: Vectors that are remembered: some megabytes.
_REMEMBERED: Final = 4096

_ANSWER = text("SELECT state, answer, error FROM question WHERE tenant_id = :tenant AND id = :id")
_FORGET = text("DELETE FROM question WHERE tenant_id = :tenant AND id = :id")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked: for texts, for a picture, or, with neither, what it is."""

    texts: tuple[str, ...] = ()
    picture: bytes | None = None
    """A file with a picture."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors that a model gave."""

    space: str
    dim: int
    rows: bytes
    """float32 [N, dim], little-endian, row by row; each of length 1."""
    scale: float
    bias: float | None
    """`models.base.Likelihood` of the model."""

    @property
    def vectors(self) -> np.ndarray:
        """float32 [N, dim]."""
        return np.frombuffer(self.rows, "<f4").reshape(-1, self.dim)


class Asking:
    """Of one API process. What was asked before is remembered, by space."""

    def __init__(self, database: Database, keyring: Keyring, listener: Listener) -> None:
        """`listener`: hears `ANSWER_CHANNEL`."""
        self._database, self._keyring, self._listener = database, keyring, listener
        self._known: OrderedDict[tuple[str, bytes], np.ndarray] = OrderedDict()

    async def texts(self, tenant: str, model: str, space: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, D], vectors of texts in a space.

        Args:
            model: what jobs ask for to get that space.

        Raises:
            EngineUnavailable: nobody answers just now.
            SpaceMismatch: the model gives vectors of another space by now.
            VideoError: as the model refuses.
        """
        keys = [(space, hashlib.sha256(b"t" + one.encode()).digest()) for one in texts]
        # Taken now: while the others are asked for, they may be forgotten.
        found = {key: self._recalled(key) for key in keys if key in self._known}
        missing = {key: one for key, one in zip(keys, texts, strict=True) if key not in found}
        if missing:
            asked = Asked(texts=tuple(missing.values()))
            found |= zip(missing, await self._ask(tenant, model, space, asked), strict=True)
            for key in missing:
                self._remember(key, found[key])
        return np.stack([found[key] for key in keys])

    async def picture(self, tenant: str, model: str, space: str, content: bytes) -> np.ndarray:
        """float32 [D], of a picture in a space. Raises as `texts`; VideoError also for what is no picture."""
        key = space, hashlib.sha256(b"p" + content).digest()
        if key not in self._known:
            self._remember(key, (await self._ask(tenant, model, space, Asked(picture=content)))[0])
        return self._recalled(key)

    async def described(self, tenant: str, model: str) -> Answer:
        """What a model says of itself: an answer without vectors. Raises as `texts`, but no SpaceMismatch."""
        return await self._apart(tenant, model, Asked())

    async def _ask(self, tenant: str, model: str, space: str, asked: Asked) -> np.ndarray:
        answer = await self._apart(tenant, model, asked)
        if answer.space != space:
            raise SpaceMismatch(
                f"{model} gives vectors of the space {answer.space} by now, what is searched is in {space}: vectors of "
                "two spaces are not compared. Have the other space built (`POST /v1/spaces`), or search with the model "
                "that the videos have"
            )
        return answer.vectors

    async def _apart(self, tenant: str, model: str, asked: Asked) -> Answer:
        # In a context of its own: that somebody asks is no write of theirs, for the audit log.
        return await asyncio.create_task(self._asked(tenant, model, asked), context=contextvars.Context())

    async def _asked(self, tenant: str, model: str, asked: Asked) -> Answer:
        if not await alive(self._database):
            raise EngineUnavailable("no worker is there to ask a model")
        name = new_id("qst")
        said = asyncio.create_task(self._listener.wait(ANSWER_CHANNEL, name))
        try:
            async with self._database.write("question.write", tenant) as session:
                values = await self._keyring.values_to_seal(session, tenant)
                sealed = values.seal("question.asked", name, msgspec.msgpack.encode(asked))
                session.add(Question(id=name, tenant_id=tenant, model=model, asked=sealed))
                await session.flush()
                await notify(session, QUESTION_CHANNEL)
            answer = await self._answered(tenant, name, values, said)
        finally:
            said.cancel()
            async with self._database.write("question.write", tenant) as session:
                await execute(session, _FORGET, tenant=tenant, id=name)
        return answer

    async def _answered(self, tenant: str, name: str, values: Values, said: "asyncio.Task[None]") -> Answer:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while loop.time() < until:
            # Once it was said, what it says is there; a connection that broke wakes everybody, too.
            await (asyncio.sleep(_LOOK_S) if said.done() else asyncio.wait({said}, timeout=_LOOK_S))
            async with self._database.read(tenant) as session:
                found = (await execute(session, _ANSWER, tenant=tenant, id=name)).one_or_none()
            if found is not None and found.state == "answered":
                return msgspec.msgpack.decode(values.open("question.answer", name, found.answer), type=Answer)
            if found is not None and found.state == "refused":
                raise refusal(found.error)
        raise EngineUnavailable(f"no model answered within {PATIENCE_S:g} s; it may be about to be loaded")

    def _remember(self, key: tuple[str, bytes], row: np.ndarray) -> None:
        self._known[key] = row
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _recalled(self, key: tuple[str, bytes]) -> np.ndarray:
        self._known.move_to_end(key)
        return self._known[key]


def refusal(told: dict[str, object]) -> VideoError:
    """What a worker refused with, to be raised."""
    error = VideoError(str(told.get("detail")))
    error.code = str(told.get("code"))
    error.retryable = bool(told.get("retryable"))
    return error
