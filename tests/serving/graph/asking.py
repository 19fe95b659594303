"""Asks a replica of an engine that is in this process."""

import asyncio

from pipeline.media import LocalMedia
from pipeline.plans import plan
from serving.graph import messages
from serving.graph.messages import Ran, ReplicaDescription, RunClip

PLAIN = {"models": {"bundled": {"dtype": "float32"}}, "batch_size": 8, "decode_threads": 2}


def clips(path, rows=slice(None), **how):
    """Clips of a film that want these of its pictures."""
    media = LocalMedia(path)
    index = media.inspect().index
    return list(media.clips(index, plan(index, index.display_order[rows]), **how))


async def asked(engine, clip, model="bundled"):
    """What it answers to a Clip."""
    identity = described(engine).generations[0].models[0].info.identity
    return messages.answer(await engine.run(messages.encode(RunClip(clip=clip, model=model, identity=identity))), Ran)


def described(engine) -> ReplicaDescription:
    return engine.description()


async def swapped(engine, config):
    """Have it go over to other models, and wait for how that ends."""
    await engine.reconfigure(config)
    async with asyncio.timeout(60):
        while described(engine).coming is not None:
            await asyncio.sleep(0.02)
    return described(engine)


def with_model(source, **more):
    return {**PLAIN, "models": {"bundled": {"source": source, "dtype": "float32"}}, **more}
