"""The secret that all keys and tokens rest on."""

import pytest

from serving.errors import SecretRefused
from serving.places import _secret


def test_it_is_made_once_for_its_owner_alone(tmp_path):
    file = tmp_path / "secret"
    made = _secret(file)
    assert len(made) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert _secret(file) == made
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_one_that_others_can_get_at_is_refused(tmp_path, mode):
    file = tmp_path / "secret"
    _secret(file)
    file.chmod(mode)
    with pytest.raises(SecretRefused, match=r"^[^\n]*chmod 600[^\n]*$"):
        _secret(file)


@pytest.mark.parametrize("size", [0, 31])
def test_one_that_is_too_short_is_refused(tmp_path, size):
    file = tmp_path / "secret"
    file.write_bytes(b"x" * size)
    file.chmod(0o600)
    with pytest.raises(SecretRefused, match=rf"^[^\n]*: {size} bytes, at least 32[^\n]*$"):
        _secret(file)
