"""What an answer has to be before an SDK may make anything of it: of the service, and about the range that was asked
for. The SDKs take the bytes of any answer with a good status for those of the object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from s3dlio.config.settings import Settings
from s3dlio.errors import EndpointError, ProtocolError, UnsupportedOperationError
from s3dlio.net.response import Response
from s3dlio.stores.cloud.answer_check import Api
from s3dlio.stores.cloud.reading import CONTENT_RANGE

_ASKED = re.compile(r"bytes=(\d{1,19})-(\d{1,19})?$")
#: Fields that carry a customer's key, or its hash.
_KEY_FIELDS = ("encryption-key", "customer-key")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def response_of(status: int, fields: Mapping[str, Any], body: bytes = b"") -> Response:
    """The answer to a request of an SDK."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {status} \r\n{lines}".encode("latin-1", "replace")
    response = Response(status, head, head.lower())
    response.body = body
    return response


def check_answer(api: Api, endpoint: str, method: str, response: Response, asked: str | None) -> None:
    """Refuse an answer whose bytes are not those that were asked for, before they are read.

    Args:
        api, endpoint: who was asked.
        method: of the request.
        response: the answer, without its body.
        asked: the Range of the request, if it had one.

    Raises:
        EndpointError: another server's web page.
        ProtocolError: another range.
    """
    empty = method == "HEAD" or response.header(b"content-length") == "0"
    if not empty and response.status < 300 and b"\r\ncontent-type: text/html" in response.lower:
        is_object = b"\r\netag:" in response.lower or b"\r\nlast-modified:" in response.lower
        if not is_object and not api.marks_in(response):
            raise api.error(response, endpoint)
    if response.status == 206:
        _check_range(response.header(b"content-range") or "", asked)
    elif method == "GET" and response.status == 200 and asked and not asked.startswith("bytes=0-"):
        raise ProtocolError("the server ignored the range and sent the whole object", status=200)


def _check_range(told: str, asked: str | None) -> None:
    wanted = _ASKED.match(asked or "")
    if asked is None:
        raise ProtocolError("a partial answer to a request for the whole object", status=206)
    found = CONTENT_RANGE.match(told)
    if wanted is None or found is None or int(found[1]) != int(wanted[1]):
        raise ProtocolError("a partial answer without the Content-Range that was asked for", status=206)
    last = int(found[2])
    if wanted[2] and last > int(wanted[2]):
        raise ProtocolError("the server sent more than the range that was asked for", status=206)
    if found[3].isdigit():
        end = int(found[3]) - 1
        if last < (min(end, int(wanted[2])) if wanted[2] else end):
            raise ProtocolError("the server sent less than the range that was asked for", status=206)


def check_redirect(settings: Settings, url: str, sent: Mapping[str, Any], response: Response) -> None:
    """Refuse a redirect that the SDK would follow, but the library does not.

    Raises:
        EndpointError: redirects are not followed (``http.follow_redirects``), or this one leaves TLS.
        UnsupportedOperationError: to another host, with a customer's key.
    """
    location = response.header(b"location")
    if location is None or response.status not in _REDIRECTS:
        return
    here, there = urlsplit(url), urlsplit(urljoin(url, location))
    where = f"the server redirects to {there.scheme}://{there.netloc.rpartition('@')[2]}"
    if not settings.http.follow_redirects:
        raise EndpointError(f"{where}, and http.follow_redirects is false", status=response.status)
    if here.scheme == "https" and there.scheme != "https":
        raise EndpointError(f"{where}, which is no https", status=response.status)
    if there.netloc != here.netloc and any(part in name.lower() for name in sent for part in _KEY_FIELDS):
        raise UnsupportedOperationError(
            f"{where}, another host, which must not see the customer's key",
            status=response.status, hint="if that host is to be trusted, use it as the endpoint",
        )  # fmt: skip
