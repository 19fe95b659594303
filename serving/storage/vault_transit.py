"""A master key in the transit engine of HashiCorp Vault or OpenBao, over its HTTP API."""

import base64
import os
import ssl
import time
from pathlib import Path
from typing import Any, Final

import httpx

from pipeline.errors import Altered
from pipeline.sealed.form import What
from serving.errors import MasterKeyUnavailable
from serving.storage.key_address import VaultKey

#: Seconds for a connection, and for an answer; and pauses between attempts. Nobody waits for longer than
#: `remote_master.WAIT_S` for all together.
_TIMEOUT: Final = httpx.Timeout(2.5, connect=2.0)
_PAUSES_S: Final = (0.2, 0.6)

#: What it says where what came was not wrapped by this key as this: the cipher, and who reads the form before it. By a
#: newer version of the key than it has, is another thing: then it has lost one.
_ALTERED: Final = ("message authentication failed", "invalid ciphertext", "missing ciphertext")
_TOO_NEW: Final = "too new"

#: Statuses that are no refusal: it has too much to do, is sealed, a standby, or broken.
_TOO_MUCH: Final = 429
_FAULT: Final = 500


class VaultTransit:
    """A `KeyService`."""

    def __init__(self, where: VaultKey) -> None:
        """Nothing is asked of the server yet."""
        self.name = where.name
        self._where = where

    def encrypt(self, key: bytes, what: What) -> bytes:
        """See `KeyService.encrypt`."""
        return self._asked("encrypt", what, "ciphertext", plaintext=_text(key)).encode()

    def decrypt(self, wrapped: bytes, what: What) -> bytes:
        """See `KeyService.decrypt`."""
        answer = self._asked("decrypt", what, "plaintext", ciphertext=wrapped.decode("ascii", "replace"))
        return base64.b64decode(answer)

    def _asked(self, operation: str, what: What, wanted: str, **body: str) -> str:
        """One text of an answer."""
        answer = self._sent(operation, body | {"associated_data": _text(what.encoded())})
        try:
            said: Any = answer.json()
            if answer.status_code == httpx.codes.OK:
                return str(said["data"][wanted])
            errors = " ".join(map(str, said.get("errors") or ()))
        except (ValueError, KeyError, TypeError, AttributeError):
            errors = ""
        status = answer.status_code
        altered = any(sign in errors for sign in _ALTERED) and _TOO_NEW not in errors
        if status == httpx.codes.BAD_REQUEST and operation == "decrypt" and altered:
            raise Altered(f"the {what.purpose} of {what.blob or what.tenant} is not what was kept")
        # Of the answer, no more is told: it may say who asked.
        raise MasterKeyUnavailable(f"{self._where}: status {status}", away=status == _TOO_MUCH or status >= _FAULT)

    def _sent(self, operation: str, body: dict[str, str]) -> httpx.Response:
        where = self._where
        url = f"{where.server}/v1/{where.mount}/{operation}/{where.key}"
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if where.namespace:
            headers["X-Vault-Namespace"] = where.namespace
        with httpx.Client(verify=self._verified(), timeout=_TIMEOUT, trust_env=False, follow_redirects=False) as client:
            for pause_s in (*_PAUSES_S, None):
                try:
                    answer = client.post(url, json=body, headers=headers)
                except httpx.HTTPError as error:
                    if pause_s is None:
                        raise MasterKeyUnavailable(f"{where}: {type(error).__name__}", away=True) from None
                else:
                    if pause_s is None or (answer.status_code < _FAULT and answer.status_code != _TOO_MUCH):
                        return answer
                time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _token(self) -> str:
        """Read anew each time: it is replaced before it runs out."""
        try:
            token = Path(self._where.token_file).read_text("ascii").strip() if self._where.token_file else ""
        except (OSError, ValueError) as error:
            raise MasterKeyUnavailable(f"{self._where}: the file of the token: {type(error).__name__}") from None
        token = token or os.environ.get("VAULT_TOKEN", "")
        if not token or not token.isprintable():
            raise MasterKeyUnavailable(f"{self._where}: there is no token; set VAULT_TOKEN, or name a file by ?token=")
        return token

    def _verified(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._where.ca_file or None)
        except OSError as error:
            raise MasterKeyUnavailable(f"{self._where}: the file of `ca`: {type(error).__name__}") from None


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
