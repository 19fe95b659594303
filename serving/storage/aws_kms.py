"""A master key in AWS KMS, or in what speaks its protocol. Credentials are found as the tools of AWS find them."""

import logging
import threading
from typing import Any, Final

from pipeline.errors import Altered, InvalidSettings
from pipeline.sealed.form import What
from serving.errors import MasterKeyUnavailable
from serving.storage.key_address import AwsKey

#: Seconds for a connection, and for an answer; and how often it is tried, which all together takes no longer than
#: `remote_master.WAIT_S`.
_CONNECT_S, _READ_S, _ATTEMPTS = 2.0, 3.0, 3

#: What it says where what came was not wrapped by this key as this.
_ALTERED: Final = ("InvalidCiphertextException", "IncorrectKeyException")

#: And where it has too much to do, or a fault of its own; the library has tried again before that.
_AWAY: Final = (
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
)


def context(what: What) -> dict[str, str]:
    """What a key is wrapped as, in words that the service's log shows and policies can ask for; none is empty."""
    words = {"tenant": what.tenant, "blob": what.blob, "purpose": what.purpose, "version": str(what.generation)}
    return {"application": "automations"} | {name: word for name, word in words.items() if word}


class AwsKms:
    """A `KeyService`."""

    def __init__(self, where: AwsKey) -> None:
        """Raises InvalidSettings where the library for it is not installed. Nothing is asked of the service yet."""
        from importlib.util import find_spec

        if find_spec("botocore") is None:
            raise InvalidSettings(
                "storage.master_key: aws-kms:// needs the package botocore; pip install 'automations-backend[kms]'"
            )
        self.name = where.name
        self._where = where
        self._lock = threading.Lock()
        self._client: Any = None

    def encrypt(self, key: bytes, what: What) -> bytes:
        """See `KeyService.encrypt`."""
        return self._asked("encrypt", what, Plaintext=key)["CiphertextBlob"]

    def decrypt(self, wrapped: bytes, what: What) -> bytes:
        """See `KeyService.decrypt`."""
        return self._asked("decrypt", what, CiphertextBlob=wrapped)["Plaintext"]

    def _asked(self, operation: str, what: What, **more: bytes) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        try:
            call = getattr(self._opened(), operation)
            return call(KeyId=self._where.asked_as, EncryptionContext=context(what), **more)
        except ClientError as error:
            # Of the answer, the code alone is told: texts may name who asked, and what with.
            code = error.response.get("Error", {}).get("Code", "unknown")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _ALTERED:
                raise Altered(f"the {what.purpose} of {what.blob or what.tenant} is not what was kept") from None
            raise MasterKeyUnavailable(f"{self._where}: {code}", away=code in _AWAY or status >= 500) from None
        except (ConnectionError, HTTPClientError) as error:
            raise MasterKeyUnavailable(f"{self._where}: {type(error).__name__}", away=True) from None
        except (BotoCoreError, ValueError, OSError) as error:
            # No credentials, no such profile, an answer that is none.
            raise MasterKeyUnavailable(f"{self._where}: {type(error).__name__}") from None

    def _opened(self) -> Any:
        """The client, made when it is first needed: that takes a quarter of a second, and may ask for credentials."""
        with self._lock:
            if self._client is None:
                import botocore.session
                from botocore.config import Config

                # At DEBUG it writes down what it sends and gets: keys.
                logging.getLogger("botocore").setLevel(logging.WARNING)
                config = Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                )
                self._client = botocore.session.Session().create_client(
                    "kms", region_name=self._where.region, endpoint_url=self._where.endpoint or None, config=config
                )
            return self._client
