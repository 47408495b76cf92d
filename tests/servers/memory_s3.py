"""A small S3 in memory, quick enough that clients are what is measured, whose uploads in parts become objects.

It knows PUT, uploads in parts, copies, HEAD, GET (ranges too) and DELETE of objects; it checks no signatures. It counts
what it is asked for: ``GET /.counts`` answers with how many requests of each method there were, and how many bytes went
each way, since the last such request.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.base import LOOPBACK, Server

_BUFFER = 1 << 20


class MemoryS3(Server):
    """The server in a process of its own; objects are files of a folder in memory."""

    name = "memory-s3"

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    def counts(self) -> dict[str, int]:
        """What was asked for since the last call: requests by method, ``sent`` and ``received`` bytes of bodies."""
        found: dict[str, int] = self._ask("/.counts").json()
        return found

    def clear(self) -> None:
        """Remove all objects."""
        for path in (self.folder / "root").iterdir():
            if not path.name.startswith("\x02"):  # an upload that goes on
                path.unlink()

    def _launch(self) -> None:
        port = self._reserve_port()
        root = self.folder / "root"
        root.mkdir()
        self._spawn([sys.executable, "-m", "tests.servers.memory_s3", str(port), root], log="memory-s3")
        self._set_port(port)


class _Upload:
    """An upload in parts: parts of the size of the first one go where they belong, others beside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.size = 0
        self.parts: dict[int, tuple[int, bytes | None]] = {}
        self.lock = threading.Lock()


class _Served:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads: dict[str, _Upload] = {}
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def path(self, name: str) -> Path:
        return self.root / name.strip("/").replace("/", "\x01")

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number

    def take_counts(self) -> bytes:
        with self.lock:
            found, self.counts = self.counts, Counter()
        return json.dumps(found).encode()


class _Body:
    """The body of a request: of a known length, or in the chunks of aws-chunked."""

    def __init__(self, connection: _Connection, headers: dict[str, str]) -> None:
        self._connection = connection
        self._chunked = "x-amz-decoded-content-length" in headers
        self._left = 0 if self._chunked else int(headers.get("content-length", 0))
        self.size = int(headers.get("x-amz-decoded-content-length", self._left))

    def save(self, fd: int, offset: int) -> None:
        buffer = self._connection.buffer
        while self._left or self._next_chunk():
            count = self._connection.read_into(buffer[: min(self._left, len(buffer))])
            _write(fd, buffer[:count], offset)
            offset += count
            self._left -= count
            if self._chunked and not self._left:
                self._connection.line()

    def read(self) -> bytes:
        found = bytearray()
        while self._left or self._next_chunk():
            count = self._connection.read_into(self._connection.buffer[: min(self._left, _BUFFER)])
            found += self._connection.buffer[:count]
            self._left -= count
            if self._chunked and not self._left:
                self._connection.line()
        return bytes(found)

    def _next_chunk(self) -> bool:
        if not self._chunked:
            return False
        self._left = int(self._connection.line().partition(b";")[0], 16)
        if self._left:
            return True
        while self._connection.line():
            pass
        self._chunked = False
        return False


class _FullError(Exception):
    """The folder has no room left."""


