"""What commands print with. Rich is loaded when something is printed: a command that only serves starts without it."""

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Unicode's embeddings, overrides and isolates: they could make a name read as another one.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def new_console(**options: Any) -> "Console":
    """A terminal, or what stands for it; options as `rich.console.Console` has them."""
    from rich.console import Console

    return Console(**options)


def plain(text: str, style: str = "") -> "Text":
    """Text that cannot act: control characters, line breaks, overrides of direction and broken Unicode are replaced."""
    from rich.text import Text

    tame = (
        "\N{REPLACEMENT CHARACTER}" if char in _BIDI or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char
        for char in text
    )
    return Text("".join(tame), style=style)
