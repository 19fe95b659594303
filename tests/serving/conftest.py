"""A report as a real one-minute video would give it, with its pictures: what the views of a report are tested on."""

import io
import itertools
import math
from collections.abc import Callable

import msgspec
import pytest
from PIL import Image, ImageDraw

from pipeline.pictures import Picture
from pipeline.report import (
    AudioInfo,
    DecodeReport,
    Embeddings,
    Features,
    ModelUse,
    Report,
    Segment,
    Shot,
    Source,
    Tag,
    TagRange,
    Timings,
    VideoInfo,
)
from pipeline.spec import DEFAULT_WEIGHTS, AnalysisSpec
from tests.serving.servers import s3_server, server, stores

__all__ = ["s3_server", "server", "stores"]

DURATION_S = 60.0
RATE_HZ = 4
_SHOTS = (
    (0.0, "start", 0.0),
    (6.4, "cut", 0.0),
    (14.2, "dissolve", 1.0),
    (22.0, "cut", 0.0),
    (29.6, "cut", 0.0),
    (38.5, "fade", 1.4),
    (47.1, "cut", 0.0),
    (53.8, "cut", 0.0),
)
#: start, end, contribution by signal, reasons, tags
_SEGMENTS = (
    (
        22.0,
        29.6,
        (0.27, 0.15, 0.09, 0.24, 0.11),
        ("motion is in the top 5 % of this video", "matches “goal” closely"),
        ("red circle", "crowd"),
    ),
    (
        47.1,
        53.8,
        (0.12, 0.26, 0.10, 0.19, 0.06),
        ("novelty (it looks unlike the rest) is in the top 2 % of this video", "a cut with a loud onset"),
        ("blue star",),
    ),
    (
        7.0,
        13.5,
        (0.16, 0.11, 0.12, 0.14, 0.08),
        ("a sharp, well lit picture", "steady motion"),
        ("green square", "grid"),
    ),
    (39.8, 46.0, (0.05, 0.13, 0.11, 0.10, 0.02), ("novel after the fade",), ()),
)
_TAGS = (
    ("red circle", "shape", 0.97, ((20.5, 30.2, 0.97),)),
    ("blue star", "shape", 0.94, ((46.8, 54.0, 0.94),)),
    ("green square", "shape", 0.91, ((6.4, 14.6, 0.91), (30.0, 33.5, 0.71))),
    ("checkerboard", "pattern", 0.88, ((29.6, 38.9, 0.88),)),
    ("crowd", None, 0.83, ((23.0, 28.0, 0.83), (50.0, 52.5, 0.62))),
    ("sunset", "scene", 0.78, ((0.0, 6.4, 0.78),)),
    ("gradient", "pattern", 0.74, ((0.0, 14.2, 0.7), (38.5, 47.1, 0.74))),
    ("grid", "pattern", 0.66, ((8.0, 13.0, 0.66),)),
    ("night", "scene", 0.61, ((38.0, 46.5, 0.61),)),
    ("text", None, 0.55, ((54.5, 60.0, 0.55),)),
    ("close-up", "scene", 0.52, ((15.0, 18.0, 0.52), (25.0, 26.0, 0.5), (41.0, 42.5, 0.51))),
    ("rain", "scene", 0.5, ((56.0, 57.0, 0.5),)),
)
_SHAPES = Source(name="pipeline.shots", version="1")
_HEAD = Source(name="bundled-clip", version="shapes-1")


@pytest.fixture(scope="session")
def sample_report() -> Report:
    """Eight shots, four segments, twelve tags and five signals at 4 Hz."""
    starts = [start for start, _, _ in _SHOTS]
    return Report(
        video=VideoInfo(
            path="footage/2026-11 Harbour festival, camera 2.mp4",
            size_bytes=18_734_112,
            container="mov,mp4,m4a,3gp,3g2,mj2",
            codec="h264",
            profile="High",
            pixel_format="yuv420p",
            bit_depth=8,
            duration_s=DURATION_S,
            start_s=0.0,
            width=1280,
            height=720,
            coded_width=1280,
            coded_height=720,
            rotation_deg=0,
            pixel_aspect=1.0,
            average_fps=29.97,
            nominal_fps=29.97,
            variable_rate=False,
            frames=1798,
            keyframes=34,
            bit_rate_bps=2_497_881,
            color_primaries="bt709",
            color_transfer="bt709",
            color_space="bt709",
            color_range="tv",
            audio=AudioInfo(codec="aac", sample_rate_hz=48_000, channels=2, duration_s=59.98),
        ),
        decode=DecodeReport(
            backend="pyav",
            reason="no GPU here; PyAV decodes H.264 everywhere",
            sampling="uniform 1 fps",
            frames_total=1798,
            frames_wanted=60,
            frames_decoded=60,
            packets_fed=612,
            packets_fed_shots=97,
        ),
        shots=tuple(
            Shot(start_s=start, end_s=end, score=0.93, transition=how, transition_s=length, source=_SHAPES)
            for (start, how, length), end in zip(_SHOTS, [*starts[1:], DURATION_S], strict=True)
        ),
        segments=tuple(
            Segment(
                start_s=start,
                end_s=end,
                score=sum(parts),
                signals=dict(zip(DEFAULT_WEIGHTS, parts, strict=True)),
                reasons=reasons,
                tags=tags,
                thumbnail_s=(start + end) / 2,
                source=Source(name="pipeline.segments", version="1"),
            )
            for start, end, parts, reasons, tags in _SEGMENTS
        ),
        tags=tuple(
            Tag(
                label=label,
                parent=parent,
                score=score,
                coverage=sum(end - start for start, end, _ in ranges) / DURATION_S,
                start_s=ranges[0][0],
                end_s=ranges[-1][1],
                ranges=tuple(TagRange(start_s=start, end_s=end, score=value) for start, end, value in ranges),
                source=_HEAD,
            )
            for label, parent, score, ranges in _TAGS
        ),
        models=(ModelUse(name="bundled-clip", version="1", space="9b1f02ac", dim=64, device="cpu", dtype="float32"),),
        timings=Timings(
            index_s=0.021,
            decode_s=0.94,
            preprocess_s=0.11,
            infer_s=0.52,
            analyse_s=0.034,
            total_s=1.31,
            realtime_factor=45.8,
        ),
        warnings=(),
        spec=AnalysisSpec(),
        features=Features(
            pts_s=tuple((i + 0.5) / RATE_HZ for i in range(int(DURATION_S * RATE_HZ))),
            signals={name: _curve(place) for place, name in enumerate(DEFAULT_WEIGHTS)},
            # On the grid of the sampled frames, which is not that of the signals.
            embeddings=Embeddings(space="9b1f02ac", dim=4, pts_s=(0.0, 1.0), float16_base64="RU1CRURESU5HU05P"),
        ),
    )


