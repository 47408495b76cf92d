"""Text for people and logs: credentials in it are masked."""

from __future__ import annotations

import re

# Compiled when a text is first shown.
_USERINFO = r"(://)[^/@\s]*:[^/@\s]*@"
# upload_id: of Google Cloud Storage, where whoever has the URI of an upload may write to it, without any credentials.
_SECRET_QUERY = (
    r"(?i)\b((?:X-(?:Amz|Goog)-)?Signature|X-(?:Amz|Goog)-Credential|X-Amz-Security-Token|sig|AccountKey|"
    r"SharedAccessSignature|access_token|upload_id)=[^&\s;]+"
)


def mask(text: str) -> str:
    """``text`` without its credentials: ``user:password@``, signatures and tokens are ``***``."""
    return re.sub(_SECRET_QUERY, r"\1=***", re.sub(_USERINFO, r"\1***@", text))


def redact(text: str) -> str:
    """Mask credentials in ``text`` (user:password@, signatures, tokens) and escape its control characters."""
    text = mask(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
