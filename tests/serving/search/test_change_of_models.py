"""A change of models under load, by workers as their operators start them: one is killed in the middle of it."""

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from models import catalog
from serving.db.failpoints import EXIT
from tests.serving.commands import ROOT, environment
from tests.serving.sealing import MASTER_KEY
from tests.serving.search.conftest import analysed, found
from tests.serving.search.turned import turned

CLIENTS = 4


@contextmanager
def _worker(url: str, folder: Path, **more: str):
    """`automations worker` with both models, while the block lasts."""
    settings = {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": folder,
        "AUTOMATIONS_STORAGE__MASTER_KEY": MASTER_KEY.hex(),
        "AUTOMATIONS_JOBS__MODELS": "auto,turned",
        "AUTOMATIONS_JOBS__MODELS_FILE": folder / "models.yaml",
        "HF_HUB_OFFLINE": 1,
    }
    with (folder / "worker.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.cli", "worker"],
            cwd=ROOT,
            env=environment(settings) | more,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


async def _filled(client, space: str, log: Path) -> dict:
    for _ in range(1200):
        shown = (await client.get(f"/v1/spaces/{space}")).json()
        if shown["coverage"] == 1.0:
            return shown
        await asyncio.sleep(0.1)
    raise AssertionError(f"{shown}\n{log.read_text()}")


async def _searching(client, answers: list, stop: asyncio.Event) -> None:
    """Searches again and again: when it was asked, and what was answered, whole or not."""
    while not stop.is_set():
        asked_at = time.monotonic()
        answer = await client.post("/v1/search", json={"query": [{"text": "a red circle"}], "words": False})
        answers.append((asked_at, answer))
        await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_change_under_load_survives_a_kill_and_is_undone(call, url, films, tmp_path):
    async def body(api):
        folder = turned(tmp_path / "turned")
        (tmp_path / "models.yaml").write_text(f"models:\n  turned: {{source: 'local-dir:{folder}'}}\n")
        new = catalog.load(f"local-dir:{folder}").model.info.space
        log, stop, answers = tmp_path / "worker.log", asyncio.Event(), []
        with _worker(url, tmp_path, FAILPOINT="space.fill:before:2") as dying:
            await analysed(api.a, films)
            # It is remembered, and answers while no worker does.
            assert (await found(api.a, {"text": "a red circle"}))["data"]
            (old,) = (await api.a.get("/v1/spaces")).json()
            # Until the model of the shadow is loaded, whoever asks for it is told to ask again.
            while (built := await api.a.post("/v1/spaces", json={"model": "turned"})).status_code == 503:
                assert "retry-after" in built.headers
            assert built.status_code == 202, built.text
            while dying.poll() is None:
                await asyncio.sleep(0.05)
            assert dying.returncode == EXIT
        with _worker(url, tmp_path):
            clients = [asyncio.create_task(_searching(api.a, answers, stop)) for _ in range(CLIENTS)]
            await _filled(api.a, new, log)
            for space in (new, old["space"], new, old["space"]):
                switched = await api.a.post(f"/v1/spaces/{space}/activate", json={})
                assert switched.status_code == 200, switched.text
                since = time.monotonic()
                while len(later := [one for at, one in answers if at > since]) < 3 * CLIENTS:
                    await asyncio.sleep(0.02)
                assert {one.json()["space"] for one in later} == {space}
            stop.set()
            await asyncio.gather(*clients)
        pages = [answer.json() for _, answer in answers]
        assert {answer.status_code for _, answer in answers} == {200}, [page for page in pages if "data" not in page]
        assert {page["space"] for page in pages} == {old["space"], new}
        # Both say the same of these films; vectors of the one beside those of the other would find nothing.
        seen = {tuple((one["title"], one["start_s"]) for one in page["data"]) for page in pages}
        assert seen == {(("first.mp4", 0.0),)}

    call(body)
