"""Which kind of picture who gets, by their `Accept`."""

import pytest

from serving.pictures.accepting import kind_for


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "jpeg"),
        ("*/*", "jpeg"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "webp"),
        ("image/webp;q=0", "jpeg"),
        ("image/webp;q=0.5, image/jpeg", "jpeg"),
        ("IMAGE/WEBP ; Q=1", "webp"),
        ("image/webp;q=x", "jpeg"),
        (";;,,q=", "jpeg"),
    ],
)
def test_who_gets_what(accept, kind):
    assert kind_for(accept) == kind
