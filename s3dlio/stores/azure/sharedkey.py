"""The heads of requests to Azure Storage, signed with the account's key (Shared Key), or carrying a SAS or a token.

Source: Azure Storage REST API, "Authorize with Shared Key" (versions 2015-02-21 and later), "Versioning for Azure
Storage".
"""

from __future__ import annotations

import base64
import email.utils
import hmac
import time
from collections.abc import Callable
from urllib.parse import unquote

from s3dlio.net.message import Headers, Request

#: The version of the REST API that we speak: the first in which listings carry any key (2021-02-12) and batches,
#: tags, cold tier and 4,000 MiB blocks are there.
API_VERSION = "2023-11-03"

#: Fields whose values stand in the string to sign, each on a line of its own, between the method and the x-ms- fields.
_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_NOTHING = "\n" * (len(_SIGNED) - 1)
#: What every request carries, in the order of the signature.
_ALWAYS = ["x-ms-date", "x-ms-version"]


def string_to_sign(account: str, method: str, path: str, query: str, fields: Headers, length: int) -> str:
    """What the signature of a request covers.

    Args:
        account: the name of the account.
        method: ``GET``, ``PUT``, ...
        path: as it stands in the request line, percent-encoded.
        query: percent-encoded, without ``?``.
        fields: the header fields, names in lower case; ``x-ms-date`` and ``x-ms-version`` among them.
        length: bytes of the body.
    """
    if not length and [name for name, _ in fields] == _ALWAYS:  # most reads: 2 us less
        standard, own = _NOTHING, fields
    else:
        standard, own = _sorted_out(fields, length)
    lines = "".join([f"{name}:{value}\n" for name, value in own])
    return f"{method}\n{standard}\n{lines}/{account}{path}{_canonical_query(query)}"


def _sorted_out(fields: Headers, length: int) -> tuple[str, Headers]:
    """The values of the standard fields, one a line, and the x-ms- fields in their order."""
    signed = dict.fromkeys(_SIGNED, "")
    if length:
        signed["content-length"] = str(length)
    own: list[tuple[str, str]] = []
    for name, value in fields:
        if name.startswith("x-ms-"):
            own.append((name, value))
        elif name in signed:
            signed[name] = value
    own.sort(key=_place)
    return "\n".join(signed.values()), own


def _place(field: tuple[str, str]) -> str:
    """Where a field stands: the service sorts by the letters and digits, past hyphens, underscores before both."""
    return field[0].replace("-", "").replace("_", "\x01")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(part.partition("=") for part in query.split("&"))
    return "".join([f"\n{unquote(name).lower()}:{unquote(value)}" for name, _, value in pairs])


def sign(key: bytes, text: str) -> str:
    """The signature of a string to sign: base64 of its HMAC-SHA256."""
    return base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()


class HeadRenderer:
    """Renders the heads of requests to one host, without credentials; what subclasses add is the proof of who asks.

    Args:
        host: the value of the Host field.
        target_prefix: what stands before the path in the request line (for plain HTTP proxies).
        user_agent: the User-Agent field.
    """

    def __init__(self, host: str, target_prefix: str, user_agent: str) -> None:
        self.host = host
        #: Seconds to add to our clock; set when the service says how far it is off.
        self.skew = 0.0
        self._prefix = target_prefix
        self._user_agent = user_agent
        self._date = (0, "")

    def render(self, request: Request) -> bytes:
        """The head of ``request``; see :class:`s3dlio.net.message.Signer`."""
        body = request.body
        length = 0 if body is None else body.size
        fields = [("x-ms-date", self._now()), ("x-ms-version", API_VERSION), *request.headers]
        proof = self._proof(request.method, request.path, request.query, fields, length)
        target = self._target(request.path, request.query)
        head = [f"{request.method} {self._prefix}{target} HTTP/1.1\r\nhost: {self.host}\r\n"]
        head += [f"{name}: {value}\r\n" for name, value in fields]
        if body is not None or request.method in ("PUT", "POST"):
            head.append(f"content-length: {length}\r\n")
        if body is not None and request.expect_continue:
            head.append("expect: 100-continue\r\n")
        head.append(f"{proof}user-agent: {self._user_agent}\r\n\r\n")
        return "".join(head).encode("latin-1")

    def render_part(self, request: Request) -> bytes:
        """The head of a request that travels inside a batch: no host, no version."""
        fields = [("x-ms-date", self._now()), *request.headers]
        proof = self._proof(request.method, request.path, request.query, fields, 0)
        head = [f"{request.method} {self._target(request.path, request.query)} HTTP/1.1\r\n"]
        head += [f"{name}: {value}\r\n" for name, value in fields]
        head.append(f"{proof}content-length: 0\r\n\r\n")
        return "".join(head).encode("latin-1")

    def _now(self) -> str:
        second = int(time.time() + self.skew)
        date = self._date
        if date[0] != second:
            date = self._date = (second, email.utils.formatdate(second, usegmt=True))
        return date[1]

    def _target(self, path: str, query: str) -> str:
        return f"{path}?{query}" if query else path

    def _proof(self, method: str, path: str, query: str, fields: Headers, length: int) -> str:
        """The Authorization field with its line end, or nothing."""
        return ""


class SharedKeySigner(HeadRenderer):
    """Signs with a key of the account."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, account: str, key: bytes) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._account = account
        self._key = key

    def _proof(self, method: str, path: str, query: str, fields: Headers, length: int) -> str:
        text = string_to_sign(self._account, method, path, query, fields, length)
        return f"authorization: SharedKey {self._account}:{sign(self._key, text)}\r\n"


class SasRenderer(HeadRenderer):
    """Appends a shared access signature to every target. It never stands in a Request, so it is in no log of one."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, sas: str) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._sas = sas

    def _target(self, path: str, query: str) -> str:
        return f"{path}?{query}&{self._sas}" if query else f"{path}?{self._sas}"


class BearerRenderer(HeadRenderer):
    """Sends a token of Microsoft Entra ID."""

    def __init__(self, host: str, target_prefix: str, user_agent: str, token: Callable[[], str]) -> None:
        super().__init__(host, target_prefix, user_agent)
        self._token = token

    def _proof(self, method: str, path: str, query: str, fields: Headers, length: int) -> str:
        return f"authorization: Bearer {self._token()}\r\n"
