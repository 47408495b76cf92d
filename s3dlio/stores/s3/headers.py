"""Header fields of the S3 API, to and from the library's own types (Amazon S3 API Reference)."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlencode

from s3dlio.errors import ConfigError, ProtocolError, UnsupportedOperationError
from s3dlio.net.dates import rfc3339
from s3dlio.net.response import Response
from s3dlio.stores.cloud import customer_keys
from s3dlio.stores.cloud.write_outcome import MARK
from s3dlio.types import NO_OPTIONS, Conditions, ObjectMetadata, PutOptions

Fields = list[tuple[str, str]]

_MD5 = re.compile(r"[0-9a-f]{32}").fullmatch

_ENCRYPTION = "x-amz-server-side-encryption"
#: What a key of KMS encrypts with.
KMS = "aws:kms"
_PLAIN_OPTIONS = (
    ("content_type", "content-type"),
    ("content_encoding", "content-encoding"),
    ("content_language", "content-language"),
    ("content_disposition", "content-disposition"),
    ("cache_control", "cache-control"),
    ("expires", "expires"),
    ("storage_class", "x-amz-storage-class"),
    ("server_side_encryption", _ENCRYPTION),
    ("ssekms_key_id", "x-amz-server-side-encryption-aws-kms-key-id"),
)


def put_fields(options: PutOptions) -> Fields:
    """The fields that carry what a write says besides its bytes, its conditions included.

    Raises:
        ConfigError: a value that a header cannot carry.
    """
    if options is NO_OPTIONS:
        return []
    fields = [(name, value) for attribute, name in _PLAIN_OPTIONS if (value := getattr(options, attribute))]
    if options.ssekms_key_id and not options.server_side_encryption:
        fields.append((_ENCRYPTION, KMS))
    metadata = {f"x-amz-meta-{name.lower()}": value for name, value in (options.metadata or {}).items()}
    if "x-amz-meta-" in metadata:
        raise ConfigError("a name of metadata is empty")
    if len(metadata) < len(options.metadata or {}):
        raise ConfigError("two names of metadata differ only in upper and lower case, which headers do not tell apart")
    fields += metadata.items()
    if options.tags:
        fields.append(("x-amz-tagging", urlencode(dict(options.tags))))
    fields += sse_customer_fields(options.sse_customer_key)
    fields += condition_fields(options.conditions)
    for name, value in fields:
        check_field(name, value)
    return [(name, value.strip(" ")) for name, value in fields]  # blanks around a value get lost on the way


def mark_fields(mark: str | None) -> Fields:
    """The field of the mark of a conditional write (:mod:`s3dlio.stores.cloud.write_outcome`), if it has one."""
    return [] if mark is None else [(f"x-amz-meta-{MARK}", mark)]


#: What the name of a field is made of (RFC 9110, section 5.6.2).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_field(name: str, value: str) -> None:
    """Refuse what would break out of a header.

    Raises:
        ConfigError: control characters, or characters outside ASCII (S3 keeps metadata in US-ASCII).
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a header", hint="use letters, digits, '-' and '_'")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"the value of '{name}' cannot be in a header: {value!r}", hint="use printable ASCII, or encode it"
        )


def sse_customer_fields(key: bytes | None, *, of_source: bool = False) -> Fields:
    """The fields of SSE-C, of the object or of the source of a copy."""
    prefix = f"x-amz-{'copy-source-' if of_source else ''}server-side-encryption-customer"
    return customer_keys.key_fields(key, prefix, "md5")


def condition_fields(conditions: Conditions) -> Fields:
    """If-Match and If-None-Match.

    Raises:
        ConfigError: a value that a header cannot carry.
        UnsupportedOperationError: a generation, which only GCS counts.
    """
    if conditions.generation is not None:
        raise UnsupportedOperationError("s3:// stores have no generations", hint="use if_match with an ETag")
    fields: Fields = []
    if conditions.if_match is not None:
        check_field("if-match", conditions.if_match)
        fields.append(("if-match", conditions.if_match))
    if conditions.if_none_match is not None:
        check_field("if-none-match", conditions.if_none_match)
        fields.append(("if-none-match", conditions.if_none_match))
    return fields


