"""Variables of files that deploy the server: whether there are such settings, and whether they may have such values."""

import os
from collections.abc import Mapping
from unittest import mock

from serving.settings import IN_FILE, PREFIX, is_secret, load, names, variable


def require_settings(environment: Mapping[str, str]) -> None:
    """Fails where a variable of ours names no setting or has a value that cannot be, or a secret is not in a file."""
    plain = {variable(name) for name, field in names() if not is_secret(field)}
    files = {variable(name) + IN_FILE for name, field in names() if is_secret(field)}
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert set(ours) <= plain | files, f"no settings: {sorted(set(ours) - plain - files)}"
    with mock.patch.dict(os.environ, {name: value for name, value in ours.items() if name in plain}):
        load()
