"""Posters through the API: the good picture of a video is chosen, wherever it is, and it is told why."""

import numpy as np
from msgspec.structs import replace

from pipeline.report import Features
from pipeline.synthesis import write_video
from tests.serving.pictures.films import FPS, QUICK, analyzed, image, put


def lit(seconds: float) -> np.ndarray:
    """What a second of the video looks like: black, then blurred, then a picture, then nearly white."""
    if seconds < 4:
        return np.zeros((96, 160, 3), np.uint8)
    y, x = np.mgrid[0:96, 0:160]
    if seconds < 8:
        return np.repeat((110 + 20 * np.sin(x / 60))[..., None], 3, 2).astype(np.uint8)
    if seconds < 12:
        return np.stack([(x // 8 + y // 8) % 2 * 200 + 20, x * 1.4, 200 - y], -1).astype(np.uint8)
    return np.full((96, 160, 3), 250, np.uint8)


def film(path) -> bytes:
    return write_video(path, (lit(n / FPS) for n in range(16 * FPS)), fps=FPS, encoding=QUICK).read_bytes()


def test_a_good_picture_is_found_without_a_report(call_shared, tmp_path):
    async def body(api):
        video = await put(api.a, film(tmp_path / "light.mp4"))
        answer = await api.a.get(f"/v1/videos/{video}/poster")
        assert 8.0 <= float(answer.headers["frame-time"]) < 12.0
        picture = image(answer)
        assert picture.size == (160, 96)
        told = (await api.a.get(f"/v1/videos/{video}/pictures")).json()
        poster = told["poster"]
        assert f"{poster['at_s']:.3f}" == answer.headers["frame-time"]
        assert "it is sharp" in poster["reasons"]
        assert abs(sum(poster["parts"].values()) - poster["score"]) < 1e-6
        # All that is told there can be had without a key.
        for url in (poster["url"], told["thumbnail_url"] + "&at_s=9", *told["storyboard"]["sheet_urls"]):
            assert image(await api.nobody.get(url))
        assert (await api.nobody.get(told["storyboard"]["track_url"])).status_code == 200
        assert told["chapters_url"] is told["tags_url"] is None

    call_shared(body)


def test_what_was_measured_is_used(call_shared, tmp_path, sample_report):
    async def body(api):
        video = await put(api.a, film(tmp_path / "light.mp4"))
        before = await api.a.get(f"/v1/videos/{video}/poster")
        curve = [1.0 if n == 46 else 0.1 for n in range(64)]
        shots = [
            replace(sample_report.shots[1], start_s=start, end_s=end, transition="cut", transition_s=0.0)
            for start, end in ((0.0, 4.0), (4.0, 8.0), (8.0, 12.0), (12.0, 16.0))
        ]
        features = Features(pts_s=tuple((n + 0.5) / 4 for n in range(64)), signals={"quality": tuple(curve)})
        report = replace(sample_report, shots=tuple(shots), segments=(), features=features)
        await analyzed(api, video, report, 16.0)
        answer = await api.a.get(f"/v1/videos/{video}/poster", headers={"If-None-Match": before.headers["etag"]})
        # Another report may choose another picture, so the one from before is asked for anew.
        assert answer.status_code == 200
        assert 8.0 <= float(answer.headers["frame-time"]) < 12.0
        told = (await api.a.get(f"/v1/videos/{video}/pictures")).json()
        assert (await api.nobody.get(told["chapters_url"])).status_code == 200
        assert (await api.nobody.get(told["tags_url"])).status_code == 200

    call_shared(body)


def test_of_a_black_video_a_black_picture(call_shared, tmp_path):
    async def body(api):
        frames = (np.zeros((96, 160, 3), np.uint8) for _ in range(10))
        video = await put(api.a, write_video(tmp_path / "b.mp4", frames, fps=FPS, encoding=QUICK).read_bytes())
        assert image(await api.a.get(f"/v1/videos/{video}/poster"))
        told = (await api.a.get(f"/v1/videos/{video}/pictures")).json()
        assert "black" in told["poster"]["reasons"][0]

    call_shared(body)
