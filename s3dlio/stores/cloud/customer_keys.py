"""Keys that customers keep themselves, in the fields of a request."""

from __future__ import annotations

import base64
import hashlib

from s3dlio.errors import ConfigError


def key_fields(key: bytes | None, prefix: str, digest: str) -> list[tuple[str, str]]:
    """The fields of a raw 256-bit key: the cipher, the key and its digest; none without a key.

    Raises:
        ConfigError: it has another length.
    """
    if key is None:
        return []
    if len(key) != 32:
        raise ConfigError(
            "a customer's own encryption key has 32 bytes", hint="give the raw key (pickled options have none)"
        )
    proof = hashlib.new(digest, key, usedforsecurity=False).digest()
    return [
        (f"{prefix}-algorithm", "AES256"),
        (f"{prefix}-key", base64.b64encode(key).decode()),
        (f"{prefix}-key-{digest}", base64.b64encode(proof).decode()),
    ]
