"""What belongs to one replica, or to one version of a model: chains, jobs, texts."""

import asyncio

import msgspec
import pytest
from ray import exceptions as ray

from pipeline.dispatch import gather
from pipeline.errors import DecoderStateLost, ModelReplaced
from pipeline.media import LocalMedia
from pipeline.plans import plan
from pipeline.sampling import choose
from pipeline.spec import Sampling
from serving.graph.calling import Remote
from serving.graph.golden import golden_clip
from serving.graph.remote import RemoteEncoder
from tests.serving.graph.fakes import Fake, engine, model
from tests.serving.graph.handles import Handle

pytestmark = pytest.mark.usefixtures("quick")


def gathered(path, handle, **more):
    """A video of one long group, all of it through an engine behind the handle."""

    async def main():
        media = LocalMedia(path)
        index = media.inspect().index
        rows = choose(index, Sampling(fps=12.0))
        return rows, await gather(media, index, plan(index, rows), engine(handle, **more))

    return asyncio.run(main())


def test_parts_of_a_chain_go_to_the_replica_that_has_its_decoder(long_group):
    handle = Handle({name: Fake(name, "1") for name in "abcd"})
    rows, found = gathered(long_group, handle)
    assert len(found.pts_s) == len(rows)
    assert len({replica for _, replica in handle.asked}) == 1
    assert len(handle.asked) == 7
    assert all(not replica.chains for replica in handle.replicas.values())


@pytest.mark.parametrize("after", range(1, 7))
def test_a_chain_whose_replica_is_lost_begins_again_elsewhere(long_group, after):
    handle = Handle({name: Fake(name, "1") for name in "abcd"})

    def trouble(method, replica):
        if len(handle.asked) == after:
            del handle.replicas[replica]
            return ray.ActorDiedError()
        return None

    handle.lose(trouble)
    rows, found = gathered(long_group, handle)
    assert len(found.pts_s) == len(rows)
    assert found.lost == ()
    assert len(handle.replicas) == 3
    # The parts before are decoded once more, on another replica, and then those that are left.
    assert len(handle.asked) == after + 7
    assert len({replica for _, replica in handle.asked[after:]}) == 1


def test_a_chain_whose_replica_was_taken_away_in_between_begins_again(long_group):
    """Scaled down: no request is lost, but the next part goes to one that never saw the others."""
    handle = Handle({name: Fake(name, "1") for name in "ab"})

    def trouble(method, replica):
        if len(handle.asked) == 3:
            asyncio.get_running_loop().call_soon(handle.replicas.pop, replica)

    handle.lose(trouble)
    rows, found = gathered(long_group, handle)
    assert len(found.pts_s) == len(rows)
    assert found.lost == ()
    assert len(handle.replicas) == 1


def test_a_part_alone_is_refused_without_asking():
    async def main():
        handle = Handle({"a": Fake("a", "1")})
        with pytest.raises(DecoderStateLost):
            await engine(handle).run(msgspec.structs.replace(golden_clip(), part=2))
        assert not handle.asked

    asyncio.run(main())


def test_a_job_stays_with_its_model_wherever_that_still_is():
    async def main():
        handle = Handle({"new": Fake("new", "2"), "newer": Fake("newer", "3", "2"), "both": Fake("both", "2", "1")})
        mine = engine(handle, "1")
        for number in range(20):
            output = await mine.run(msgspec.structs.replace(golden_clip(), job=str(number)))
            assert (output.arrays["embedding"] == 1.0).all()
        assert {replica for method, replica in handle.asked if method == "run"} > {"both"}

    asyncio.run(main())


def test_a_model_that_is_nowhere_any_more_is_told():
    async def main():
        with pytest.raises(ModelReplaced, match="default"):
            await engine(Handle({"a": Fake("a", "2"), "b": Fake("b", "3", "2")}), "1").run(golden_clip())

    asyncio.run(main())


def test_texts_are_embedded_by_whoever_has_the_space():
    async def main():
        text, engines = Handle({"t": Fake("t", "2")}), Handle({"a": Fake("a", "3"), "b": Fake("b", "2", "1")})
        encoders = {
            space: RemoteEncoder(Remote("text", text), Remote("default", engines), model(space)) for space in "12"
        }
        for space, encoder in encoders.items():
            rows = await asyncio.to_thread(encoder.embed_text, ["a dog", "a cat", "a bird"])
            assert rows.shape == (3, 2)
            assert (rows == float(space)).all()
        assert [replica for method, replica in text.asked] == ["t", "t"]
        # While no text tower is there, nobody waits for one.
        text.replicas.clear()
        late = RemoteEncoder(Remote("text", text, patience_s=0.1), Remote("default", engines), model("2"))
        assert (await late.embedded(["a dog"]) == 2.0).all()
        with pytest.raises(RuntimeError, match="call it on a thread"):
            late.embed_text(["a dog"])

    asyncio.run(main())
