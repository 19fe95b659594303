"""Files that try to make a reader open other files or URLs, eat the machine, or fall over: a table of frozen entries.

Those here point somewhere else: at a canary file, a canary video, or a listener on this machine; `bombs` and
`nonsense` have the rest. All bytes are made by code, the same each time.
"""

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline.sandbox import forge

#: What an entry may expect beside error codes: the file is really a harmless video.
ANALYSED = "analysed"

#: Refusals of bytes that are no video, or too broken to be one.
NO_VIDEO = frozenset({"unsupported_container", "truncated", "corrupt", "no_video_stream"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attack lies, and what it is after."""

    folder: Path
    """The folder of the attack and of the canaries, absolute."""
    port: int
    """A listener on the loopback interface that nobody may connect to."""

    @property
    def token(self) -> Path:
        """A text file with a secret in it."""
        return self.folder / "secret.txt"

    @property
    def video(self) -> Path:
        """Somebody else's video, of a size that no attack has."""
        return self.folder / "canary.ts"

    @property
    def url(self) -> str:
        """What the listener would serve."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile file."""

    name: str
    file: str
    """Its file name, which is part of the attack."""
    make: Callable[[Place], bytes]
    expect: frozenset[str] = NO_VIDEO
    """Error codes that are right, and `ANALYSED`."""


def text(name: str, file: str, template: str) -> Attack:
    """An attack that is text, with `{video}`, `{token}`, `{folder}`, `{url}` and `{port}` put in."""

    def make(place: Place) -> bytes:
        return template.format(
            video=place.video, token=place.token, folder=place.folder, url=place.url, port=place.port
        ).encode()

    return Attack(name, file, make)


def hls(name: str, file: str, body: str) -> Attack:
    """A media playlist; a string of one line is its only segment."""
    segments = body if "\n" in body else f"#EXTINF:5,\n{body}\n"
    head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:0\n"
    return text(name, file, f"{head}{segments}#EXT-X-ENDLIST\n")


def _dash(base: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT7S" minBufferTime="PT1S">'
        f'<Period><AdaptationSet mimeType="video/mp2t"><Representation id="0" bandwidth="1000" width="64" height="48">'
        f"<BaseURL>{base}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
    )


def _alias(path: str) -> bytes:
    """An external data reference (QuickTime alias record) to `path`."""
    name = path.encode()
    record = struct.pack(">HH", 0, 2) + bytes(6) + bytes([3]) + b"mac".ljust(27, b"\0") + bytes(12)
    record += (
        bytes([min(63, len(name))]) + name[-63:].ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    )
    record += struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2) + struct.pack(">HH", 0xFFFF, 0)
    return forge.box(b"alis", bytes(4) + record.ljust(200, b"\0"))


def _external(entry: Callable[[Place], bytes]) -> Callable[[Place], bytes]:
    """A real MP4 whose samples are said to lie in another file."""
    path = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    return lambda place: forge.rebox(forge.honest("mp4"), path, lambda _: struct.pack(">II", 0, 1) + entry(place))


def _reference_movie(place: Place) -> bytes:
    url = f"{place.url}/movie.mov".encode() + b"\0"
    rdrf = forge.box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(url)) + url)
    return forge.box(b"ftyp", b"qt  \0\0\2\0qt  ") + forge.box(b"moov", forge.box(b"rmra", forge.box(b"rmda", rdrf)))


def _playlist(place: Place) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{place.video}\n#EXTINF:5,\n{place.url}/a.ts\n".encode()


def _attached(place: Place) -> bytes:
    file = forge.element(0x466E, b"list.m3u8") + forge.element(0x4660, b"application/x-mpegurl")
    file = forge.element(0x61A7, file + forge.element(0x465C, _playlist(place)) + forge.unsigned(0x46AE, 1))
    return forge.matroska(more=forge.element(0x1941A469, file))


