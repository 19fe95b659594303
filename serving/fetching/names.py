"""What a file that is fetched is called."""

import re
from collections.abc import Mapping
from email.message import Message
from typing import Final
from urllib.parse import unquote, urlsplit

_MOST_CHARS: Final = 255
_FOLDERS: Final = re.compile(r".*[/\\]", re.DOTALL)


def name_of(url: str, headers: Mapping[str, str]) -> str | None:
    """By what its server says, or else by its address; None where neither has one. `headers`: names in lower case."""
    return cleaned(_disposed(headers.get("content-disposition", ""))) or cleaned(unquote(urlsplit(url).path))


def cleaned(name: str) -> str | None:
    """A name without folders, signs that are not shown, and dots that hide it; None where nothing is left."""
    bare = "".join(sign for sign in _FOLDERS.sub("", name) if sign.isprintable()).strip(" .")
    return bare[:_MOST_CHARS] or None


def _disposed(header: str) -> str:
    """`attachment; filename*=UTF-8''%e2%82%ac.mp4` -> its name; nothing where it cannot be read."""
    if not header:
        return ""
    message = Message()
    message["content-disposition"] = header
    try:
        return message.get_filename("")
    except (LookupError, UnicodeError, ValueError):
        # A character set that nobody knows, or bytes that are none of its own.
        return ""
