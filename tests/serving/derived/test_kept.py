"""A process that starts plays and shows what another one has found out, and reads nothing of the video for it; what is
kept is good for one object of one video, and for nothing else."""

import logging

from serving.derived import shelf
from serving.derived.shelf import MOST_BYTES, Shelf, Source
from serving.storage import rotating
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from tests.serving.derived.conftest import answers, started
from tests.serving.playback.conftest import uploaded
from tests.serving.storage.turning import MASTER

#: All that is answered without a picture of a moment.
ANSWERED = ("hls/index.m3u8", "hls/init.mp4", "playback", "storyboard.jpg", "poster")


async def _row(api, name: str = "cut"):
    (row,) = await api.world.sql("SELECT * FROM derived WHERE name = :name", name=name)
    return row


def test_a_process_that_starts_reads_nothing_of_the_video(call, url, h264, read):
    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        first = await answers(api.a, video, *ANSWERED)
        assert read, "or it would be no wonder that nothing is read"
        rows = await api.world.sql("SELECT name FROM derived ORDER BY name")
        assert [row.name for row in rows] == ["cut", "packets", "poster", "storyboard"]
        # Whoever asked for them has written nothing.
        noted = {row.write for row in await api.world.sql("SELECT write FROM audit")}
        assert ("derived.write" in noted, "upload.complete" in noted) == (False, True), noted
        read.clear()
        async with started(api, url) as client:
            assert await answers(client, video, *ANSWERED[:-1]) == {path: first[path] for path in ANSWERED[:-1]}
            told = (await client.get(f"/v1/videos/{video}/pictures")).json()
            assert (told["poster"]["reasons"], read) == (
                (await api.a.get(f"/v1/videos/{video}/pictures")).json()["poster"]["reasons"],
                [],
            )
            # A picture is of the video's bytes, as a segment is: these, and no more.
            assert (await client.get(f"/v1/videos/{video}/poster")).content == first["poster"]
            pictures = len(read)
            assert (await client.get(f"/v1/videos/{video}/hls/1.m4s")).status_code == 200
            assert (pictures, len(read)) == (2, 3)

    call(body)


def test_that_browsers_do_not_play_it_is_known_too(call, url, hevc, read):
    async def body(api):
        video = await uploaded(api.a, hevc, "x.mp4")
        first = (await api.a.get(f"/v1/videos/{video}/playback")).json()
        assert (first["why_not"], len(read)) == ("its codec is hevc", 1)
        async with started(api, url) as client:
            assert (await client.get(f"/v1/videos/{video}/playback")).json() == first
            answer = await client.get(f"/v1/videos/{video}/hls/index.m3u8")
            assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_codec")
        assert len(read) == 1

    call(body)


def test_what_is_not_what_was_kept_is_made_anew_and_told(call, url, h264, read, caplog):
    caplog.set_level(logging.WARNING, "serving.derived")
    change = "UPDATE derived SET sealed = :sealed WHERE name = 'cut' AND video_id = :video"

    async def body(api):
        video, other = await uploaded(api.a, h264, "x.mp4"), await uploaded(api.a, h264 + bytes(8), "y.mp4")
        first = await answers(api.a, video, "hls/index.m3u8", "storyboard.jpg")
        await answers(api.a, other, "hls/index.m3u8")
        ((kept,),) = await api.world.sql("SELECT sealed FROM derived WHERE name = 'cut' AND video_id = :v", v=video)
        ((of_other,),) = await api.world.sql("SELECT sealed FROM derived WHERE name = 'cut' AND video_id = :v", v=other)
        bad = {
            "changed": kept[:60] + bytes((kept[60] ^ 1,)) + kept[61:],
            "cut off": kept[:-1],
            "empty": b"",
            "of another video": of_other,
            "of another name": (await _row(api, "storyboard")).sealed,
        }
        for what, sealed in bad.items():
            await api.world.change(change, sealed=sealed, video=video)
            read.clear()
            caplog.clear()
            async with started(api, url) as client:
                assert await answers(client, video, "hls/index.m3u8") == {"hls/index.m3u8": first["hls/index.m3u8"]}
            assert (what, len(read)) == (what, 1)
            assert f"cut of {video} is made anew: derived.sealed of" in caplog.text, what
        # And it is as it should be again.
        read.clear()
        async with started(api, url) as client:
            await answers(client, video, "hls/index.m3u8")
        assert read == []

    call(body)


