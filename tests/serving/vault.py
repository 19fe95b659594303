"""A Vault for tests: a server that speaks as much of the transit engine's API as is asked for, with real keys; or,
where `TEST_BAO` names its program, OpenBao itself. What the first one answers was seen of that."""

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from serving.storage.key_address import VaultKey
from tests.serving.cutting import free_port

TOKEN = "token-of-tests"


class Vault:
    """Where it is."""

    def __init__(self, server: str) -> None:
        self.server = server

    def address(self, key: str = "automations") -> VaultKey:
        """Where a key is."""
        return VaultKey(self.server, "transit", key)

    def url(self, key: str = "automations") -> str:
        """The same, as a setting."""
        return f"vault+http://{self.server.removeprefix('http://')}/transit/{key}"


@contextmanager
def vault(*, associated: bool = True) -> Iterator[Vault]:
    """One that runs, with the keys `automations` and `another`. `associated`: whether it heeds `associated_data`, which
    versions from before 2022 did not."""
    if associated and (program := os.environ.get("TEST_BAO")):
        with _bao(program) as server:
            yield Vault(server)
        return
    handler = type("Handler", (_Handler,), {"keys": {n: os.urandom(32) for n in ("automations", "another")}})
    handler.associated = associated
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Vault(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    # All of an answer at once.
    wbufsize = -1

    keys: dict[str, bytes]
    associated: bool

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = re.fullmatch(r"/v1/transit/(encrypt|decrypt)/([a-z]+)", self.path)
        if found is None:
            self._answer(404, {"errors": ["no handler for route"]})
        elif self.headers.get("X-Vault-Token") != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        elif found[2] not in self.keys:
            self._answer(400, {"errors": ["encryption key not found"]})
        else:
            self._answer(*self._done(found[1], AESGCM(self.keys[found[2]]), body))

    def _done(self, operation: str, key: AESGCM, body: dict[str, str]) -> tuple[int, dict]:
        aad = base64.b64decode(body.get("associated_data", "")) if self.associated else b""
        if operation == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + key.encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
            return 200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}}
        if not body["ciphertext"].startswith("vault:v1:"):
            return 400, {"errors": ["invalid ciphertext: no prefix"]}
        try:
            sealed = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"), validate=True)
            plain = key.decrypt(sealed[:12], sealed[12:], aad)
        except (InvalidTag, ValueError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}

    def _answer(self, status: int, content: dict) -> None:
        sent = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _bao(program: str) -> Iterator[str]:
    server = f"http://127.0.0.1:{(port := free_port())}"
    command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, f"-dev-root-token-id={TOKEN}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=server, headers={"X-Vault-Token": TOKEN}, trust_env=False) as client:
            for _ in range(100):
                try:
                    client.post("/v1/sys/mounts/transit", json={"type": "transit"}).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.2)
            for key in ("automations", "another"):
                client.post(f"/v1/transit/keys/{key}").raise_for_status()
        yield server
    finally:
        process.terminate()
        process.wait(30)
