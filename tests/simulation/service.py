"""A simulated S3: one bucket with versions by ETag, multipart uploads, listings, batch deletes, copies.

It is strict: checksums are compared, parts must fit, and a request that S3 would not understand is a violation.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from xml.sax.saxutils import escape, unescape

from s3dlio.memory import crc32c
from tests.simulation.http import Answer, Message
from tests.simulation.world import World

BUCKET = "b"
_MARK = "x-amz-meta-s3dlio-attempt"
_XML = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass
class Version:
    """An object as it was from ``since`` to ``until``."""

    data: bytes
    etag: str
    crc: int
    mark: str | None
    since: float
    until: float | None = None


@dataclass
class Upload:
    """A multipart upload."""

    key: str
    mark: str | None
    begun: float
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class Service:
    """One bucket.

    Args:
        world: in which it is.
        sends_crc: whole objects are answered with their CRC32C, where it is asked for.
    """

    def __init__(self, world: World, *, sends_crc: bool) -> None:
        self.world = world
        self.sends_crc = sends_crc
        self.objects: dict[str, Version] = {}
        #: Every version that there was, the last one too.
        self.versions: dict[str, list[Version]] = {}
        self.uploads: dict[str, Upload] = {}
        #: Uploads that are over.
        self.ended: set[str] = set()
        self.page = world.chance.choice((2, 3, 1000))
        #: What S3 leaves open: parts that were on their way bring an aborted upload back.
        self._numbers = 0

    # -- what is there

    def store(self, key: str, data: bytes, etag: str | None = None, mark: str | None = None) -> Version:
        self.remove(key)
        etag = etag or f'"{hashlib.md5(data).hexdigest()}"'
        version = Version(data, etag, crc32c.crc32c(data), mark, self.world.now)
        self.objects[key] = version
        self.versions.setdefault(key, []).append(version)
        self.world.note("stored", key, len(data), etag)
        return version

    def remove(self, key: str) -> None:
        if (old := self.objects.pop(key, None)) is not None:
            old.until = self.world.now

    # -- requests

    def handle(self, message: Message) -> Answer:
        """Do what a request asks for."""
        path = message.path.removeprefix(f"/{BUCKET}")
        if path == message.path:
            self.world.violate(f"a request beside the bucket: {message.target}")
            return self._error(400, "InvalidURI")
        sent = message.headers.get("x-amz-checksum-crc32c")
        if sent is not None and message.method == "PUT" and sent != _base64(crc32c.crc32c(message.body)):
            self.world.violate(f"{message.target}: the body has not the CRC32C that its head names")
            return self._error(400, "BadDigest")
        key = path.removeprefix("/")
        if key:
            return self._of_object(message, key)
        return self._of_bucket(message)

    def _of_object(self, message: Message, key: str) -> Answer:
        method, query = message.method, message.query
        if method in ("GET", "HEAD"):
            return self._list_parts(key, query) if "uploadId" in query else self._get(message, key)
        if method == "PUT" and "uploadId" in query:
            return self._put_part(message, key)
        if method == "PUT":
            return self._copy(message, key) if "x-amz-copy-source" in message.headers else self._put(message, key)
        if method == "POST" and "uploads" in query:
            return self._begin_upload(message, key)
        if method == "POST" and "uploadId" in query:
            return self._complete(message, key)
        if method == "DELETE" and "uploadId" in query:
            return self._abort(key, query["uploadId"])
        if method == "DELETE":
            self.remove(key)
            return Answer(204)
        self.world.violate(f"no request of S3: {method} {message.target}")
        return self._error(400, "InvalidRequest")

    def _of_bucket(self, message: Message) -> Answer:
        if message.method == "POST" and "delete" in message.query:
            return self._delete_many(message)
        if message.method == "GET" and "uploads" in message.query:
            return self._list_uploads(message.query.get("prefix", ""))
        if message.method == "GET" and message.query.get("list-type") == "2":
            return self._list(message.query)
        self.world.violate(f"no request of S3: {message.method} {message.target}")
        return self._error(400, "InvalidRequest")

    # -- objects

    def _get(self, message: Message, key: str) -> Answer:
        found = self.objects.get(key)
        if found is None:
            return self._error(404, "NoSuchKey")
        headers = message.headers
        if headers.get("if-match", found.etag) != found.etag:
            return self._error(412, "PreconditionFailed")
        fields = [("ETag", found.etag), ("Last-Modified", formatdate(int(self.world.time()), usegmt=True)),
                  ("Accept-Ranges", "bytes")]  # fmt: skip
        if found.mark is not None:
            fields.append((_MARK, found.mark))
        wanted = headers.get("range")
        if self.sends_crc and headers.get("x-amz-checksum-mode") == "ENABLED" and wanted is None:
            fields += [("x-amz-checksum-crc32c", _base64(found.crc)), ("x-amz-checksum-type", "FULL_OBJECT")]
        if wanted is None:
            return Answer(200, found.data, fields)
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        assert match is not None, wanted
        size = len(found.data)
        if match[1]:
            first, last = int(match[1]), min(size - 1, int(match[2]) if match[2] else size - 1)
        else:
            first, last = max(0, size - int(match[2])), size - 1
        if first >= size:
            return Answer(416, _error_body("InvalidRange"), [("Content-Range", f"bytes */{size}")])
        fields.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        return Answer(206, found.data[first : last + 1], fields)

    def _refused(self, message: Message, key: str) -> Answer | None:
        """The answer to a conditional write whose condition does not hold."""
        found, headers = self.objects.get(key), message.headers
        if headers.get("if-none-match") == "*" and found is not None:
            return self._error(412, "PreconditionFailed")
        if (etag := headers.get("if-match")) is not None:
            if found is None:
                return self._error(404, "NoSuchKey")
            if found.etag != etag:
                return self._error(412, "PreconditionFailed")
        return None

    def _put(self, message: Message, key: str) -> Answer:
        if (refused := self._refused(message, key)) is not None:
            return refused
        if "if-none-match" in message.headers and self.world.chance.random() < 0.02:
            return self._error(409, "ConditionalRequestConflict")
        version = self.store(key, message.body, mark=message.headers.get(_MARK))
        return Answer(200, b"", [("ETag", version.etag)])

    def _copy(self, message: Message, key: str) -> Answer:
        source = message.headers["x-amz-copy-source"].removeprefix(f"/{BUCKET}/")
        found = self.objects.get(source)
        if found is None:
            return self._error(404, "NoSuchKey")
        version = self.store(key, found.data, found.etag)
        return Answer(200, f"{_XML}<CopyObjectResult><ETag>{escape(version.etag)}</ETag></CopyObjectResult>".encode())

    # -- uploads

    def _begin_upload(self, message: Message, key: str) -> Answer:
        self._numbers += 1
        name = f"upload-{self._numbers}"
        self.uploads[name] = Upload(key, message.headers.get(_MARK), self.world.time())
        self.world.note("upload", name)
        body = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
        return Answer(200, (_XML + body).encode())

    def _put_part(self, message: Message, key: str) -> Answer:
        upload = self.uploads.get(message.query["uploadId"])
        if upload is None:
            return self._error(404, "NoSuchUpload")
        etag = f'"{hashlib.md5(message.body).hexdigest()}"'
        upload.parts[int(message.query["partNumber"])] = etag, message.body
        return Answer(200, b"", [("ETag", etag)])

    def _complete(self, message: Message, key: str) -> Answer:
        name = message.query["uploadId"]
        upload = self.uploads.get(name)
        if upload is None:
            return self._error(404, "NoSuchUpload")
        if (refused := self._refused(message, key)) is not None:
            return refused
        text = message.body.decode()
        named = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag>", text)
        if [int(number) for number, _ in named] != list(range(1, len(named) + 1)):
            self.world.violate(f"parts out of order: {named}")
        for number, etag in named:
            if upload.parts.get(int(number), ("", b""))[0] != unescape(etag, {"&quot;": '"'}):
                self.world.violate(f"part {number} of {name} is not the one that is there")
                return self._error(400, "InvalidPart")
        data = b"".join(upload.parts[int(number)][1] for number, _ in named)
        whole = message.headers.get("x-amz-checksum-crc32c")
        if whole is not None and whole != _base64(crc32c.crc32c(data)):
            self.world.violate(f"the parts of {name} have not the CRC32C of the whole")
            return self._error(400, "BadDigest")
        del self.uploads[name]
        self.ended.add(name)
        sums = b"".join(hashlib.md5(upload.parts[int(number)][1]).digest() for number, _ in named)
        etag = f'"{hashlib.md5(sums).hexdigest()}-{len(named)}"'
        self.store(key, data, etag, upload.mark)
        body = f"<CompleteMultipartUploadResult><ETag>{escape(etag)}</ETag></CompleteMultipartUploadResult>"
        return Answer(200, (_XML + body).encode())

    def _abort(self, key: str, name: str) -> Answer:
        if self.uploads.pop(name, None) is None:
            return self._error(404, "NoSuchUpload")
        self.world.note("aborted", name)
        self.ended.add(name)
        return Answer(204)

    def _list_parts(self, key: str, query: dict[str, str]) -> Answer:
        upload = self.uploads.get(query["uploadId"])
        if upload is None:
            return self._error(404, "NoSuchUpload")
        parts = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in sorted(upload.parts)[:1])
        return Answer(200, f"{_XML}<ListPartsResult>{parts}</ListPartsResult>".encode())

    def _list_uploads(self, prefix: str) -> Answer:
        items = "".join(
            f"<Upload><Key>{upload.key}</Key><UploadId>{name}</UploadId><Initiated>{_iso(upload.begun)}</Initiated></Upload>"
            for name, upload in self.uploads.items()
            if upload.key.startswith(prefix)
        )
        return Answer(200, f"{_XML}<ListMultipartUploadsResult>{items}</ListMultipartUploadsResult>".encode())

    # -- many objects

    def _list(self, query: dict[str, str]) -> Answer:
        prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
        names = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page, more = names[: self.page], len(names) > self.page
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key].data)}</Size>"
            f"<ETag>{escape(self.objects[key].etag)}</ETag></Contents>"
            for key in page
        )
        following = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        body = (
            f"{_XML}<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{following}{items}</ListBucketResult>"
        )
        chunked = self.world.chance.random() < 0.5
        return Answer(200, body.encode(), [("Content-Type", "application/xml")], chunked=chunked)

    def _delete_many(self, message: Message) -> Answer:
        md5 = message.headers.get("content-md5")
        if md5 != base64.b64encode(hashlib.md5(message.body).digest()).decode():
            self.world.violate("a batch delete with the MD5 of another body")
        errors = ""
        for key in re.findall(r"<Key>([^<]*)</Key>", message.body.decode()):
            if self.world.chance.random() < 0.03:
                errors += f"<Error><Key>{key}</Key><Code>SlowDown</Code><Message>not now</Message></Error>"
            else:
                self.remove(unescape(key))
        return Answer(200, f"{_XML}<DeleteResult>{errors}</DeleteResult>".encode())

    def _error(self, status: int, code: str) -> Answer:
        return Answer(status, _error_body(code))


def _error_body(code: str) -> bytes:
    return f"{_XML}<Error><Code>{code}</Code><Message>as it is</Message></Error>".encode()


def _base64(crc: int) -> str:
    return crc32c.to_base64(crc)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