def read_fields(conditions: Conditions) -> Fields:
    """The fields of a read: conditions, and the key that the object is encrypted with.

    Raises:
        ConfigError: a value that a header cannot carry.
        UnsupportedOperationError: a generation, which only GCS counts.
    """
    return [*condition_fields(conditions), *sse_customer_fields(conditions.sse_customer_key)]


def metadata_of(response: Response, size: int) -> ObjectMetadata:
    """What the head of an answer tells about the object; ``size`` is that of the whole object."""
    found = dict(reversed(response.fields()))  # of a field that comes twice, the first
    user = {}
    if b"\r\nx-amz-meta-" in response.lower:
        user = {name[11:]: value for name, value in found.items() if name.startswith("x-amz-meta-")}
        user.pop(MARK, None)
    header = found.get
    return ObjectMetadata(
        size=size,
        etag=header("etag"),
        version_id=header("x-amz-version-id"),
        last_modified=rfc3339_of_http_date(header("last-modified")),
        content_type=header("content-type"),
        content_language=header("content-language"),
        content_encoding=header("content-encoding"),
        cache_control=header("cache-control"),
        content_disposition=header("content-disposition"),
        expires=header("expires"),
        storage_class=header("x-amz-storage-class"),
        server_side_encryption=header("x-amz-server-side-encryption"),
        ssekms_key_id=header("x-amz-server-side-encryption-aws-kms-key-id"),
        sse_customer_algorithm=header("x-amz-server-side-encryption-customer-algorithm"),
        replication_status=header("x-amz-replication-status"),
        metadata=user,
        crc32c=crc32c_of(header("x-amz-checksum-crc32c"), header("x-amz-checksum-type")),
        tag_count=count_of(header("x-amz-tagging-count")),
    )


def count_of(text: str | None) -> int | None:
    """The number that a field tells; None where it tells none."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def md5_of(about: ObjectMetadata) -> str | None:
    """The MD5 of an object in base64 where its ETag is one: written in one part, and not encrypted with KMS or a
    customer's key (Amazon S3 API Reference, Object). None where a CRC32C tells more."""
    etag = (about.etag or "").strip('"')
    encrypted = about.sse_customer_algorithm or (about.server_side_encryption or "AES256") != "AES256"
    if about.crc32c is not None or encrypted or _MD5(etag) is None:
        return None
    return base64.b64encode(bytes.fromhex(etag)).decode()


def crc32c_of(text: str | None, kind: str | None = None) -> int | None:
    """The CRC32C that a field tells: base64 of 4 bytes. A checksum of checksums of parts (``...-3``, of the type
    ``COMPOSITE``) is none of the object.

    Raises:
        ProtocolError: the field holds no checksum.
    """
    if text is None or "-" in text or kind == "COMPOSITE":
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 4:
        raise ProtocolError(f"the service tells a CRC32C that is none: {text[:40]!r}")
    return int.from_bytes(raw, "big")


#: Of the form that servers use (RFC 9110, section 5.6.7): 0.6 us, against 12 for every other.
_MONTHS = {
    "Jan": "01", "Feb": "02", "Mar": "03", "Apr": "04", "May": "05", "Jun": "06",
    "Jul": "07", "Aug": "08", "Sep": "09", "Oct": "10", "Nov": "11", "Dec": "12",
}  # fmt: skip
_IMF_FIXDATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII).fullmatch


def rfc3339_of_http_date(text: str | None) -> str | None:
    """``Fri, 20 Nov 2026 23:52:48 GMT`` as ``2026-11-20T23:52:48Z``."""
    if text is None:
        return None
    month = _MONTHS.get(text[8:11])
    if month is not None and _IMF_FIXDATE(text):
        return f"{text[12:16]}-{month}-{text[5:7]}T{text[17:25]}Z"
    return rfc3339(text)
