"""Whether it is the service that answers.

Where an endpoint is mistyped, or a login portal or a proxy is in the way, another server answers, and not always with
an error. The services name themselves in fields of their own (``x-amz-``, ``x-ms-``, ``x-goog-``), and their documents
are XML or JSON. An answer without such a field that is a web page, or text where a document is due, is not theirs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from s3dlio.errors import EndpointError
from s3dlio.net.response import Response


class Api(NamedTuple):
    """How the answers of a service are known.

    Args:
        name: what its endpoint is called in messages.
        marks: the beginnings of its own header fields, each behind the CRLF of the line before.
        setting: where its endpoint is configured.
    """

    name: str
    marks: tuple[bytes, ...]
    setting: str

    def marks_in(self, response: Response) -> bool:
        """Whether the service names itself in a field of its own."""
        return any(mark in response.lower for mark in self.marks)

    def foreign_answer(self, response: Response, endpoint: str) -> EndpointError | None:
        """The error for an answer without a document of the service, where another server gave it."""
        if self.marks_in(response):
            return None
        if is_page(response):
            foreign = response.status < 300 or response.status in _ANYBODYS
        else:
            foreign = response.status in _ANYBODYS and bool(bytes(response.body).strip())
        return self.error(response, endpoint) if foreign else None

    def may_be_foreign(self, head: Response) -> bool:
        """Whether a HEAD was answered as any web server would that has no such page, which a GET can tell."""
        return head.status == 404 and _HTML in head.lower and not self.marks_in(head)

    def error(self, response: Response, endpoint: str) -> EndpointError:
        """The error for an answer of another server.

        Args:
            response: the answer.
            endpoint: who was asked.
        """
        page = is_page(response) or _HTML in response.lower
        match = re.search(_TITLE, bytes(response.body[:4096])) if page else None
        title = f" ({match[1].decode('utf-8', 'replace').strip()[:80]!r})" if match else ""
        return EndpointError(
            f"{endpoint} is not {self.name}: it answered " + (f"with a web page{title}" if page else _PLAINLY),
            status=response.status,
            attempts=response.attempts,
            hint=f"check host, port and path of the endpoint ({self.setting}), and whether a proxy or a login page is "
            "in the way",
        )


S3_API = Api("an S3 endpoint", (b"\r\nx-amz-",), "AWS_ENDPOINT_URL")
AZURE_API = Api("an Azure Blob endpoint", (b"\r\nx-ms-",), "AZURE_STORAGE_ENDPOINT")
GCS_API = Api("a Google Cloud Storage endpoint", (b"\r\nx-goog-", b"\r\nx-guploader-"), "GCS_ENDPOINT_URL")

#: What any web server answers. Others come from gateways in front of the service, too, and mean what they say.
_ANYBODYS = frozenset({300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 411, 501})
_HTML = b"\r\ncontent-type: text/html"
_TITLE = rb"(?is)<title>(.*?)</title>"
_PLAINLY = "without what the API promises"


def is_page(response: Response) -> bool:
    """Whether the body of an answer is a web page. (That the answer to a HEAD has the type of one says nothing: it is
    the default of many a server.)"""
    start = bytes(response.body[:256]).lstrip().lower()
    if not start or start.startswith((b"<?xml", b"{")):
        return False
    return start.startswith((b"<!doctype html", b"<html")) or _HTML in response.lower
