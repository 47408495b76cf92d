"""HTTP/1.1 as the simulated service speaks it: just enough, and strict about what the client sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote

from tests.simulation.world import World

_REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 404: "Not Found", 409: "Conflict",
            412: "Precondition Failed", 416: "Range Not Satisfiable", 503: "Slow Down"}  # fmt: skip
_REQUEST_LINE = re.compile(r"(GET|HEAD|PUT|POST|DELETE) (/\S*) HTTP/1\.1")


@dataclass
class Message:
    """A request as it has come."""

    method: str
    target: str
    headers: dict[str, str]
    length: int
    body: bytes = b""
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = dict(parse_qsl(query, keep_blank_values=True))

    @property
    def expects(self) -> bool:
        """The body waits for a go-ahead."""
        return self.headers.get("expect") == "100-continue"

    @property
    def begins_upload(self) -> bool:
        """It is CreateMultipartUpload."""
        return self.method == "POST" and "uploads" in self.query

    @property
    def hides_errors(self) -> bool:
        """The answer may be a failure with the status 200: a copy, or the end of a multipart upload."""
        return "x-amz-copy-source" in self.headers or (self.method == "POST" and "uploadId" in self.query)


@dataclass
class Answer:
    """What the service answers."""

    status: int
    body: bytes = b""
    fields: Sequence[tuple[str, str]] = ()
    chunked: bool = False

    @property
    def checked(self) -> bool:
        """A checksum shows whether the body is damaged."""
        return any(name == "x-amz-checksum-crc32c" for name, _ in self.fields)

    def render(self, *, head_only: bool, closes: bool, world: World) -> tuple[bytes, int]:
        """The bytes of the answer, and where its body begins among them."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Whatever')}", "x-amz-request-id: SIM"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        lines.append(f"Date: {formatdate(int(world.time()), usegmt=True)}")
        if closes:
            lines.append("Connection: close")
        body = b"" if head_only else self.body
        if self.chunked and not head_only:
            lines.append("Transfer-Encoding: chunked")
            body = chunks(body, world)
        elif self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        return head + body, len(head)


def chunks(body: bytes, world: World) -> bytes:
    """A body in chunks of any size."""
    out = b""
    while body:
        count = world.chance.randint(1, len(body))
        out += f"{count:x}\r\n".encode() + body[:count] + b"\r\n"
        body = body[count:]
    return out + b"0\r\n\r\n"


class Parser:
    """Takes the bytes of requests as they come.

    Args:
        on_head: called with a request whose body has not come; whether the body is wanted.
        on_message: called with a whole request.
        violate: told of what is no HTTP.
    """

    def __init__(
        self, on_head: Callable[[Message], bool], on_message: Callable[[Message], None], violate: Callable[[str], None]
    ) -> None:
        self._on_head = on_head
        self._on_message = on_message
        self._violate = violate
        self._data = bytearray()
        self._message: Message | None = None
        self._deaf = False

    @property
    def begun(self) -> bool:
        """A request has come in part."""
        return bool(self._data) or self._message is not None

    def feed(self, data: bytes) -> None:
        if self._deaf:
            return
        self._data += data
        if self._message is None:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            message = self._message = self._head(bytes(self._data[:end]))
            del self._data[: end + 4]
            if message is None or not self._on_head(message):
                self._deaf = True
                return
        message = self._message
        if message is not None and len(self._data) >= message.length:
            message.body = bytes(self._data[: message.length])
            del self._data[: message.length]
            self._message = None
            if self._data:
                self._violate(f"{len(self._data)} bytes behind a request")
            self._on_message(message)

    def _head(self, head: bytes) -> Message | None:
        first, *lines = head.decode("latin-1").split("\r\n")
        match = _REQUEST_LINE.fullmatch(first)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if match is None or "host" not in headers or len(headers) != len(lines):
            self._violate(f"no request: {head[:200]!r}")
            return None
        return Message(match[1], match[2], headers, int(headers.get("content-length", 0)))