def _curve(place: int) -> tuple[float, ...]:
    """Some signal: a slow wave, a quick one, and a peak in the key segment that it explains."""
    values = []
    for i in range(int(DURATION_S * RATE_HZ)):
        t = i / RATE_HZ
        peak = math.exp(-(((t - (25.5, 50.2, 10.0, 25.0, 48.0)[place]) / 2.4) ** 2))
        slow = 0.5 + 0.5 * math.sin(t / (3.1 + place) + place)
        quick = 0.5 + 0.5 * math.sin(t * (2.3 + 0.7 * place))
        values.append(min(1.0, 0.12 + 0.22 * slow + 0.08 * quick + 0.58 * peak))
    return tuple(values)


@pytest.fixture(scope="session")
def sample_thumbnails(sample_report: Report) -> list[Picture]:
    """A picture every two seconds, each shot in a colour of its own."""
    return [Picture(time_s=t, jpeg=draw(t, sample_report)) for t in range(1, int(DURATION_S), 2)]


def draw(time_s: float, report: Report, width: int = 320, height: int = 180) -> bytes:
    """A horizon with a sun that moves: enough for an eye to tell the shots apart."""
    shot = max(i for i, shot in enumerate(report.shots) if shot.start_s <= time_s)
    sky = Image.linear_gradient("L").resize((width, height))
    hue = (shot * 47) % 256
    picture = Image.merge(
        "HSV", (Image.new("L", sky.size, hue), sky.point(lambda v: 40 + v // 2), sky.point(lambda v: 225 - v // 2))
    )
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture)
    x, r = (time_s * 37 + shot * 90) % width, height // (4 + shot % 3)
    pen.ellipse(
        (x - r, height // 2 - r, x + r, height // 2 + r),
        fill=((shot * 83) % 256, (200 - shot * 21) % 256, 235 - shot * 17),
    )
    pen.rectangle((0, height * 3 // 4, width, height), fill=(28 + shot * 6, 34 + shot * 4, 40))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()


@pytest.fixture(scope="session")
def empty_report(sample_report: Report) -> Report:
    """The same video, of which nothing was asked or found."""
    return msgspec.structs.replace(
        sample_report,
        shots=(),
        segments=(),
        tags=(),
        models=(),
        features=Features(pts_s=(), signals={}),
        video=msgspec.structs.replace(sample_report.video, audio=None),
    )


@pytest.fixture(scope="session")
def hostile_report(sample_report: Report) -> Report:
    """Every text that a stranger may choose is an attack, and some of it is no valid Unicode."""
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028[red]"
    replace = msgspec.structs.replace
    return replace(
        sample_report,
        video=replace(
            sample_report.video, path=f"dir/{attack.replace('/', '')}\udcff.mp4", codec=attack, container=attack
        ),
        segments=tuple(
            replace(s, reasons=(attack,), tags=(attack,), signals={attack: s.score}) for s in sample_report.segments
        ),
        tags=tuple(replace(tag, label=f"{attack} {i}", parent=attack) for i, tag in enumerate(sample_report.tags)),
        features=replace(sample_report.features, signals={attack: sample_report.features.signals["motion"]}),
        models=tuple(replace(model, name=attack) for model in sample_report.models),
    )


@pytest.fixture(scope="session")
def make_long_report(sample_report: Report) -> Callable[[], Report]:
    """An hour in 300 shots, with a long name and 60 tags."""
    replace = msgspec.structs.replace

    def make() -> Report:
        edges = [i * 12.0 for i in range(301)]
        return replace(
            sample_report,
            video=replace(sample_report.video, path="長い名前の映像" * 30 + ".mkv", duration_s=3600.0),
            shots=tuple(
                replace(sample_report.shots[i and 1], start_s=start, end_s=end)
                for i, (start, end) in enumerate(itertools.pairwise(edges))
            ),
            segments=tuple(
                replace(sample_report.segments[i % 4], start_s=i * 170.0, end_s=i * 170.0 + 12) for i in range(20)
            ),
            tags=tuple(
                replace(
                    sample_report.tags[i % 12],
                    label=f"a label of some length, number {i}",
                    ranges=tuple(
                        TagRange(start_s=k * 100.0 + i, end_s=k * 100.0 + i + 20, score=0.5) for k in range(35)
                    ),
                )
                for i in range(60)
            ),
            features=Features(
                pts_s=tuple((i + 0.5) / RATE_HZ for i in range(3600 * RATE_HZ)),
                signals={name: sample_report.features.signals[name] * 60 for name in DEFAULT_WEIGHTS},
            ),
        )

    return make
