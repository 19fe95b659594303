"""Writes the API's schema: `python -m serving.api.openapi > docs/openapi.json`. A test fails where they differ."""

import json
import sys
import tempfile
from pathlib import Path

from pipeline.sealed.form import KEY_BYTES
from serving.api.app import create_app
from serving.db.database import Database
from serving.settings import DEFAULTS
from serving.storage.keyring import Keyring
from serving.storage.master import LocalMaster
from serving.storage.store import Store


def document() -> str:
    """OpenAPI 3.1, the same text on every machine."""
    with tempfile.TemporaryDirectory() as folder:
        # Nothing is asked of either: the schema follows from the code alone.
        store = Store(Path(folder), Keyring(LocalMaster([bytes(KEY_BYTES)])))
        app = create_app(Database("postgresql://nobody@/nothing"), store, DEFAULTS, b"")
        schema = app.openapi_schema.to_schema()
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