class _Connection:
    def __init__(self, sock: socket.socket, served: _Served) -> None:
        self.sock = sock
        self.served = served
        self.buffer = memoryview(bytearray(_BUFFER))
        self._ahead = b""

    def run(self) -> None:
        with self.sock:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self._request():
                pass

    def line(self) -> bytes:
        while b"\r\n" not in self._ahead:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError
            self._ahead += more
        line, _, self._ahead = self._ahead.partition(b"\r\n")
        return line

    def read_into(self, place: memoryview) -> int:
        if self._ahead:
            count = min(len(place), len(self._ahead))
            place[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        count = self.sock.recv_into(place)
        if not count:
            raise ConnectionError
        return count

    def answer(self, status: str, body: bytes = b"", *headers: str, length: int | None = None) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}",
                "x-amz-request-id: 1", *headers, "", ""]  # fmt: skip
        self.sock.sendall("\r\n".join(head).encode() + body)

    def _request(self) -> bool:
        try:
            first = self.line().decode()
        except OSError:
            return False
        method, target, _ = first.split(" ")
        headers: dict[str, str] = {}
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        url = urlsplit(target)
        if url.path == "/.counts":
            self.answer("200 OK", self.served.take_counts())
            return True
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.served.count(method)
        body = _Body(self, headers)
        self.served.count("received", body.size)
        try:
            getattr(self, f"_{method.lower()}")(unquote(url.path), query, headers, body)
        except ConnectionError:
            raise
        except Exception as error:
            if method in ("PUT", "POST"):  # the client's error says what went wrong here
                text = f"<Error><Code>InternalError</Code><Message>{error!r}</Message></Error>"
                self.answer("500 Internal Server Error", text.encode(), "Connection: close")
            raise
        return True

    def _put(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        path = self.served.path(name)
        if "uploadId" in query:
            self._part(self.served.uploads[query["uploadId"]], int(query["partNumber"]), body)
        elif source := headers.get("x-amz-copy-source"):
            path.unlink(missing_ok=True)
            os.link(self.served.path(unquote(source)), path)
            self.answer("200 OK", b'<CopyObjectResult><ETag>"copied"</ETag></CopyObjectResult>')
        elif headers.get("if-none-match") == "*" and path.exists():
            body.read()
            self.answer("412 Precondition Failed", b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            new = path.with_name(f"\x02{threading.get_ident()}")
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            body.save(fd, 0)
            os.close(fd)
            new.rename(path)
            self.answer("200 OK", b"", f"ETag: {_etag(path)}")

    def _part(self, upload: _Upload, number: int, body: _Body) -> None:
        with upload.lock:
            upload.size = upload.size or body.size
        if body.size == upload.size:
            body.save(upload.fd, (number - 1) * body.size)
            upload.parts[number] = body.size, None
        else:
            data = body.read()
            upload.parts[number] = len(data), data
        self.answer("200 OK", b"", f'ETag: "part-{number}"')

    def _post(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        served = self.served
        body.read()
        if "uploads" in query:
            number = str(len(served.uploads) + 1) + os.urandom(8).hex()
            served.uploads[number] = _Upload(served.root / f"\x02{number}")
            text = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            self.answer("200 OK", text.encode())
            return
        upload = served.uploads.pop(query["uploadId"])
        offset = 0
        for number in sorted(upload.parts):
            size, data = upload.parts[number]
            assert data is not None or offset == (number - 1) * upload.size
            if data is not None:
                _write(upload.fd, data, offset)
            offset += size
        os.close(upload.fd)
        path = served.path(name)
        upload.path.rename(path)
        self.answer("200 OK", f"<CompleteMultipartUploadResult><ETag>{_etag(path)}</ETag>"
                    "</CompleteMultipartUploadResult>".encode())  # fmt: skip

    def _delete(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        if "uploadId" in query and (upload := self.served.uploads.pop(query["uploadId"], None)):
            os.close(upload.fd)
            upload.path.unlink()
        else:
            self.served.path(name).unlink(missing_ok=True)
        self.answer("204 No Content")

    def _head(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        self._get(name, query, headers, body, with_body=False)

    def _get(
        self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body, with_body: bool = True
    ) -> None:
        path = self.served.path(name)
        if not path.is_file():
            text = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
            self.answer("404 Not Found", text if with_body else b"", "Content-Type: application/xml")
            return
        size, start, status, also = path.stat().st_size, 0, "200 OK", []
        end = size
        if (wanted := headers.get("range")) and size:
            begin, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(begin), min(size, int(last) + 1) if last else size
            status, also = "206 Partial Content", [f"Content-Range: bytes {start}-{end - 1}/{size}"]
        self.answer(status, b"", f"ETag: {_etag(path)}", "Accept-Ranges: bytes",
                    "Last-Modified: Fri, 27 Nov 2026 21:00:00 GMT", *also, length=end - start)  # fmt: skip
        if with_body:
            self.served.count("sent", end - start)
            with path.open("rb") as file:
                while start < end:
                    start += os.sendfile(self.sock.fileno(), file.fileno(), start, end - start)


def _write(fd: int, data: bytes | memoryview, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise _FullError


def _etag(path: Path) -> str:
    found = path.stat()
    return f'"{found.st_mtime_ns:x}-{found.st_ino:x}"'


def _serve(port: int, root: Path) -> None:
    served = _Served(root)
    listener = socket.create_server((LOOPBACK, port), backlog=1024)

    def run(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):  # all else is told by the thread's traceback in the server's log
            _Connection(sock, served).run()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=run, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
