"""A small S3 in memory, quick enough that clients are what is measured, whose uploads in parts become objects.

It knows PUT, uploads in parts, copies, HEAD, GET (ranges too), DELETE (also of many) and listings of objects; it checks
no signatures. Several may serve one folder: they are doors to one store. It may be held back to a rate. It counts what
it is asked for: ``GET /.counts`` answers with how many requests of each method there were, and how many bytes went each
way, since the last such request.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from tests.servers.base import LOOPBACK, Server

_BUFFER = 1 << 20


class MemoryS3(Server):
    """The server in a process of its own; objects are files of a folder in memory."""

    name = "memory-s3"

    def __init__(self, beside: MemoryS3 | None = None, rate: int = 0) -> None:
        """With *beside*, another door to the objects of that one. *rate*: bytes of bodies a second, at most."""
        super().__init__()
        self._root = beside._root if beside is not None else None
        self._rate = rate

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    def counts(self) -> dict[str, int]:
        """What was asked for since the last call: requests by method, ``sent`` and ``received`` bytes of bodies."""
        found: dict[str, int] = self._ask("/.counts").json()
        return found

    def clear(self) -> None:
        """Remove all objects."""
        assert self._root is not None
        for path in self._root.iterdir():
            if not path.name.startswith("\x02"):  # an upload that goes on
                path.unlink()

    def _launch(self) -> None:
        port = self._reserve_port()
        if self._root is None:
            self._root = self.folder / "root"
            self._root.mkdir()
        command = [sys.executable, "-m", "tests.servers.memory_s3", str(port), self._root, str(self._rate)]
        self._spawn(command, log="memory-s3")
        self._set_port(port)


class _Upload:
    """An upload in parts: parts of the size of the first one go where they belong, others beside. Any server of the
    folder may get any of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR)
        self._size = 0
        self._lock = threading.Lock()

    def part_size(self, size: int = 0) -> int:
        """The size of the first part, which is this one if it was the first."""
        with self._lock:
            if not self._size:
                mark, new = self.beside("size"), self.beside(f"new-{os.getpid()}")
                new.write_text(str(size))
                with contextlib.suppress(FileExistsError):
                    os.link(new, mark)
                new.unlink()
                self._size = int(mark.read_text())
            return self._size

    def beside(self, what: object) -> Path:
        """A file of this upload."""
        return self.path.with_name(f"{self.path.name}.{what}")

    def end(self) -> None:
        """Forget it; its object, if there is one, has another name by now."""
        os.close(self.fd)
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class _Served:
    def __init__(self, root: Path, rate: int) -> None:
        self.root = root
        self.uploads: dict[str, _Upload] = {}
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._rate = rate
        self._free_at = 0.0

    def upload(self, name: str) -> _Upload:
        """An upload that has begun, here or at another server of the folder."""
        path = self.root / f"\x02{name}"
        if not path.exists():
            raise KeyError(name)
        with self.lock:
            found = self.uploads.get(name)
            if found is None:
                found = self.uploads[name] = _Upload(path)
            return found

    def pace(self, size: int) -> None:
        """Wait until *size* bytes more may pass."""
        if self._rate:
            with self.lock:
                now = time.monotonic()
                begin = max(now, self._free_at)
                self._free_at = begin + size / self._rate
            time.sleep(begin - now)

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
            self._connection.served.pace(count)
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
            self._part(self.served.upload(query["uploadId"]), int(query["partNumber"]), body)
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
        if body.size == upload.part_size(body.size):
            body.save(upload.fd, (number - 1) * body.size)
        else:
            upload.beside(number).write_bytes(body.read())
        self.answer("200 OK", b"", f'ETag: "part-{number}"')

    def _post(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        served = self.served
        document = body.read()
        if "delete" in query:
            for key in re.findall(rb"<Key>(.*?)</Key>", document):
                served.path(f"{name}/{unescape(key.decode())}").unlink(missing_ok=True)
            self.answer("200 OK", b"<DeleteResult></DeleteResult>")
            return
        if "uploads" in query:
            number = str(len(served.uploads) + 1) + os.urandom(8).hex()
            (served.root / f"\x02{number}").touch()
            text = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            self.answer("200 OK", text.encode())
            return
        upload = served.upload(query["uploadId"])
        size, offset = upload.part_size(), 0
        moved: list[tuple[int, bytes]] = []
        for number in sorted(map(int, re.findall(rb"<PartNumber>(\d+)</PartNumber>", document))):
            other, place = upload.beside(number), (number - 1) * size
            if other.exists():
                moved.append((offset, other.read_bytes()))
            elif offset != place:  # the last part, which is shorter, came first
                moved.append((offset, os.pread(upload.fd, size, place)))
            offset += size if not moved or moved[-1][0] != offset else len(moved[-1][1])
        for place, data in moved:
            _write(upload.fd, data, place)
        os.ftruncate(upload.fd, offset)
        path = served.path(name)
        upload.path.rename(path)
        upload.end()
        self.answer("200 OK", f"<CompleteMultipartUploadResult><ETag>{_etag(path)}</ETag>"
                    "</CompleteMultipartUploadResult>".encode())  # fmt: skip

    def _delete(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        if "uploadId" in query:
            with contextlib.suppress(KeyError):
                self.served.upload(query["uploadId"]).end()
        else:
            self.served.path(name).unlink(missing_ok=True)
        self.answer("204 No Content")

    def _head(self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body) -> None:
        self._get(name, query, headers, body, with_body=False)

    def _get(
        self, name: str, query: dict[str, str], headers: dict[str, str], body: _Body, with_body: bool = True
    ) -> None:
        if "list-type" in query:
            self._list(name.strip("/"), query)
            return
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
                    count = end - start if not self.served._rate else min(end - start, _BUFFER // 8)
                    self.served.pace(count)
                    start += os.sendfile(self.sock.fileno(), file.fileno(), start, count)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        """A page of a listing (ListObjectsV2)."""
        prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        delimiter, most = query.get("delimiter", ""), int(query.get("max-keys", 1000))
        keys = sorted(path.name.removeprefix(f"{bucket}\x01").replace("\x01", "/")
                      for path in self.served.root.iterdir() if path.name.startswith(f"{bucket}\x01"))  # fmt: skip
        found, seen, last = [], set(), ""
        for key in keys:
            skipped = key <= after or (delimiter and after.endswith("/") and key.startswith(after))
            if skipped or not key.startswith(prefix):
                continue
            if len(found) + len(seen) >= most:
                break
            cut = key.find(delimiter, len(prefix)) + 1 if delimiter else 0
            last = key[:cut] if cut else key
            if cut:
                seen.add(last)
                continue
            with contextlib.suppress(FileNotFoundError):
                path = self.served.path(f"{bucket}/{key}")
                found.append(f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size><ETag>"
                             f"{escape(_etag(path))}</ETag><LastModified>2026-11-27T21:00:00.000Z</LastModified>"
                             "</Contents>")  # fmt: skip
        else:
            last = ""
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(last)}</NextContinuationToken>"
        common = [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(seen)]
        text = (f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(found) + len(seen)}</KeyCount>"
                f"{more if last else '<IsTruncated>false</IsTruncated>'}{''.join(found)}{''.join(common)}"
                "</ListBucketResult>")  # fmt: skip
        self.answer("200 OK", text.encode(), "Content-Type: application/xml")


def _write(fd: int, data: bytes | memoryview, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise _FullError


def _etag(path: Path) -> str:
    found = path.stat()
    return f'"{found.st_mtime_ns:x}-{found.st_ino:x}"'


def _serve(port: int, root: Path, rate: int) -> None:
    served = _Served(root, rate)
    listener = socket.create_server((LOOPBACK, port), backlog=1024)

    def run(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):  # all else is told by the thread's traceback in the server's log
            _Connection(sock, served).run()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=run, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
