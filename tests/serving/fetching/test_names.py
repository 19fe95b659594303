"""What a file that is fetched is called, whatever others say that it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.fetching.names import cleaned, name_of


@pytest.mark.parametrize(
    ("url", "disposition", "name"),
    [
        ("https://example.com/a/b.mp4?x=c.mp4#d.mp4", None, "b.mp4"),
        ("https://example.com/a%20b%2Fc.mp4", None, "c.mp4"),
        ("https://example.com/", None, None),
        ("https://example.com", None, None),
        ("https://example.com/a/", None, None),
        ("https://example.com/%2e%2e", None, None),
        ("https://example.com/x", 'attachment; filename="b.mp4"', "b.mp4"),
        ("https://example.com/x", "attachment; filename*=UTF-8''%e2%82%ac.mp4", "€.mp4"),
        ("https://example.com/x", "attachment; filename=../../etc/passwd", "passwd"),
        ("https://example.com/x", 'attachment; filename="C:\\\\films\\\\b.mp4"', "b.mp4"),
        ("https://example.com/x", "attachment; filename*=nothing''%ff", None),
        ("https://example.com/x.mp4", "attachment", "x.mp4"),
        ("https://example.com/x.mp4", 'attachment; filename=""', "x.mp4"),
        ("https://example.com/x.mp4", "attachment; filename=...", "x.mp4"),
        ("https://example.com/" + "y" * 400 + ".mp4", None, "y" * 255),
    ],
)
def test_names(url, disposition, name):
    found = name_of(url, {} if disposition is None else {"content-disposition": disposition})
    if name is not None or disposition is None:
        assert found == name
    else:
        assert found is not None


@given(st.text(), st.text())
def test_any_text_becomes_a_name_or_none(path, disposition):
    said = {"content-disposition": f"attachment; filename={disposition}"}
    for name in (cleaned(path), name_of("https://example.com/" + path, {}), name_of("https://example.com/", said)):
        assert name is None or (0 < len(name) <= 255 and name.isprintable() and not set("/\\") & set(name))
        assert name is None or not name.startswith(".")
