"""Google Cloud Storage as its documents describe it, in memory: paging, preconditions by generation, 416, keep-alive,
batches, rewrites in stretches, compose, and resumable sessions that answer 308.

The emulator from PyPI has none of that. What no server does on demand a test asks for: ``server.faults`` is a list of
answers that are given instead of the next matching requests.

Source: Cloud Storage JSON API reference; "Resumable uploads"; "Request preconditions"; "Sending batch requests".
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import itertools
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

from tests.servers.base import LOOPBACK, Startable
from tests.servers.certs import Authority

_UNIT = 256 * 1024
_HASHES = (("crc32c", "crc32c"), ("md5", "md5Hash"))


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Stored:
    """One object."""

    data: bytes
    generation: int
    resource: dict[str, Any]


@dataclass
class Session:
    """A resumable upload on its way."""

    bucket: str
    resource: dict[str, Any]
    query: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: dict[str, Any] | None = None


@dataclass
class Fault:
    """What happens instead of an answer to the next request that matches.

    Args:
        method: of the request.
        target: a regular expression that its path and query contain.
        status: what is answered; 0: the connection is cut.
        headers: of the answer.
        body: of the answer.
        after: the request is carried out before that; only the answer is lost.
        keep: bytes of a resumable upload's body that are kept although the connection is cut; or, with a status of
            308, although all of them came.
        pause: seconds after which the request is carried out and answered like any other.
    """

    method: str
    target: str = ""
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    after: bool = False
    keep: int | None = None
    pause: float = 0.0


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    size: int


def crc32c(data: bytes) -> str:
    checksum: Any = google_crc32c.Checksum
    return base64.b64encode(checksum(data).digest()).decode()


class FullGcsServer(Startable):
    """Serve in threads of this process.

    Args:
        tls: talk TLS with a certificate of that authority.
        token: the bearer token that every request but those of upload sessions must carry.
        rewrite_step: bytes that one rewrite request copies.
    """

    name = "gcs-full"

    def __init__(self, *, tls: Authority | None = None, token: str | None = None, rewrite_step: int = 1 << 20) -> None:
        self.token = token
        self.rewrite_step = rewrite_step
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.sessions: dict[str, Session] = {}
        self.rewrites: dict[str, int] = {}
        self.faults: list[Fault] = []
        #: The last byte of what is uploaded has changed on its way.
        self.damages = False
        self.seen: list[Seen] = []
        self.connections = 0
        self.lock = threading.RLock()
        self._generations = itertools.count(time.time_ns() // 1000)
        self._names = itertools.count(1)
        self._http = _Http((LOOPBACK, 0), self)
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.cert, tls.key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.endpoint = f"{'https' if tls else 'http'}://{'localhost' if tls else LOOPBACK}:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def env(self) -> dict[str, str]:
        """The environment variables with which a client reaches this server."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint, "GCS_ENDPOINT_URL": self.endpoint,
                "GOOGLE_CLOUD_PROJECT": "s3dlio-tests"}  # fmt: skip

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def requests(self, method: str, target: str = "") -> list[Seen]:
        """The requests that came, by method and a regular expression for their target."""
        return [seen for seen in self.seen if seen.method == method and re.search(target, seen.target)]

    def fault_for(self, method: str, target: str, *, after: bool) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and re.search(fault.target, target) and fault.after == after:
                    self.faults.remove(fault)
                    return fault
        return None

    # -- objects

    def bucket(self, name: str) -> dict[str, Stored]:
        if name not in self.buckets:
            raise Refusal(404, "notFound", "The specified bucket does not exist.")
        return self.buckets[name]

    def find(self, bucket: str, name: str, query: dict[str, str]) -> Stored:
        found = self.bucket(bucket).get(name)
        wanted = query.get("generation") or query.get("sourceGeneration")
        if found is None or (wanted and int(wanted) != found.generation):
            raise Refusal(404, "notFound", f"No such object: {bucket}/{name}")
        return found

    def check(self, bucket: str, name: str, query: dict[str, str]) -> None:
        """ifGenerationMatch: 0 means that there is none."""
        wanted = query.get("ifGenerationMatch")
        found = self.bucket(bucket).get(name)
        if wanted is not None and int(wanted) != (found.generation if found else 0):
            raise Refusal(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")

    def store(
        self, bucket: str, resource: dict[str, Any], data: bytes, query: dict[str, str], *, composed: bool = False
    ) -> dict[str, Any]:
        name = resource["name"]
        if not name or len(name.encode()) > 1024 or name in (".", "..") or re.search("[\r\n]", name):
            raise Refusal(400, "invalid", f"Invalid object name: {name!r}")
        with self.lock:
            self.check(bucket, name, query)
            if self.damages:
                data = data[:-1] + bytes([data[-1] ^ 1])
            crc = crc32c(data)
            if resource.get("crc32c", crc) != crc:
                raise Refusal(400, "invalid", f'Provided CRC32C "{resource["crc32c"]}" doesn\'t match "{crc}".')
            generation = next(self._generations)
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            whole = {
                "kind": "storage#object", "contentType": "application/octet-stream", "storageClass": "STANDARD",
                **resource, "bucket": bucket, "generation": str(generation), "metageneration": "1",
                "size": str(len(data)), "crc32c": crc, "etag": f"C{generation:x}=", "timeCreated": now, "updated": now,
            }  # fmt: skip
            if not composed:
                whole["md5Hash"] = base64.b64encode(hashlib.md5(data).digest()).decode()
            self.bucket(bucket)[name] = Stored(data, generation, whole)
            return whole


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], owner: FullGcsServer) -> None:
        self.owner = owner
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid-answer is what the tests are about."""


Route = tuple[str, str, Callable[..., None]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: _Http

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self) -> None:
        owner = self.server.owner
        size = int(self.headers.get("content-length") or 0)
        fields = {name.lower(): value for name, value in self.headers.items()}
        owner.seen.append(Seen(self.command, self.path, fields, size))
        fault = owner.fault_for(self.command, self.path, after=False)
        if fault is not None and fault.keep is not None:
            self._keep_some(fault.keep, size, cut=fault.status == 0)
            return
        self.body = self.rfile.read(size)
        if fault is not None and fault.pause:
            time.sleep(fault.pause)
        elif fault is not None:
            self._fail(fault)
            return
        self.late = owner.fault_for(self.command, self.path, after=True)
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        try:
            if owner.token and "upload_id" not in self.query and fields.get("authorization") != f"Bearer {owner.token}":
                raise Refusal(401, "authError", "Invalid Credentials")
            self._route(parts.path)
        except Refusal as refusal:
            self._refuse(refusal)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _route(self, path: str) -> None:
        for method, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                act(self, *[unquote(part) for part in match.groups()])
                return
        raise Refusal(404, "notFound", "Not Found")

    # -- answers

    def _answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
        if self.late is not None:
            self._fail(self.late)
            return
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _json(self, found: dict[str, Any], status: int = 200, **fields: str) -> None:
        self._answer(status, json.dumps(found).encode(), {"Content-Type": "application/json", **fields})

    def _refuse(self, refusal: Refusal) -> None:
        if self.command == "GET" and "alt" in self.query:  # media downloads answer plain text
            self._answer(refusal.status, refusal.message.encode(), {"Content-Type": "text/plain"})
            return
        self._json(_explained(refusal), refusal.status)

    def _fail(self, fault: Fault) -> None:
        self.late = None
        if fault.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(fault.status, fault.body, dict(fault.headers))

    def _keep_some(self, keep: int, size: int, *, cut: bool) -> None:
        session = self.server.owner.sessions[parse_qs(urlsplit(self.path).query)["upload_id"][0]]
        session.data += self.rfile.read(keep)
        if cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.rfile.read(size - keep)
        self.late = None
        self._incomplete(session)

    def _incomplete(self, session: Session) -> None:
        kept = len(session.data) // _UNIT * _UNIT
        del session.data[kept:]
        self._answer(308, b"", {"Range": f"bytes=0-{kept - 1}"} if kept else {})

    # -- reading

    def _conditions(self, bucket: str, name: str) -> Stored:
        owner = self.server.owner
        found = owner.find(bucket, name, self.query)
        owner.check(bucket, name, self.query)
        etag = found.resource["etag"]
        if self.headers.get("if-match") not in (None, "*", etag):
            raise Refusal(412, "conditionNotMet", "The ETag is another.")
        if self.headers.get("if-none-match") in (etag, "*"):
            raise Refusal(304, "notModified", "")
        return found

    def get_object(self, bucket: str, name: str) -> None:
        if self.query.get("alt") == "media":
            self.get_media(bucket, name)
        else:
            self._json(self._conditions(bucket, name).resource)

    def _check_key(self, found: Stored, prefix: str = "x-goog-encryption") -> None:
        """What was written with a customer's key is read with that key."""
        needed = found.resource.get("customerEncryption", {}).get("keySha256")
        if self.headers.get(f"{prefix}-key-sha256") != needed:
            raise Refusal(400, "resourceIsEncryptedWithCustomerEncryptionKey", "Another encryption key is needed.")

    def _encrypted(self, resource: dict[str, Any]) -> dict[str, Any]:
        """A resource with what the request says of a customer's key."""
        sha256 = self.headers.get("x-goog-encryption-key-sha256")
        if sha256 is None:
            return resource
        return {**resource, "customerEncryption": {"encryptionAlgorithm": "AES256", "keySha256": sha256}}

    def get_media(self, bucket: str, name: str) -> None:
        found = self._conditions(bucket, name)
        self._check_key(found)
        resource, data, status = found.resource, found.data, 200
        fields = {
            "Content-Type": resource["contentType"],
            "ETag": resource["etag"],
            "X-Goog-Generation": resource["generation"],
            "X-Goog-Hash": ",".join(f"{name}={resource[of]}" for name, of in _HASHES if of in resource),
            "X-Goog-Storage-Class": resource["storageClass"],
            "X-Goog-Stored-Content-Length": resource["size"],
            "Cache-Control": resource.get("cacheControl", "private, max-age=0"),
        }
        if "contentEncoding" in resource:
            fields["Content-Encoding"] = fields["X-Goog-Stored-Content-Encoding"] = resource["contentEncoding"]
        if wanted := self.headers.get("range"):
            match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
            assert match
            first, last = int(match[1] or 0), min(int(match[2] or len(data)), len(data) - 1)
            if not match[1]:
                first, last = max(0, len(data) - int(match[2])), len(data) - 1
            if first >= len(data):
                raise Refusal(416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.")
            fields["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        self._answer(status, data, fields)

    def list_objects(self, bucket: str) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        start = max(self.query.get("startOffset", ""), self.query.get("pageToken", ""))
        limit = min(int(self.query.get("maxResults", 1000)), 1000)
        with self.server.owner.lock:
            names = sorted(name for name in self.server.owner.bucket(bucket) if name.startswith(prefix))
        names = [name for name in names if name >= start]
        items: list[str] = []
        prefixes: dict[str, None] = {}
        token = None
        for name in names:
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            folder = name[: cut + len(delimiter or "")] if cut >= 0 else None
            if folder in prefixes:
                continue
            if len(items) + len(prefixes) == limit:
                token = name
                break
            if folder is None:
                items.append(name)
            else:
                prefixes[folder] = None
        found: dict[str, Any] = {"kind": "storage#objects"}
        if items:
            objects = self.server.owner.bucket(bucket)
            found["items"] = [objects[name].resource for name in items if name in objects]
        if prefixes:
            found["prefixes"] = list(prefixes)
        if token is not None:
            found["nextPageToken"] = token
        self._json(found)

    # -- writing

    def upload(self, bucket: str) -> None:
        owner, kind = self.server.owner, self.query["uploadType"]
        owner.bucket(bucket)
        media = self.headers.get("content-type", "application/octet-stream")
        if kind == "media":
            resource = {"name": self.query["name"], "contentType": media}
            if given := self.headers.get("x-goog-hash"):
                resource["crc32c"] = given.removeprefix("crc32c=")
            self._json(owner.store(bucket, self._encrypted(resource), self.body, self.query))
        elif kind == "multipart":
            resource, data = _split(self.body, media)
            resource.setdefault("name", self.query.get("name", ""))
            self._json(owner.store(bucket, self._encrypted(resource), data, self.query))
        else:
            resource = json.loads(self.body or b"{}")
            resource.setdefault("name", self.query.get("name", ""))
            resource.setdefault("contentType", self.headers.get("x-upload-content-type"))
            owner.check(bucket, resource["name"], self.query)
            session = f"session-{next(owner._names)}"
            owner.sessions[session] = Session(bucket, self._encrypted(resource), self.query)
            target = f"{owner.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={session}"
            self._answer(200, b"", {"Location": target})

    def resume(self, bucket: str) -> None:
        owner = self.server.owner
        session = owner.sessions.get(self.query["upload_id"])
        if session is None:
            raise Refusal(410, "gone", "The upload session is gone.")
        assert self._encrypted(session.resource) == session.resource
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers["content-range"])
        assert match
        if session.done is None and match[1] is not None:
            first = int(match[1])
            if first > len(session.data):
                raise Refusal(503, "backendError", "bytes are missing before these")
            session.data += self.body[len(session.data) - first :]
        if session.done is None and match[3] != "*" and len(session.data) == int(match[3]):
            if given := self.headers.get("x-goog-hash"):
                session.resource["crc32c"] = given.removeprefix("crc32c=")
            session.done = owner.store(session.bucket, session.resource, bytes(session.data), session.query)
        if session.done is not None:
            self._json(session.done)
        else:
            self._incomplete(session)

    def compose(self, bucket: str, name: str) -> None:
        wanted = json.loads(self.body)
        if not 1 <= len(wanted["sourceObjects"]) <= 32:
            raise Refusal(400, "invalid", "The number of source components provided is not between 1 and 32.")
        owner = self.server.owner
        parts = [
            owner.find(bucket, item["name"], {"generation": item["generation"]} if "generation" in item else {})
            for item in wanted["sourceObjects"]
        ]
        for part in parts:
            self._check_key(part)
        resource = self._encrypted({**wanted.get("destination", {}), "name": name})
        self._json(owner.store(bucket, resource, b"".join(part.data for part in parts), self.query, composed=True))

    def rewrite(self, bucket: str, name: str, target_bucket: str, target: str) -> None:
        owner = self.server.owner
        found = owner.find(bucket, name, self.query)
        self._check_key(found, "x-goog-copy-source-encryption")
        owner.bucket(target_bucket)
        token = self.query.get("rewriteToken") or f"rewrite-{next(owner._names)}"
        done = owner.rewrites[token] = owner.rewrites.get(token, 0) + owner.rewrite_step
        size = str(len(found.data))
        if done < len(found.data):
            self._json({"done": False, "rewriteToken": token, "totalBytesRewritten": str(done), "objectSize": size})
            return
        kept = ("contentType", "contentEncoding", "contentLanguage", "cacheControl", "metadata", "storageClass")
        said = {name: value for name, value in json.loads(self.body or b"{}").items() if name != "name"}
        resource = said or {name: found.resource[name] for name in kept if name in found.resource}
        resource = self._encrypted({**resource, "name": target})
        result = owner.store(target_bucket, resource, found.data, self.query)
        self._json({"done": True, "resource": result, "totalBytesRewritten": size, "objectSize": size})

    def delete_object(self, bucket: str, name: str) -> None:
        owner = self.server.owner
        with owner.lock:
            owner.find(bucket, name, self.query)
            del owner.buckets[bucket][name]
        self._answer(204, b"", {})

    def batch(self) -> None:
        boundary = self.headers["content-type"].partition("boundary=")[2]
        answers = []
        for part in self.body.decode("latin-1").split(f"--{boundary}")[1:-1]:
            number = re.search(r"Content-ID: <(\d+)>", part)
            line = re.search(r"(?m)^DELETE /storage/v1/b/([^/]+)/o/(\S+) HTTP/1\.1", part)
            assert number
            assert line
            answers.append(
                f"--batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-{number[1]}>\r\n\r\n"
                f"{self._part_answer(line[1], unquote(line[2]))}\r\n"
            )
        body = f"{''.join(reversed(answers))}--batch_x--\r\n".encode()
        self._answer(200, body, {"Content-Type": "multipart/mixed; boundary=batch_x"})

    def _part_answer(self, bucket: str, name: str) -> str:
        owner = self.server.owner
        fault = owner.fault_for("BATCHED", name, after=False)
        try:
            if fault is not None:
                raise Refusal(fault.status, "backendError", fault.body.decode())
            with owner.lock:
                owner.find(bucket, name, {})
                del owner.buckets[bucket][name]
        except Refusal as refusal:
            text = json.dumps(_explained(refusal))
            return f"HTTP/1.1 {refusal.status} X\r\nContent-Type: application/json\r\n\r\n{text}"
        return "HTTP/1.1 204 No Content\r\n"

    # -- buckets

    def create_bucket(self) -> None:
        owner, name = self.server.owner, json.loads(self.body)["name"]
        if "project" not in self.query:
            raise Refusal(400, "required", "Required parameter: project")
        if name in owner.buckets:
            raise Refusal(409, "conflict", "Your previous request to create the named bucket succeeded.")
        owner.buckets[name] = {}
        self._json({"name": name})

    def list_buckets(self) -> None:
        names = sorted(name for name in self.server.owner.buckets if name >= self.query.get("pageToken", ""))
        page, rest = names[:50], names[50:51]
        found = {"items": [{"name": name, "timeCreated": "2026-01-01T00:00:00.000Z"} for name in page]}
        self._json({**found, **({"nextPageToken": rest[0]} if rest else {})})

    def get_bucket(self, bucket: str) -> None:
        self.server.owner.bucket(bucket)
        self._json({"name": bucket})

    def delete_bucket(self, bucket: str) -> None:
        if self.server.owner.bucket(bucket):
            raise Refusal(409, "conflict", "The bucket you tried to delete is not empty.")
        del self.server.owner.buckets[bucket]
        self._answer(204, b"", {})


def _explained(refusal: Refusal) -> dict[str, Any]:
    return {
        "error": {
            "code": refusal.status,
            "message": refusal.message,
            "errors": [{"domain": "global", "reason": refusal.reason, "message": refusal.message}],
        }
    }


def _split(body: bytes, media: str) -> tuple[dict[str, Any], bytes]:
    """Resource and bytes of a multipart/related body."""
    boundary = media.partition("boundary=")[2].strip("\"'").encode()
    _, first, rest = body.split(b"--" + boundary + b"\r\n", 2)
    resource = json.loads(first.partition(b"\r\n\r\n")[2])
    head, _, data = rest.partition(b"\r\n\r\n")
    kind = re.search(rb"(?i)content-type: *([^\r]+)", head)
    resource.setdefault("contentType", kind[1].decode() if kind else "application/octet-stream")
    return resource, data[: data.rindex(b"\r\n--" + boundary + b"--")]


_B, _O = "/storage/v1/b", r"/storage/v1/b/([^/]+)/o"
_ROUTES: tuple[Route, ...] = (
    ("GET", _B, _Handler.list_buckets),
    ("POST", _B, _Handler.create_bucket),
    ("GET", f"{_B}/([^/]+)", _Handler.get_bucket),
    ("DELETE", f"{_B}/([^/]+)", _Handler.delete_bucket),
    ("GET", _O, _Handler.list_objects),
    ("GET", f"{_O}/([^/]+)", _Handler.get_object),
    ("DELETE", f"{_O}/([^/]+)", _Handler.delete_object),
    ("GET", f"/download{_O}/([^/]+)", _Handler.get_media),
    ("POST", f"/upload{_O}", _Handler.upload),
    ("PUT", f"/upload{_O}", _Handler.resume),
    ("POST", f"{_O}/([^/]+)/compose", _Handler.compose),
    ("POST", f"{_O}/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", _Handler.rewrite),
    ("POST", "/batch/storage/v1", _Handler.batch),
)
