"""Keys that are made from the server's secret: who has one cannot make out the secret, nor another key."""

import hmac
from typing import Final

#: What keys are for.
RAY: Final = "ray"
GATEWAY: Final = "gateway"


def derived(secret: bytes, purpose: str) -> str:
    """The key for a purpose, 64 hexadecimal digits; the same for as long as the secret is."""
    return hmac.digest(secret, f"graph {purpose}".encode(), "sha256").hex()
