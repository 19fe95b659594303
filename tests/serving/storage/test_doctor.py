"""`automations doctor` tries where objects are to be, and says what is wrong without saying what is secret."""

import msgspec
import pytest

from serving.doctor import examine_master_key, examine_storage
from serving.settings import DEFAULTS, Settings
from tests.serving.buckets import NAME
from tests.serving.kms import kms
from tests.serving.vault import TOKEN, vault


def _settings(folder, **storage: str) -> Settings:
    return msgspec.structs.replace(
        DEFAULTS,
        storage=msgspec.structs.replace(DEFAULTS.storage, **storage),
        server=msgspec.structs.replace(DEFAULTS.server, data_dir=str(folder)),
    )


def test_where_objects_are_is_tried(s3_server, tmp_path):
    assert examine_storage(_settings(tmp_path)) == []
    (found,) = examine_storage(_settings(tmp_path, url=f"s3://{NAME}/doctor", endpoint=s3_server))
    assert (found.good, found.says) == (True, f"s3://{NAME}/doctor: written, read, listed and deleted")
    (found,) = examine_storage(_settings(tmp_path, url=f"file://{tmp_path}/elsewhere"))
    assert found.good


def test_what_is_wrong_is_said_without_secrets(s3_server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    (found,) = examine_storage(_settings(tmp_path, url="s3://no-such-bucket/x", endpoint=s3_server))
    assert not found.good
    assert "no-such-bucket" in found.says
    # Servers that look at signatures say nothing more to strangers.
    assert "NoSuchBucket" in found.says or "PermissionDeniedError" in found.says
    assert "very-secret" not in str(found)
    assert "Debug source" not in found.says
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "very-secret")
    (found,) = examine_storage(_settings(tmp_path, url="gs://bucket"))
    assert not found.good
    assert "very-secret" not in str(found)


@pytest.mark.parametrize("name", ["AWS_ALLOW_HTTP", "AWS_CHECKSUM_ALGORITHM"])
def test_what_the_environment_says_wrongly_is_told(name, tmp_path, monkeypatch):
    monkeypatch.setenv(name, "very-secret")
    (found,) = examine_storage(_settings(tmp_path, url="s3://bucket"))
    assert not found.good
    assert "very-secret" not in str(found)


def test_a_master_key_that_a_service_has_is_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    assert examine_master_key(_settings(tmp_path)) == []
    assert examine_master_key(_settings(tmp_path, master_key="0a" * 32)) == []
    with kms() as server, vault() as other:
        key = server.key()
        for value in (server.url(key), other.url()):
            (found,) = examine_master_key(_settings(tmp_path, master_key=value))
            assert (found.good, found.says.endswith("wraps, unwraps, and as nothing else")) == (True, True), found
        server.enable(key, enabled=False)
        (found,) = examine_master_key(_settings(tmp_path, master_key=server.url(key)))
        assert (found.good, found.says.endswith("DisabledException")) == (False, True), found


def test_one_that_would_unwrap_the_keys_of_others_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    with vault(associated=False) as server:
        (found,) = examine_master_key(_settings(tmp_path, master_key=server.url()))
    assert (found.good, "as whose" in found.says) == (False, True), found
