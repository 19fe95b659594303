"""A video in a form, as browsers and `curl -F file=@film.mp4` send it: read as it comes, kept nowhere in between."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from serving.errors import InvalidRequest
from serving.uploads.names import CONTROL

CONTENT_TYPE: Final = "multipart/form-data"

#: What a form may have around its file, bytes.
AROUND_BYTES: Final = 16 << 10

#: Characters of a title, and of a file's name, as elsewhere in the API.
_TITLE_CHARS: Final = 500
_NAME_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Form:
    """A form that has been read up to its file."""

    filename: str | None
    title: str | None
    """From a field of that name, if there was one before the file."""
    chunks: AsyncIterator[bytes]
    """The file's bytes. Raises InvalidRequest where the form is broken, or goes on behind them."""


async def opened(chunks: AsyncIterator[bytes], content_type: str) -> Form:
    """Read a form up to its file. `content_type`: as the request has it, with the boundary.

    Raises:
        InvalidRequest: it is no form, has no file, or another field than `title` before it; or one of the names cannot
            be one.
    """
    events = _events(chunks, content_type)
    title = None
    async for event in events:
        if not isinstance(event, MultipartSegment):
            continue
        if event.filename is not None:
            if len(event.filename) > _NAME_CHARS:
                raise _wrong(f"the file's name has more than {_NAME_CHARS} characters")
            if CONTROL.search(event.filename):
                raise _wrong("the file's name has control characters")
            return Form(event.filename or None, title, _file(events))
        if event.name != "title":
            raise _wrong(f"{event.name or 'a field without a name'}: there may be `title`, and behind it one file")
        title = await _text(events)
    raise _wrong("there is no file in it: `curl -F file=@film.mp4`")


async def _events(
    chunks: AsyncIterator[bytes], content_type: str
) -> AsyncIterator[MultipartSegment | bytes | bytearray | None]:
    """A segment, its bytes, None at its end, and so on."""
    try:
        _, options = parse_options_header(content_type)
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=8) as parser:
            async for chunk in chunks:
                for event in parser.parse(chunk) if chunk else ():
                    yield event
    except MultipartError as error:
        raise _wrong(f"it cannot be read ({error})") from error


async def _file(events: AsyncIterator[MultipartSegment | bytes | bytearray | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, MultipartSegment):
            raise _wrong("nothing may come behind the file; `title` goes before it")
        if event is not None:
            yield bytes(event)


async def _text(events: AsyncIterator[MultipartSegment | bytes | bytearray | None]) -> str | None:
    """What a field holds; None for nothing."""
    value = bytearray()
    async for event in events:
        if event is None or isinstance(event, MultipartSegment):
            break
        value += event
        if len(value) > 4 * _TITLE_CHARS:
            raise _wrong(f"`title` has more than {_TITLE_CHARS} characters")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise _wrong("`title` is not UTF-8") from error
    if CONTROL.search(text):
        raise _wrong("`title` has control characters")
    if len(text) > _TITLE_CHARS:
        raise _wrong(f"`title` has more than {_TITLE_CHARS} characters")
    return text or None


def _wrong(what: str) -> InvalidRequest:
    return InvalidRequest("the form cannot be taken", (("", what),))
