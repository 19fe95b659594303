"""`automations demo`: a video whose truth is known, its analysis, and the two side by side."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track

from pipeline.errors import InvalidSpec
from pipeline.report import Report
from pipeline.spec import AnalysisSpec, SegmentSpec
from pipeline.synthesis import Encoding, write_video
from serving import storyboard
from serving.settings import Settings
from serving.truth import Truth

#: Ordinary web video: two-second groups, B-frames, scene-cut detection on.
ENCODING = Encoding(gop=60, options={"preset": "veryfast", "crf": "20"})

#: Room for the planted event and the runners-up.
MAX_SEGMENTS = 3


async def run(out: Path, settings: Settings, console: Console) -> tuple[Report, Truth]:
    """Render, analyse, print, and write the four files into `out`.

    Raises:
        VideoError: never for the video itself; ModelUnavailable where the bundled model is missing.
    """
    from serving.analyzing import analyze_with_bar
    from serving.local import local_toolkit
    from serving.page import write_page
    from serving.report_console import print_beside_truth, print_report
    from serving.terminal import plain

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSpec(f"{out}: cannot be made a folder ({error.strerror})") from error
    video = render(out / "video.mp4", console)
    truth = storyboard.truth()
    (out / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(truth), indent=1))
    spec = AnalysisSpec(model="bundled", segments=SegmentSpec(max_segments=MAX_SEGMENTS))
    with local_toolkit(spec.model, settings=settings) as toolkit:
        report = await analyze_with_bar(video, spec, toolkit, console)
        write_page(report, video, out / "report.html", toolkit)
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print_report(report, console)
    print_beside_truth(report, truth, console)
    console.print()
    console.print(plain(f"Open {out / 'report.html'} in a browser.", "bold"), highlight=False)
    return report, truth


def render(path: Path, console: Console) -> Path:
    """Draw and encode the storyboard."""
    total = round(storyboard.duration_s() * storyboard.FPS)
    frames = track(storyboard.frames(), "rendering the demo video", total=total, console=console, transient=True)
    return write_video(path, frames, fps=storyboard.FPS, encoding=ENCODING, audio=storyboard.sound())