def _linked(place: Place) -> bytes:
    info = forge.element(0x73A4, b"a" * 16) + forge.element(0x3CB923, b"b" * 16) + forge.element(0x3EB923, b"c" * 16)
    info += forge.element(0x3C83AB, str(place.video).encode()) + forge.element(0x3E83BB, f"{place.url}/n.mkv".encode())
    atom = forge.unsigned(0x73C4, 1) + forge.unsigned(0x91, 0) + forge.element(0x6E67, b"c" * 16)
    chapters = forge.element(0x1043A770, forge.element(0x45B9, forge.element(0xB6, atom)))
    return forge.matroska(info=info, more=chapters)


def _embedded(place: Place) -> str:
    return base64.b64encode(_playlist(place)).decode()


HARMLESS = frozenset({ANALYSED})

_KINDS = (
    (17, b"S_TEXT/UTF8"),
    (17, b"S_TEXT/ASS"),
    (17, b"S_VOBSUB"),
    (17, b"S_HDMV/PGS"),
    (17, b"S_TEXT/WEBVTT"),
    (2, b"A_OPUS"),
    (2, b"A_NOBODY/KNOWS"),
    (16, b"L_NONE"),
    (33, b"D_WEBVTT/METADATA"),
)

REDIRECTS: tuple[Attack, ...] = (
    hls("hls file URL", "a.mp4", "file://{video}"),
    hls("hls absolute path", "a.m3u8", "{video}"),
    hls("hls relative path", "a.ts", "canary.ts"),
    hls("hls relative with dots", "a.m3u8", "./../{folder}/canary.ts"),
    hls("hls http", "a", "{url}/a.ts"),
    hls("hls http, known suffix", "a.m3u8", "{url}/a.ts"),
    text(
        "hls master",
        "master.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}/a.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\n{folder}/inner.m3u8\n",
    ),
    hls("hls key by http", "key.m3u8", '#EXT-X-KEY:METHOD=AES-128,URI="{url}/key"\n#EXTINF:5,\n{video}\n'),
    hls("hls key in a file", "key.mp4", '#EXT-X-KEY:METHOD=AES-128,URI="{token}"\n#EXTINF:5,\n{video}\n'),
    hls("hls map", "map.m3u8", '#EXT-X-MAP:URI="{video}"\n#EXTINF:5,\n{url}/a.mp4\n'),
    hls("hls byte range", "range.txt", "#EXTINF:5,\n#EXT-X-BYTERANGE:1000@100\n{token}\n"),
    text(
        "hls of itself", "self.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nself.m3u8\n#EXTINF:1,\nself.m3u8\n"
    ),
    text("hls master of itself", "self.mp4", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nself.mp4\n"),
    hls("hls concat:", "c.m3u8", "concat:{video}|{video}"),
    hls("hls concat: with a suffix", "c.ts", "concat:{token}|{url}/a.ts"),
    hls("hls subfile:", "s.m3u8", "subfile,,start,0,end,10000,,:{video}"),
    hls("hls crypto:", "y.m3u8", "crypto:{video}"),
    hls("hls data:", "d.m3u8", f"data:application/x-mpegurl;base64,{base64.b64encode(b'#EXTM3U').decode()}"),
    hls("hls of many", "many.m3u8", "".join(f"#EXTINF:1,\n{{url}}/{n}.ts\n" for n in range(10_000))),
    text("hls after a byte order mark", "bom.m3u8", "\ufeff#EXTM3U\n#EXTINF:5,\n{video}\n"),
    Attack("hls playlist after a TS packet", "glued.ts", lambda place: b"\x47" + bytes(187) + _playlist(place)),
    text("dash http", "a.mpd", _dash("{url}/a.mp4")),
    text("dash file URL", "a.mp4", _dash("file://{video}")),
    text("dash relative", "manifest", _dash("canary.ts")),
    text("ffconcat relative", "a.mp4", "ffconcat version 1.0\nfile canary.ts\n"),
    text("ffconcat absolute", "a.txt", "ffconcat version 1.0\nfile '{video}'\n"),
    text("ffconcat http", "a.ffconcat", "ffconcat version 1.0\nfile '{url}/a.mp4'\n"),
    text("ffconcat with options", "o.mp4", "ffconcat version 1.0\nfile canary.ts\noption safe 0\nfile '{token}'\n"),
    text(
        "sdp",
        "a.sdp",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    ),
    text("real media link", "a.ram", "rtsp://127.0.0.1:{port}/a.rm\n"),
    text("rtsp redirect", "a.mov", "RTSPtext\nrtsp://127.0.0.1:{port}/a.mov\n"),
    text("asx", "a.asx", '<asx version="3.0"><entry><ref href="{url}/a.wmv"/></entry></asx>\n'),
    text("asf reference", "a.wmv", "[Reference]\nRef1={url}/a.asf?MSWMExt=.asf\nRef2=mms://127.0.0.1:{port}/a\n"),
    text("pls", "a.pls", "[playlist]\nFile1={url}/a.mp3\nFile2={video}\nNumberOfEntries=2\nVersion=2\n"),
    text(
        "xspf",
        "a.xspf",
        "<?xml version='1.0'?><playlist><trackList><track><location>{url}/a</location></track></trackList></playlist>",
    ),
    text("smil", "a.smil", '<smil><body><video src="{url}/a.mp4"/><video src="{video}"/></body></smil>\n'),
    text(
        "imf composition",
        "CPL.xml",
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/'
        '2067-3/2013"><Id>urn:uuid:0</Id><EditRate>25 1</EditRate><SegmentList/></CompositionPlaylist>',
    ),
    text(
        "imf asset map",
        "ASSETMAP.xml",
        '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/'
        '2007/AM"><AssetList><Asset><Id>urn:uuid:0</Id><ChunkList><Chunk><Path>{video}</Path></Chunk></ChunkList>'
        "</Asset></AssetList></AssetMap>",
    ),
    text("cue sheet", "a.cue", 'FILE "{video}" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'),
    text(
        "VobSub index",
        "a.idx",
        "# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 0\n",
    ),
    text("filter graph", "a.lavfi", "movie='{video}'[out0]\n"),
    text("script of frames", "a.avs", 'DirectShowSource("{video}")\n'),
    text("ffmetadata", "a.ffm", ";FFMETADATA1\ntitle={url}\n[STREAM]\nurl={video}\n"),
    Attack("picture sequence", "frame%03d.jpg", lambda _: forge.jpeg()),
    Attack("picture by pattern", "*.jpg", lambda _: forge.jpeg()),
    Attack(
        "avi with a playlist for subtitles",
        "a.avi",
        lambda place: forge.with_subtitles(forge.honest("avi"), _playlist(place)),
        HARMLESS,
    ),
    Attack(
        "avi with ffconcat for subtitles",
        "a.mp4",
        lambda place: forge.with_subtitles(
            forge.honest("avi"), f"ffconcat version 1.0\nfile '{place.video}'\n".encode()
        ),
        HARMLESS,
    ),
    Attack("mov, samples elsewhere", "a.mov", _external(lambda place: _alias(str(place.video))), HARMLESS | NO_VIDEO),
    Attack("mov, samples next door", "a.mov", _external(lambda _: _alias("canary.ts")), HARMLESS | NO_VIDEO),
    Attack(
        "mov, samples at a URL", "a.mp4", _external(lambda place: _alias(f"{place.url}/a.mov")), HARMLESS | NO_VIDEO
    ),
    Attack(
        "mp4, samples at a URL",
        "a.mp4",
        _external(lambda place: forge.box(b"url ", bytes(4) + place.url.encode() + b"\0")),
        HARMLESS | NO_VIDEO,
    ),
    Attack("mov that refers to a movie", "a.mov", _reference_movie),
    Attack("matroska with a playlist attached", "a.mkv", _attached, HARMLESS),
    Attack(
        "matroska with tracks of every kind",
        "a.mkv",
        lambda _: forge.matroska(
            other_tracks=b"".join(forge.empty_track(9 + n, *kind) for n, kind in enumerate(_KINDS))
        ),
        HARMLESS,
    ),
    Attack("matroska of linked segments", "a.mkv", _linked, HARMLESS),
)
