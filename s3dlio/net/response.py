"""The head of an answer, and its body where that is collected. HTTP/1.1: RFC 9110 and RFC 9112."""

from __future__ import annotations


class Response:
    """The head of an answer, and its body where that went to no sink.

    Args:
        status: the status code.
        head: the head as received, from the status line to the last CRLF before the empty line.
    """

    __slots__ = ("attempts", "body", "head", "lower", "server", "size", "status")

    #: Which of several servers answered; not set where there is one.
    server: str

    def __init__(self, status: int, head: bytes, lower: bytes) -> None:
        self.status = status
        self.head = head
        self.lower = lower
        #: The collected body (empty when it went to a sink).
        self.body: bytes | bytearray = b""
        #: Bytes of the body, wherever it went.
        self.size = 0
        #: How often the request was sent, the second try after a stale connection included.
        self.attempts = 1

    def header(self, name: bytes) -> str | None:
        """The value of a field, or None. ``name`` is lower case. Looked up only when asked for: an email.parser
        would spend 60 us on a head of which most answers need two fields."""
        at = self.lower.find(b"\r\n" + name + b":")
        if at < 0:
            return None
        begin = at + len(name) + 3
        return self.head[begin : self.head.find(b"\r\n", begin)].strip(b" \t").decode("latin-1")

    def fields(self) -> list[tuple[str, str]]:
        """All fields in order, names in lower case."""
        found = []
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            if line:
                name, _, value = line.partition(":")
                found.append((name.lower(), value.strip(" \t")))
        return found

    @property
    def reason(self) -> str:
        """The reason phrase of the status line."""
        return self.head[13 : self.head.find(b"\r\n")].decode("latin-1")

    def __repr__(self) -> str:
        return f"<Response {self.status}, {self.size} bytes>"
