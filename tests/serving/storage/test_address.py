"""Where objects are is said by a setting that everybody may read: no secret gets into it, nor out of it."""

import pytest

from pipeline.errors import InvalidSettings
from serving import settings
from serving.storage.address import Address, address
from tests.serving.commands import here


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", None),
        ("file:///srv/objects/", Address("file", "", "/srv/objects")),
        ("s3://bucket", Address("s3", "bucket", "")),
        ("s3://bucket/", Address("s3", "bucket", "")),
        ("s3://bucket/a/b/", Address("s3", "bucket", "a/b")),
        ("gs://bucket/a", Address("gs", "bucket", "a")),
        ("az://container/a%20b", Address("az", "container", "a b")),
    ],
)
def test_what_it_names(url, found):
    assert address(url) == found


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("bucket", ""),
        ("objects/", ""),
        ("s3://", ""),
        ("s3:bucket", ""),
        ("s3://[", ""),
        ("s3://bucket:80/a", ""),
        ("s3://bucket/a//b", ""),
        ("s3://bucket/../b", ""),
        ("file://host/folder", ""),
        ("file:///", ""),
        ("file:///folder", "http://127.0.0.1:9000"),
        ("ftp://bucket/a", ""),
        ("https://bucket.s3.amazonaws.com", ""),
        ("", "http://127.0.0.1:9000"),
        ("s3://bucket", "127.0.0.1:9000"),
        ("s3://bucket", "ftp://127.0.0.1"),
        ("s3://bucket", "http://127.0.0.1:none"),
        ("s3://bucket\n", ""),
    ],
)
def test_what_names_nothing_is_refused(url, endpoint):
    with pytest.raises(InvalidSettings, match=r"storage\.(url|endpoint): "):
        address(url, endpoint)


SECRET = "wJalrXUtnFEMI"

WITH_SECRETS = [
    (f"s3://AKIDEXAMPLE:{SECRET}@bucket/a", ""),
    (f"s3://{SECRET}@bucket/a", ""),
    (f"az://container/a?sig={SECRET}", ""),
    (f"s3://bucket/a#{SECRET}", ""),
    ("s3://bucket/a", f"https://user:{SECRET}@s3.example.com"),
    ("s3://bucket/a", f"https://s3.example.com?token={SECRET}"),
]


@pytest.mark.parametrize(("url", "endpoint"), WITH_SECRETS)
def test_credentials_are_refused_before_anybody_shows_them(url, endpoint, monkeypatch):
    monkeypatch.setenv("AUTOMATIONS_STORAGE__URL", url)
    monkeypatch.setenv("AUTOMATIONS_STORAGE__ENDPOINT", endpoint)
    with pytest.raises(InvalidSettings, match="credentials do not belong in it") as refused:
        settings.load()
    assert SECRET not in str(refused.value)


def test_no_command_prints_what_the_environment_holds():
    said = here("config", "show", AUTOMATIONS_STORAGE__URL=WITH_SECRETS[0][0])
    assert said.returncode == 2
    assert SECRET not in said.stdout + said.stderr
    known = {"AUTOMATIONS_STORAGE__URL": "s3://bucket/a", "AUTOMATIONS_STORAGE__ENDPOINT": "http://127.0.0.1:9"}
    said = here("config", "show", **known, AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY=SECRET)
    assert said.returncode == 0, said.stderr
    assert "s3://bucket/a" in said.stdout
    assert SECRET not in said.stdout + said.stderr
