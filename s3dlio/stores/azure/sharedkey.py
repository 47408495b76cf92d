"""The heads of requests to Azure Storage, signed with the account's key (Shared Key), or carrying a SAS or a token.

Source: Azure Storage REST API, "Authorize with Shared Key" (versions 2015-02-21 and later), "Versioning for Azure
Storage".
"""

from __future__ import annotations

import binascii
import email.utils
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from s3dlio.net.message import Headers, Request
from s3dlio.stores.cloud.hmac_sha256 import HmacSha256

#: The version of the REST API in use: listings carry any key (from 2021-02-12 on), and there are batches, tags, the
#: cold tier and blocks of 4,000 MiB.
API_VERSION = "2023-11-03"

#: Fields whose values are signed, each on a line of its own, between the method and the x-ms- fields.
_SIGNED = dict.fromkeys((
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
), "")  # fmt: skip


def string_to_sign(account: str, method: str, path: str, query: str, fields: Headers, length: int) -> str:
    """What the signature of a request covers.

    Args:
        account: the name of the account.
        method: ``GET``, ``PUT``, ...
        path: as in the request line, percent-encoded.
        query: percent-encoded, without ``?``.
        fields: the header fields, names in lower case; ``x-ms-date`` and ``x-ms-version`` among them.
        length: bytes of the body.
    """
    return f"{method}\n{_field_lines(fields, length)}/{account}{path}{_canonical_query(query)}"


def _field_lines(fields: Headers, length: int) -> str:
    """The values of the standard fields, one a line, and the x-ms- fields in their order."""
    signed = _SIGNED.copy()
    if length:
        signed["content-length"] = str(length)
    own: list[tuple[str, str]] = []
    for name, value in fields:
        if name.startswith("x-ms-"):
            own.append((name, value))
        elif name in signed:
            signed[name] = value
    own.sort(key=lambda field: _place(field[0]))
    return "\n".join([*signed.values(), *[f"{name}:{value}" for name, value in own], ""])


@lru_cache(maxsize=256)
def _place(name: str) -> str:
    """The sort key of a field: the service sorts by the letters and digits, past hyphens, underscores before both."""
    return name.replace("-", "").replace("_", "\x01")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(part.partition("=") for part in query.split("&"))
    return "".join([f"\n{unquote(name).lower()}:{unquote(value)}" for name, _, value in pairs])


def sign(key: HmacSha256, text: str) -> str:
    """The signature of a string to sign, in base64."""
    return binascii.b2a_base64(key.of(text.encode()).digest(), newline=False).decode()


class _Stamp(NamedTuple):
    """What all requests of one second have in common."""

    second: int
    date: str
    fields: tuple[tuple[str, str], ...]
    #: The fields as they are sent, and as they are signed where there are no others: those of most reads.
    sent: str
    signed: str


class HeadRenderer:
    """Renders the heads of requests to one host, without credentials; subclasses add them.

    Args:
        host: the value of the Host field.
        target_prefix: what the request line has before the path (for plain HTTP proxies).
        user_agent: the User-Agent field.
    """

    def __init__(self, host: str, target_prefix: str, user_agent: str) -> None:
        self.host = host
        #: Seconds to add to the local clock, which an answer of the service has shown to be off.
        self.skew = 0.0
        self._prefix = target_prefix
        self._user_agent = user_agent
        self._last: _Stamp | None = None

    def render(self, request: Request) -> bytes:
        """The head of ``request``; see :class:`s3dlio.net.message.Signer`."""
        stamp = self._stamp()
        method, body, headers = request.method, request.body, request.headers
        length = 0 if body is None else body.size
        proof = self._proof(request, stamp, length)
        sent = stamp.sent
        if headers:
            sent += "".join([f"{name}: {value}\r\n" for name, value in headers])
        if body is not None or method in ("PUT", "POST"):
            sent += f"content-length: {length}\r\n"
        if request.expect_continue and body is not None:
            sent += "expect: 100-continue\r\n"
        target = self._target(request)
        return f"{method} {self._prefix}{target} HTTP/1.1\r\n{sent}{proof}\r\n".encode("latin-1")

    def render_part(self, request: Request) -> bytes:
        """The head of a request that travels inside a batch: no host, no version."""
        stamp = self._stamp()
        fields = (("x-ms-date", stamp.date),)
        proof = self._proof(request, stamp._replace(fields=fields, signed=_field_lines(fields, 0)), 0)
        lines = "".join([f"{name}: {value}\r\n" for name, value in (*fields, *request.headers)])
        head = f"{request.method} {self._target(request)} HTTP/1.1\r\n{lines}{proof}content-length: 0\r\n\r\n"
        return head.encode("latin-1")

    def _stamp(self) -> _Stamp:
        second = int(time.time() + self.skew)
        stamp = self._last
        if stamp is None or stamp.second != second:
            date = email.utils.formatdate(second, usegmt=True)
            fields = (("x-ms-date", date), ("x-ms-version", API_VERSION))
            lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
            sent = f"host: {self.host}\r\nuser-agent: {self._user_agent}\r\n{lines}"
            stamp = self._last = _Stamp(second, date, fields, sent, _field_lines(fields, 0))
        return stamp

    def _target(self, request: Request) -> str:
        return f"{request.path}?{request.query}" if request.query else request.path

    def _proof(self, request: Request, stamp: _Stamp, length: int) -> str:
        """The Authorization field with its line end, or nothing."""
        return ""


class SharedKeySigner(HeadRenderer):
    """Signs with a key of the account."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, account: str, key: bytes) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._account = account
        self._key = HmacSha256(key)

    def _proof(self, request: Request, stamp: _Stamp, length: int) -> str:
        signed = stamp.signed
        if request.headers or length:
            signed = _field_lines((*stamp.fields, *request.headers), length)
        resource = f"/{self._account}{request.path}{_canonical_query(request.query)}"
        signature = sign(self._key, f"{request.method}\n{signed}{resource}")
        return f"authorization: SharedKey {self._account}:{signature}\r\n"


class SasRenderer(HeadRenderer):
    """Appends a shared access signature to every target. A Request does not have it, nor does a log of requests."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, sas: str) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._sas = sas

    def _target(self, request: Request) -> str:
        query = f"{request.query}&{self._sas}" if request.query else self._sas
        return f"{request.path}?{query}"


class BearerRenderer(HeadRenderer):
    """Sends a token of Microsoft Entra ID."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, token: Callable[[], str]) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._token = token
        self.source = token if hasattr(token, "ready") else None

    def _proof(self, request: Request, stamp: _Stamp, length: int) -> str:
        return f"authorization: Bearer {self._token()}\r\n"
