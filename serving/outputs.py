"""Where reports and pages of the command line go, found out before the work begins."""

import json
import sys
from pathlib import Path

import msgspec

from pipeline.errors import InvalidSpec
from pipeline.report import Report


def targets(videos: list[Path], json_file: Path | None, html_file: Path | None) -> dict[tuple[Path, str], Path]:
    """(video, suffix) -> the file to write for it; standard output is not among them.

    Raises:
        InvalidSpec: a file cannot be written, or two videos would be written to one.
    """
    found: dict[tuple[Path, str], Path] = {}
    for option, suffix in ((json_file, ".json"), (html_file, ".html")):
        for video in videos:
            target = _target(option, video, suffix, len(videos))
            if target is None or str(target) == "-":
                continue
            if target in found.values():
                raise InvalidSpec(f"{target}: two of the videos would be written there; analyse them apart")
            _require_writable(target)
            found[video, suffix] = target
    return found


def read_report(path: Path) -> Report:
    """A report from its JSON.

    Raises:
        InvalidSpec: the file cannot be read or is no report of this version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path}: not a report that `automations analyze --json` wrote ({error})") from error


def write(report: Report, target: Path | None) -> None:
    """Write the report as JSON to `target`; `-` is standard output, None nowhere.

    Raises:
        InvalidSpec: it cannot be written.
    """
    if target is None:
        return
    if str(target) == "-":
        sys.stdout.write(json.dumps(msgspec.to_builtins(report)) + "\n")
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    except OSError as error:
        raise InvalidSpec(f"{target}: cannot be written ({error.strerror})") from error


def _target(option: Path | None, video: Path, suffix: str, count: int) -> Path | None:
    """Where to write for one of several videos: the option itself for one, a file in that folder for several."""
    if option is None or count == 1 or str(option) == "-":
        return option
    return option / f"{video.name}{suffix}"


def _require_writable(target: Path) -> None:
    """Find out before the work, not after it, that the result can be kept; creates the folder.

    Raises:
        InvalidSpec: says why it cannot.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise InvalidSpec(f"{target}: cannot be written (it is a folder)")
        existed = target.exists()
        target.open("ab").close()
        if not existed:
            target.unlink()
    except OSError as error:
        raise InvalidSpec(f"{target}: cannot be written ({error.strerror})") from error
