"""What the head of an answer says about its body and its connection (RFC 9112, sections 4, 6 and 9).

Fields are looked for with ``find``: ``in`` tries first whether the bytes are a number, and takes half as long again
(0.27 against 0.19 us in a head of 290 bytes).
"""

from __future__ import annotations

from s3dlio.errors import ProtocolError

#: What ``body_length`` returns where there is no Content-Length.
NO_BODY, IS_CHUNKED, UNTIL_CLOSE = -1, -2, -3


def parse_status(head: bytes) -> int:
    """The status code of a head.

    Raises:
        ProtocolError: the status line is not that of HTTP/1.0 or HTTP/1.1.
    """
    code = head[9:12]
    if head[:9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or not code.isdigit() or head[12:13] not in (b" ", b"\r"):
        raise ProtocolError(f"bad status line: {head[:64]!r}")
    status = int(code)
    if not 100 <= status <= 599:
        raise ProtocolError(f"status {status} does not exist")
    return status


def keeps_alive(head: bytes, lower: bytes) -> bool:
    """Whether the connection may serve again (RFC 9112, section 9.3)."""
    if lower.find(b"close") < 0 and head[7:8] == b"1":
        return True
    value = b""
    at = lower.find(b"\r\nconnection:")
    while at >= 0:
        value += lower[at + 13 : lower.find(b"\r\n", at + 13)]
        at = lower.find(b"\r\nconnection:", at + 13)
    if head[7:8] == b"0":
        return b"keep-alive" in value
    return b"close" not in value


def _check_same(lower: bytes, text: bytes, at: int) -> None:
    """Refuse a further Content-Length behind position ``at`` that differs from ``text``."""
    while (at := lower.find(b"\r\ncontent-length:", at + 17)) >= 0:
        if lower[at + 17 : lower.find(b"\r\n", at + 17)].strip() != text:
            raise ProtocolError("two Content-Length fields that differ")


def body_length(method: str, status: int, lower: bytes) -> int:
    """The Content-Length, or one of ``NO_BODY``, ``IS_CHUNKED``, ``UNTIL_CLOSE``.

    Raises:
        ProtocolError: contradicting or malformed lengths, or an unknown transfer coding.
    """
    length = UNTIL_CLOSE
    at = lower.find(b"\r\ncontent-length:")
    if at >= 0:
        text = lower[at + 17 : lower.find(b"\r\n", at + 17)].strip()
        if not text.isdigit() or len(text) > 19:
            raise ProtocolError(f"bad Content-Length {text!r}")
        length = int(text)
        if lower.rfind(b"\r\ncontent-length:") != at:
            _check_same(lower, text, at)
    if method == "HEAD" or status in (204, 304):
        return NO_BODY
    at = lower.find(b"\r\ntransfer-encoding:")
    if at >= 0:
        if length >= 0:
            raise ProtocolError("both Transfer-Encoding and Content-Length")
        coding = lower[at + 20 : lower.find(b"\r\n", at + 20)].strip()
        if coding != b"chunked" or lower.find(b"\r\ntransfer-encoding:", at + 1) >= 0:
            raise ProtocolError(f"unknown Transfer-Encoding {coding!r}")
        return IS_CHUNKED
    return length
