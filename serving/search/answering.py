"""Answers what the API asks models for: the worker's side of `asking`."""

import asyncio
from typing import Any, Final

import msgspec
import numpy as np
from sqlalchemy import text

from pipeline import picture
from pipeline.errors import CorruptVideo, EngineFault, VideoError
from pipeline.limits import InputLimits
from pipeline.toolkit import EMBEDDING, Toolkit
from serving.db.database import SYSTEM, Database
from serving.db.statements import execute
from serving.faults import Faults
from serving.jobs.events import notify
from serving.jobs.listening import Listener
from serving.jobs.running import Toolkits
from serving.search.asking import ANSWER_CHANNEL, QUESTION_CHANNEL, Answer, Asked
from serving.storage.keyring import Keyring

#: How often is looked without a notice, seconds.
_POLL_S: Final = 1.0

#: Questions that are answered at once: short ones, beside the frames of jobs.
_AT_ONCE: Final = 8

_TAKE = text(
    """
    UPDATE question SET state = 'taken' WHERE id = ANY(ARRAY(
        SELECT id FROM question WHERE state = 'open' ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING id, tenant_id, model, asked
    """
)

#: What was asked is not needed any more.
_TELL = text(
    "UPDATE question SET state = :state, answer = :answer, error = cast(:error AS jsonb), asked = '' WHERE id = :id"
)


class Answerer:
    """Answers with the models that jobs run. One that dies over a question leaves it: whoever asked asks again."""

    def __init__(
        self, database: Database, keyring: Keyring, toolkits: Toolkits, limits: InputLimits, listener: Listener
    ) -> None:
        """`limits`: of pictures; `listener`: hears `QUESTION_CHANNEL`."""
        self._database, self._keyring, self._toolkits = database, keyring, toolkits
        self._limits, self._listener = limits, listener

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set."""
        faults = Faults("questions of searches are answered")
        under_way: set[asyncio.Task[None]] = set()
        ending = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                taken = []
                if len(under_way) < _AT_ONCE:
                    with faults.borne():
                        taken = await self._take(_AT_ONCE - len(under_way))
                for question in taken:
                    task = asyncio.create_task(self._settle(question))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                if not taken:
                    await self._wait({ending, *under_way} if len(under_way) >= _AT_ONCE else {ending})
        finally:
            ending.cancel()
            for task in under_way:
                task.cancel()
            await asyncio.gather(ending, *under_way, return_exceptions=True)

    async def _wait(self, others: "set[asyncio.Task[Any]]") -> None:
        heard = asyncio.create_task(self._listener.wait(QUESTION_CHANNEL))
        try:
            await asyncio.wait({heard, *others}, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()

    async def _take(self, most: int) -> list[Any]:
        async with self._database.write("question.write", SYSTEM) as session:
            return list((await execute(session, _TAKE, most=most)).all())

    async def _settle(self, question: Any) -> None:
        told: dict[str, Any] = {"state": "answered", "answer": None, "error": None}
        try:
            async with self._database.read(question.tenant_id) as session:
                values = await self._keyring.values(session, question.tenant_id)
            asked = msgspec.msgpack.decode(values.open("question.asked", question.id, question.asked), type=Asked)
            answer = msgspec.msgpack.encode(await self._answer(question.model, asked))
            told["answer"] = values.seal("question.answer", question.id, answer)
        except VideoError as error:
            told |= _refused(error)
        except Exception as error:  # noqa: BLE001 - whatever a model does, whoever asked is told
            told |= _refused(EngineFault(f"a fault of the server: {type(error).__name__}"))
        with Faults("a question of a search is answered").borne():
            async with self._database.write("question.write", SYSTEM) as session:
                await execute(session, _TELL, id=question.id, **told)
                await notify(session, ANSWER_CHANNEL, question.id)

    async def _answer(self, model: str, asked: Asked) -> Answer:
        toolkit = await self._toolkits.get(model)
        encoder = toolkit.encoder
        if asked.picture is not None:
            rows = await self._seen(toolkit, asked.picture)
        elif asked.texts:
            rows = await asyncio.to_thread(encoder.embed_text, list(asked.texts))
        else:
            rows = np.zeros((0, encoder.info.dim), np.float32)
        return Answer(
            space=encoder.info.space,
            dim=rows.shape[1],
            rows=np.ascontiguousarray(rows, "<f4").tobytes(),
            scale=encoder.likelihood.scale,
            bias=encoder.likelihood.bias,
        )

    async def _seen(self, toolkit: Toolkit, content: bytes) -> np.ndarray:
        """float32 [1, D]. Raises CorruptVideo: no picture came of it."""
        output = await toolkit.engine.run(picture.clip_of(content, self._limits))
        if not output.rows:
            raise CorruptVideo(output.lost or "the picture is damaged: the decoder gave nothing")
        return output.arrays[EMBEDDING][:1]


def _refused(error: VideoError) -> dict[str, Any]:
    told = {"code": error.code, "detail": str(error), "retryable": error.retryable}
    return {"state": "refused", "error": msgspec.json.encode(told).decode()}
