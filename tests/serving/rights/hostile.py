"""Archives as anybody could make them: taken apart, put together, and changed."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import IO, cast

from tests.serving.rights.conftest import HEAD


def unpacked(archive: bytes) -> dict[str, bytes]:
    """As any tar reads it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: cast(IO[bytes], tar.extractfile(one)).read() for one in tar.getmembers()}


def packed(files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    """As any tar writes it."""
    out = []
    for name, content in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        change(info)
        out += [info.tobuf(tarfile.GNU_FORMAT), content, bytes(-len(content) % 512)]
    return b"".join([*out, bytes(1024)])


def resealed(files: dict[str, bytes]) -> dict[str, bytes]:
    """With hashes that hold, whatever is in it: what somebody can make who knows the format."""
    files = dict(files)
    for name in [name for name in files if name.startswith("videos/") and name.endswith("/manifest.json")]:
        here, manifest = name.removesuffix("manifest.json"), json.loads(files[name])
        for entry in manifest["entries"]:
            content = files.get(here + entry["name"])
            if content is not None:
                entry |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        files[name] = json.dumps(manifest).encode()
    covered = {name: one for name, one in files.items() if name.endswith("manifest.json") or name.startswith("tenant/")}
    count = sum(name.startswith("videos/") for name in covered)
    told = {"videos": count, "sha256": hashlib.sha256(b"".join(covered.values())).hexdigest()}
    return files | {"end.json": json.dumps(told).encode()}


def of_tenant(files: dict[str, bytes]) -> dict[str, list[dict]]:
    """What else is held about a tenant, of all parts together."""
    held: dict[str, list[dict]] = {}
    for name in sorted(name for name in files if name.startswith("tenant/")):
        for kind, rows in json.loads(files[name]).items():
            held.setdefault(kind, []).extend(rows)
    return held


def changed(files: dict[str, bytes], name: str, change: Callable[[dict], object]) -> dict[str, bytes]:
    """Another document in place of one, which all hashes agree with."""
    name = next(one for one in files if one.endswith(name))
    told = json.loads(files[name])
    change(told)
    return resealed(files | {name: json.dumps(told).encode()})


def as_long(files: dict[str, bytes], duration_s: float) -> dict[str, bytes]:
    """With a report that says how long the video is."""
    return changed(files, "000001.json", lambda one: one["video"].update(duration_s=duration_s))


def _renamed(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    return {new if name.endswith(old) else name: content for name, content in files.items()}


def _twice(files: dict[str, bytes]) -> bytes:
    """The same video two times; all that is told of it holds."""
    media = {name: content for name, content in files.items() if name.startswith("videos/")}
    manifest = next(content for name, content in media.items() if name.endswith("/manifest.json"))
    digest = hashlib.sha256(files["manifest.json"] + 2 * manifest).hexdigest()
    end = {"end.json": json.dumps({"videos": 2, "sha256": digest}).encode()}
    first, again = packed({"manifest.json": files["manifest.json"]} | media), packed(media | end)
    return first.removesuffix(bytes(1024)) + again


def _said_often(told: dict, count: int) -> None:
    told["corrections"] = [told["corrections"][0] | {"from_s": number} for number in range(count)]


def _link(info: tarfile.TarInfo) -> None:
    if info.name.endswith("media"):
        info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0


def _bomb(info: tarfile.TarInfo) -> None:
    if info.name.endswith("video.json"):
        info.size = 1 << 40


def _first(files: dict[str, bytes], ending: str) -> str:
    return next(name for name in files if name.endswith(ending))


def _entries(told: dict, change: Callable[[list], object]) -> None:
    change(told["entries"])


#: What is done to an archive, given its files -> its bytes.
HOSTILE: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "no archive": lambda files: b"x" * 2000,
    "nothing": lambda files: bytes(1024),
    "cut off in a video": lambda files: packed(files)[:-4000],
    "cut off before its end": lambda files: packed({k: v for k, v in files.items() if k != "end.json"}),
    "something behind it": lambda files: packed(files) + b"x",
    "another format": lambda files: packed(changed(files, "manifest.json", lambda one: one.update(format="zip"))),
    "a later version": lambda files: packed(changed(files, "manifest.json", lambda one: one.update(version=3))),
    "an unknown field": lambda files: packed(changed(files, "video.json", lambda one: one.update(path="../x"))),
    "a path out of it": lambda files: packed(resealed(_renamed(files, "held.json", "../../etc/cron.d/x"))),
    "an absolute path": lambda files: packed({"/etc/passwd": b"x"} | files),
    "a link": lambda files: packed(files, _link),
    "a size of a terabyte": lambda files: packed(files, _bomb),
    "another video's bytes": lambda files: packed(files | {_first(files, "media"): HEAD + b"OTHERS" * 50}),
    "a changed report": lambda files: packed(
        files
        | {
            _first(files, "000001.json"): files[_first(files, "000001.json")]
            .replace(b"harbour", b"harbor!")
            .replace(b"0.97", b"0.98")
        }
    ),
    "a report that is none": lambda files: packed(changed(files, "000001.json", lambda one: one.pop("video"))),
    "an entry twice": lambda files: packed(
        changed(
            files,
            f"{_first(files, 'video.json').removesuffix('video.json')}manifest.json",
            lambda one: one["entries"].insert(1, one["entries"][0]),
        )
    ),
    "a manifest of a thousand terabytes": lambda files: packed(
        changed(
            files,
            f"{_first(files, 'video.json').removesuffix('video.json')}manifest.json",
            lambda one: one["entries"].append({"name": "reports/x", "size_bytes": 1 << 50, "sha256": "0" * 64}),
        )
    ),
    "an end of another one": lambda files: packed(
        files | {"end.json": json.dumps({"videos": 1, "sha256": "0" * 64}).encode()}
    ),
    "an end that counts fewer": lambda files: packed(
        files | {"end.json": json.dumps(json.loads(files["end.json"]) | {"videos": 0}).encode()}
    ),
    "a video twice": _twice,
    "something between two files": lambda files: packed(files)[:-1025] + b"x" + bytes(1024),
    "what else is held, changed": lambda files: packed(
        files | {_first(files, "held.json"): files[_first(files, "held.json")].replace(b"MARKED", b"MASKED")}
    ),
    "another hash than the manifest's": lambda files: packed(
        changed(files, "video.json", lambda one: one.update(sha256="0" * 64))
    ),
    "more metadata than is kept": lambda files: packed(
        changed(files, "video.json", lambda one: one.update(user_metadata={"x": "y" * (1 << 15)}))
    ),
    "more labels than are kept": lambda files: packed(
        changed(files, "video.json", lambda one: one.update(labels=[str(number) for number in range(101)]))
    ),
    "more corrections than are kept": lambda files: packed(
        changed(files, "video.json", lambda one: _said_often(one, 10_001))
    ),
    "looks that are no numbers": lambda files: packed(
        changed(
            files,
            "video.json",
            lambda one: one["looks"].update(
                float16=base64.b64encode(b"\x00\x7e" * 147 * len(one["looks"]["pts_s"])).decode()
            ),
        )
    ),
    "looks that are none": lambda files: packed(
        changed(files, "video.json", lambda one: one["looks"].update(float16="AAAA"))
    ),
    "a vocabulary that is not there": lambda files: packed(
        changed(files, "video.json", lambda one: one["corrections"][1].update(vocabulary_id="voc_1"))
    ),
    "no video": lambda files: packed(
        changed(
            files | {_first(files, "media"): b"MZ" * 500},
            "video.json",
            lambda one: one.update(sha256=hashlib.sha256(b"MZ" * 500).hexdigest(), size_bytes=1000),
        )
    ),
}
