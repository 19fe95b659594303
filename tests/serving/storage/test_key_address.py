"""Which master keys a setting may name, and that what is half said, or secret, is refused and not shown."""

import pytest

from pipeline.errors import InvalidSettings
from serving.storage.key_address import AwsKey, VaultKey, master_key
from serving.storage.masters import masters

ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:eu-central-1:123456789012:key/{ID}"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("0a" * 32, bytes([10] * 32)),
        (f"aws-kms://{ID}?region=eu-central-1", AwsKey(ID, "eu-central-1", ID)),
        (f"aws-kms://{ARN}", AwsKey(ID, "eu-central-1", ARN)),
        (f"aws-kms://{ARN}?region=eu-central-1", AwsKey(ID, "eu-central-1", ARN)),
        (
            "aws-kms://mrk-12ab?region=us-gov-west-1&endpoint=https://kms.example.com",
            AwsKey("mrk-12ab", "us-gov-west-1", "mrk-12ab", "https://kms.example.com"),
        ),
        ("vault://vault.example:8200/transit/videos", VaultKey("https://vault.example:8200", "transit", "videos")),
        (
            "vault://[::1]:8200/teams/a/transit/k_1?token=token&ca=ca.pem&namespace=team/",
            VaultKey("https://[::1]:8200", "teams/a/transit", "k_1", "token", "ca.pem", "team"),
        ),
        ("vault+http://127.0.0.1:8200/transit/k", VaultKey("http://127.0.0.1:8200", "transit", "k")),
    ],
)
def test_what_it_names(value, key):
    assert master_key("storage.master_key", value) == key


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0a", "64 hexadecimal digits"),
        ("gcp-kms://secret", "64 hexadecimal digits"),
        ("aws-kms:secret", "64 hexadecimal digits"),
        ("aws-kms://", "id or ARN"),
        ("aws-kms://se/cret?region=eu-central-1", "id or ARN"),
        ("aws-kms://secret", "in which region"),
        ("aws-kms://secret?region=", "region is empty"),
        ("aws-kms://secret?region=x", "in which region"),
        ("aws-kms://secret?region", "option=value"),
        ("aws-kms://alias/secret?region=eu-central-1", "describe-key"),
        (f"aws-kms://{ARN.replace('key/', 'alias/')}", "describe-key"),
        (f"aws-kms://{ARN}?region=eu-west-1", "another region"),
        ("aws-kms://key?region=eu-central-1&secret_key=secret", "no such option"),
        ("aws-kms://key?region=eu-central-1&endpoint=http://kms.example.com", "https it has to be"),
        ("aws-kms://key?region=eu-central-1&endpoint=https://user:secret@kms.example.com", "without credentials"),
        ("aws-kms://key?region=eu-central-1&endpoint=secret", "https://host:port"),
        ("vault://host:8200", "a key of it"),
        ("vault://host:8200/secret", "a key of it"),
        ("vault://host:8200/transit/../secret", "a key of it"),
        ("vault:///transit/secret", "https://host:port"),
        ("vault://host:port/transit/secret", "https://host:port"),
        ("vault://user:secret@host/transit/key", "without credentials"),
        ("vault+http://vault.example:8200/transit/secret", "https it has to be"),
        ("vault://host:8200/transit/key?password=secret", "no such option"),
    ],
)
def test_what_is_no_key_or_half_of_one_is_refused_and_not_shown(value, said):
    with pytest.raises(InvalidSettings, match=f"storage.master_key: .*{said}|storage.master_key.*{said}") as refused:
        master_key("storage.master_key", value)
    assert "secret" not in str(refused.value).replace("secret_key", "")


def test_two_that_have_one_name_are_refused():
    """Two servers that have a key of that name: what is wrapped would not say which of them."""
    new, old = VaultKey("https://new", "transit", "k"), VaultKey("https://old", "transit", "k")
    with pytest.raises(InvalidSettings, match="vault:transit/k is there twice"):
        masters([new, old], 60.0)
    assert masters([new, VaultKey("https://old", "transit", "k2"), bytes(32)], 60.0).knows("vault:transit/k2")


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InvalidSettings, match=r"automations-backend\[kms\]"):
        masters([AwsKey(ID, "eu-central-1", ID)], 60.0)
