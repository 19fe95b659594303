"""Signs requests to S3, for the two that obstore has no call for: AWS Signature Version 4 (AWS General Reference,
"Signature Version 4 signing process"), for requests without a body."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of an account."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Of those that last for a while only; empty for others."""


def signed(
    credentials: Credentials, region: str, method: str, host: str, path: str, query: Mapping[str, str], at: datetime
) -> tuple[str, dict[str, str]]:
    """What stands behind the host in the request's URL, and its headers.

    Args:
        host: as the request names it, with the port where it is not the usual one.
        path: as it is, from its `/` on.
        at: now, in UTC.
    """
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    target = quote(path, safe="/-_.~")
    asked = "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items()))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"{method}\n{target}\n{asked}\n{lines}\n{names}\n{_NO_BODY}"
    said = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, said.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return f"{target}?{asked}", headers | {"authorization": authorization}