def test_another_form_is_made_anew_and_so_is_what_makes_no_sense(call, url, h264, read, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, "serving.derived")

    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        first = await answers(api.a, video, "hls/index.m3u8", "storyboard.jpg", "poster")
        monkeypatch.setattr(shelf, "VERSIONS", dict.fromkeys(shelf.VERSIONS, 2))
        read.clear()
        async with started(api, url) as client:
            assert await answers(client, video, *first) == first
        assert (len(read) > 3, caplog.text) == (True, "")
        # Sealed as it should be, and nothing that this program makes.
        row = await _row(api)
        source, kept = Source("a", video, row.object_key, None), Shelf(api.world.database, api.store.keyring)
        names: tuple[shelf.Name, ...] = ("cut", "packets", "poster", "storyboard")
        whole: dict[shelf.Name, bytes] = {name: await kept.read(source, name) or b"" for name in names}
        for of in (lambda content: b"\x90", lambda content: content[: len(content) // 2]):
            for name, content in whole.items():
                assert await kept.keep(source, name, of(content))
            caplog.clear()
            async with started(api, url) as client:
                assert await answers(client, video, *first) == first
            assert [name for name in whole if f"{name} of {video} is made anew" not in caplog.text] == []

    call(body)


def test_rotation_wraps_its_key_anew_and_nothing_else(call, url, h264, read):
    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        first = await answers(api.a, video, "hls/index.m3u8")
        before = (await _row(api)).sealed
        await rotating.rotate(api.world.database, Keyring(LocalMaster((MASTER,))))
        read.clear()
        async with started(api, url) as client:
            assert await answers(client, video, "hls/index.m3u8") == first
        assert ((await _row(api)).sealed == before, read) == (True, [])

    call(body)


def test_it_goes_with_the_video_and_is_nobody_elses(call, url, h264):
    async def body(api):
        video = await uploaded(api.a, h264, "x.mp4")
        await answers(api.a, video, "hls/index.m3u8", "poster")
        row = await _row(api)
        assert b"avc1" not in row.sealed
        assert h264[:4] not in row.sealed
        source, kept = Source("a", video, row.object_key, None), Shelf(api.world.database, api.store.keyring)
        assert await kept.read(source, "cut") is not None
        assert await kept.read(Source("b", video, row.object_key, None), "cut") is None
        assert (await api.b.get(f"/v1/videos/{video}/hls/index.m3u8")).status_code == 404
        assert (await api.a.delete(f"/v1/videos/{video}")).status_code == 204
        assert await kept.read(source, "cut") is None
        # Somebody was at it while it was deleted.
        assert not await kept.keep(source, "cut", b"late")
        assert await api.world.sql("SELECT name FROM derived") == []

    call(body)


def test_it_is_bounded_and_of_what_is_served(run):
    async def body(world):
        kept = Shelf(world.database, world.keyring)
        ((object_key,),) = await world.sql("SELECT object_key FROM video WHERE id = 'vid_a'")
        original, made = Source("a", "vid_a", object_key, None), Source("a", "vid_a", "videos/made", None)
        assert not await kept.keep(original, "cut", bytes(MOST_BYTES + 1))
        assert not await kept.keep(made, "cut", b"of an object that it does not have")
        rendition = """
            INSERT INTO rendition (video_id, tenant_id, state, attempts, fence, object_key)
            VALUES ('vid_a', 'a', 'done', 1, 1, 'videos/made')
        """
        await world.change(rendition)
        for content in (b"first", b"second"):
            assert await kept.keep(original, "cut", content)
            assert await kept.keep(made, "cut", content)
        assert await kept.read(original, "cut") == await kept.read(made, "cut") == b"second"
        assert len(await world.sql("SELECT name FROM derived")) == 2
        # Another rendition takes the place of one that was lost.
        await world.change("UPDATE rendition SET object_key = 'videos/made-again'")
        again = Source("a", "vid_a", "videos/made-again", None)
        assert await kept.keep(again, "cut", b"third")
        rows = await world.sql("SELECT object_key FROM derived ORDER BY 1")
        assert sorted(row.object_key for row in rows) == sorted([object_key, "videos/made-again"])
        # A row that is said to be of another object does not open.
        await world.change("DELETE FROM derived WHERE object_key = :key", key=object_key)
        await world.change("UPDATE derived SET object_key = :key", key=object_key)
        assert await kept.read(original, "cut") is None

    run(body)
