"""The options that describe an analysis, the same for `analyze` and `submit`; `serving.requests.spec_of` reads them."""

from typing import Annotated

import typer

from pipeline.spec import DEFAULT_WEIGHTS

Model = Annotated[
    str,
    typer.Option(
        help="`auto` (a pretrained CLIP if it can be had, else the bundled one), `bundled`, or an open_clip name: "
        "`ViT-B-32/laion2b_s34b_b79k`, `hf-hub:org/repo`, `local-dir:/path`."
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="A model that looks at the same frames besides, for further tags and signals: `head:FILE`, "
        "`classifier:ARCHITECTURE@FILE`, `package.module:Class`, or a name. May be given several times.",
    ),
]
Reuse = Annotated[
    bool,
    typer.Option("--reuse", help="Look once at frames that look the same as the one before (slides, still cameras)."),
]
Fps = Annotated[float, typer.Option(help="Frames per second of video that the model sees.")]
Policy = Annotated[
    str, typer.Option(help="`uniform`, `keyframes`, or `snap` (uniform, but a cheaper keyframe nearby will do).")
]
Tolerance = Annotated[float, typer.Option(help="How far `snap` may move a frame, seconds.")]
MaxFrames = Annotated[int | None, typer.Option(help="Upper bound on the frames that the model sees.")]
Labels = Annotated[str | None, typer.Option(help="Tags to look for, for example `dog,beach,sunset`.")]
Vocabulary = Annotated[
    str | None, typer.Option(help="A vocabulary file (TOML) or a built-in name, in place of --labels.")
]
AnyVocabulary = Annotated[
    str | None,
    typer.Option(
        "--vocabulary",
        help="A vocabulary file (TOML), or the name or id of one on the server, in place of --labels.",
    ),
]
Prompt = Annotated[
    list[str] | None, typer.Option(help="What a good moment shows, in words. May be given several times.")
]
Weights = Annotated[
    str | None,
    typer.Option(help=f"Weights of the signals, for example `motion=2,audio=0`; known: {', '.join(DEFAULT_WEIGHTS)}."),
]
MaxSegments = Annotated[int, typer.Option(help="Most key segments.")]
TargetSeconds = Annotated[float | None, typer.Option(help="Budget for all key segments together.")]
