"""The master key: set, or made once in the data folder; and the command about keys."""

import json
import logging
import os

import msgspec
import pytest

from pipeline.errors import InvalidSettings
from serving.errors import SecretRefused
from serving.options import ServerOptions, StorageOptions
from serving.places import MASTER_KEY, places, there
from serving.settings import DEFAULTS
from serving.storage.master import named
from tests.serving.commands import here

A, B = "0a" * 32, "0B" * 32


def _keys(folder, **storage: str) -> tuple[bytes, ...]:
    settings = msgspec.structs.replace(
        DEFAULTS, server=ServerOptions(data_dir=str(folder)), storage=StorageOptions(**storage)
    )
    return there(settings, "postgresql://nobody@/nothing").master_keys


def test_one_is_made_once_for_its_owner_alone_and_that_is_said(url, tmp_path, caplog):
    server = msgspec.structs.replace(DEFAULTS.server, data_dir=str(tmp_path), database_url=url)
    with caplog.at_level(logging.WARNING), places(msgspec.structs.replace(DEFAULTS, server=server)):
        made = _keys(tmp_path)
    assert [len(key) for key in made] == [32]
    file = tmp_path / MASTER_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert bytes.fromhex(file.read_text()) == made[0]
    assert [str(file) in record.message for record in caplog.records] == [True]
    assert made[0].hex() not in caplog.text
    assert _keys(tmp_path) == made
    assert len(caplog.records) == 1


def test_one_that_is_made_outlasts_a_loss_of_power_with_its_name(tmp_path, monkeypatch):
    flushed, real = [], os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", seen)
    _keys(tmp_path)
    # The secret and the key; each before it has its name, and then its name.
    assert [str(tmp_path) == one for one in flushed] == [False, True, False, True]


def test_one_that_is_set_is_kept_in_no_file(tmp_path):
    assert _keys(tmp_path, master_key=A, old_master_keys=f"{B}, {A}") == tuple(map(bytes.fromhex, (A, B.lower(), A)))
    assert not (tmp_path / MASTER_KEY).exists()


@pytest.mark.parametrize(
    "wrong", [{"master_key": "0a"}, {"master_key": "0x" + A[2:]}, {"old_master_keys": f"{A},{A}a"}]
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path, wrong):
    with pytest.raises(InvalidSettings, match=r"64 hexadecimal digits") as refused:
        _keys(tmp_path, **wrong)
    assert not any(value in str(refused.value) for value in wrong.values())


def test_a_file_that_others_may_read_or_that_holds_none_is_refused(tmp_path):
    _keys(tmp_path)
    file = tmp_path / MASTER_KEY
    file.chmod(0o640)
    with pytest.raises(SecretRefused, match="chmod 600"):
        _keys(tmp_path)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(SecretRefused, match="put it back"):
        _keys(tmp_path)


def test_the_command_says_what_is_wrapped_by_what(url, tmp_path):
    key = tmp_path / "key"
    key.write_text(A + "\n")
    settings = {
        "AUTOMATIONS_SERVER__DATABASE_URL": url,
        "AUTOMATIONS_SERVER__DATA_DIR": tmp_path / "data",
        "AUTOMATIONS_STORAGE__MASTER_KEY_FILE": key,
    }
    turned = here("keys", "rotate", "--json", **settings)
    assert (turned.returncode, turned.stderr) == (0, "")
    assert json.loads(turned.stdout) == {"tenant_keys": 0, "under_master": 0, "data_keys": 0, "damaged": []}
    said = here("keys", "status", **settings)
    assert said.returncode == 0
    assert named(bytes.fromhex(A)) in said.stdout
    assert A not in said.stdout + said.stderr
