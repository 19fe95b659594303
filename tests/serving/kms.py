"""A KMS for tests: moto's server, in a thread of this process. It encrypts with the encryption context as AWS does, and
looks at no signature. What it leaves out, and AWS documents, is added here: it refuses keys that are disabled, and what
another key wrapped by the code that says so."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from botocore.loaders import create_loader
from moto.core.exceptions import JsonRESTError
from moto.kms.models import KmsBackend
from moto.server import ThreadedMotoServer

from serving.storage.key_address import AwsKey

REGION = "eu-central-1"

#: What is wanted to be there, and not looked at.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


class Kms:
    """The server, and what is to be seen of it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """Operation -> how often it was asked for."""
        self.faults: list[str] = []
        """Codes that the next requests are answered with."""
        self._backend: KmsBackend | None = None
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"

    def start(self) -> None:
        """Have it answer, where it did before."""
        self._server.start()

    def stop(self) -> None:
        """Have it answer nobody; it keeps its keys."""
        host, port = self._server.get_host_and_port()
        self._server.stop()
        self._server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)

    def key(self) -> str:
        """The id of a new key."""
        return self._client().create_key(Description="of a test")["KeyMetadata"]["KeyId"]

    def address(self, key: str) -> AwsKey:
        """Where a key is."""
        return AwsKey(key, REGION, key, self.endpoint)

    def url(self, key: str) -> str:
        """The same, as a setting."""
        return f"aws-kms://{key}?region={REGION}&endpoint={self.endpoint}"

    def enable(self, key: str, *, enabled: bool = True) -> None:
        """Have a key be used, or not."""
        (self._client().enable_key if enabled else self._client().disable_key)(KeyId=key)

    def _client(self):
        import botocore.session

        return botocore.session.Session().create_client("kms", region_name=REGION, endpoint_url=self.endpoint)

    def noted(self, backend: KmsBackend, operation: str, key: str | None) -> None:
        """Somebody asks. Raises what AWS would answer."""
        self.asked[operation] += 1
        if self.faults:
            raise JsonRESTError(self.faults.pop(0), "as the test wants it")
        if key is not None and key in backend.keys and not backend.keys[key].enabled:
            raise JsonRESTError("DisabledException", f"{key} is disabled.")


@contextmanager
def kms() -> Iterator[Kms]:
    """One that runs."""
    encrypt, decrypt = KmsBackend.encrypt, KmsBackend.decrypt
    # What describes the service is read once for all clients: that is most of what making one takes.
    loader = create_loader()
    with mock.patch.dict(os.environ, CREDENTIALS), mock.patch("botocore.session.create_loader", return_value=loader):
        made = Kms()

        def noting_encrypt(backend, key_id, plaintext, encryption_context):
            made.noted(backend, "encrypt", key_id)
            return encrypt(backend, key_id, plaintext, encryption_context)

        def noting_decrypt(backend, ciphertext_blob, encryption_context, key_id=None):
            made.noted(backend, "decrypt", key_id)
            by = ciphertext_blob[:36].decode("ascii", "replace")
            if by != key_id:
                raise JsonRESTError("IncorrectKeyException" if by in backend.keys else "InvalidCiphertextException", "")
            return decrypt(backend, ciphertext_blob, encryption_context, key_id)

        with (
            mock.patch.object(KmsBackend, "encrypt", noting_encrypt),
            mock.patch.object(KmsBackend, "decrypt", noting_decrypt),
        ):
            try:
                yield made
            finally:
                made._server.stop()
