"""`automations vocabularies apply --wait` stays until the library is tagged, by whichever run does it in the end."""

import asyncio

import pytest
import typer

from serving import taxonomy_cli
from serving.client_cli import FAULT
from tests.serving.tagging.conftest import SHAPES, library, made
from tests.serving.tagging.test_what_was_learnt import FILMS, Steps


async def _begun(api) -> tuple[asyncio.Task, str]:
    """The command, which waits for its run by now; the run."""
    key = api.a.headers["authorization"].removeprefix("Bearer ")
    waiting = asyncio.create_task(asyncio.to_thread(taxonomy_cli.apply, "shapes", True, api.address, key))
    while not (runs := (await api.a.get("/v1/taggings", params={"state": "queued"})).json()["data"]):
        await asyncio.sleep(0.02)
    return waiting, runs[0]["id"]


def test_a_run_that_another_one_follows_is_not_the_end(call, toolkit, capsys):
    async def body(api):
        await library(api, toolkit, FILMS)
        which = await made(api.a)
        waiting, _ = await _begun(api)
        labels = {"name": "shapes", "labels": SHAPES["labels"][:3]}
        assert (await api.a.put(f"/v1/vocabularies/{which}", json=labels)).status_code == 200
        await Steps(api, toolkit).all()
        await waiting
        assert "replaced  succeeded  2 of 2 videos" in capsys.readouterr().out

    call(body)


def test_a_run_that_somebody_cancels_is_told_as_a_fault(call, toolkit, capsys):
    async def body(api):
        await library(api, toolkit, FILMS)
        await made(api.a)
        waiting, run = await _begun(api)
        assert (await api.a.post(f"/v1/taggings/{run}/cancel")).status_code == 200
        with pytest.raises(typer.Exit) as ended:
            await waiting
        assert ended.value.exit_code == FAULT
        assert "applied  canceled" in capsys.readouterr().out

    call(body)
