"""The JSON of Cloud Storage, and the header fields of its media downloads, to and from the library's own types.

Source: Cloud Storage JSON API, "Objects" and "Buckets"; Cloud Storage documentation, "Request preconditions",
"Transcoding of gzip-compressed files".
"""

from __future__ import annotations

import json
import re
from typing import Any

from s3dlio.errors import ConfigError, PreconditionFailedError, ProtocolError, UnsupportedOperationError
from s3dlio.memory import crc32c
from s3dlio.memory.sources import MemorySource
from s3dlio.net.dates import rfc3339
from s3dlio.net.message import Headers
from s3dlio.net.response import Response
from s3dlio.stores.cloud import customer_keys
from s3dlio.stores.cloud.write_outcome import MARK
from s3dlio.types import (
    NO_CONDITIONS,
    NO_OPTIONS,
    Conditions,
    ListEntry,
    ObjectMetadata,
    PutOptions,
    PutResult,
    VersionEntry,
)
from s3dlio.wording import either, option

Fields = list[tuple[str, str]]
#: The header fields of a JSON body.
JSON: Headers = (("content-type", "application/json; charset=UTF-8"),)

#: The field of PutOptions and ObjectMetadata -> the property of an object resource.
_PROPERTIES = {
    "content_type": "contentType",
    "content_encoding": "contentEncoding",
    "content_language": "contentLanguage",
    "content_disposition": "contentDisposition",
    "cache_control": "cacheControl",
    "storage_class": "storageClass",
}
#: What the entries of a listing need; a whole resource is three times as long.
LIST_FIELDS = "items(name,size,etag,updated,storageClass),prefixes,nextPageToken"
#: Likewise with the generations that were replaced or deleted.
VERSION_FIELDS = "items(name,size,etag,updated,storageClass,generation,timeDeleted),prefixes,nextPageToken"
#: What a write needs to know of its result.
PART_FIELDS = "items(name,size,generation,crc32c),nextPageToken"
RESULT_FIELDS = "etag,generation,size,crc32c"
_CRC32C = re.compile(rb"\r\nx-goog-hash:[^\r]*?crc32c=([A-Za-z0-9+/=]+)", re.IGNORECASE)
_OCTETS = "application/octet-stream"


def parse(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        ProtocolError: it is none.
    """
    try:
        found = json.loads(bytes(body))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError("the answer is not the JSON that the API promises")
    return found


def json_source(body: dict[str, Any]) -> MemorySource:
    """A JSON body."""
    return MemorySource(memoryview(json.dumps(body).encode()))


# -- writing


def properties(options: PutOptions) -> dict[str, Any]:
    """What a write sets besides the bytes, as properties of an object resource.

    Raises:
        UnsupportedOperationError: tags or an encryption that Cloud Storage has no place for.
        ConfigError: metadata that is not text.
    """
    if options is NO_OPTIONS:
        return {}
    if options.tags:
        raise UnsupportedOperationError("Google Cloud Storage has no tags on objects", hint="use metadata")
    if options.server_side_encryption:
        raise UnsupportedOperationError(
            "Google Cloud Storage always encrypts; it takes no server_side_encryption",
            hint=either(
                "name a key of Cloud KMS as ssekms_key_id, or give your own as sse_customer_key",
                "leave --sse out, or name a key of Cloud KMS by --sse-kms-key-id",
            ),
        )
    if options.expires:
        raise UnsupportedOperationError(
            "Google Cloud Storage keeps no field Expires", hint=f"say it as {option('cache_control')}: max-age=SECONDS"
        )
    found = {name: value for field, name in _PROPERTIES.items() if (value := getattr(options, field)) is not None}
    if options.metadata is not None:
        found["metadata"] = dict(options.metadata)
        for name, value in options.metadata.items():
            _check_text(name, name)
            _check_text(name, value)
    for name in _PROPERTIES.values():
        _check_text(name, found.get(name, ""))
    return found


#: A property becomes a header field when the object is read.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _check_text(name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise ConfigError(f"the text of {name!r} has a control character: {value!r}", hint="leave it out, or encode it")


def marked(properties: dict[str, Any], mark: str | None) -> dict[str, Any]:
    """Properties that also have the mark of a conditional write (:mod:`s3dlio.stores.cloud.write_outcome`)."""
    if mark is None:
        return properties
    return {**properties, "metadata": {**properties.get("metadata", {}), MARK: mark}}


def carried(found: ObjectMetadata) -> dict[str, Any]:
    """What a copy keeps of its source, where the options set nothing else."""
    kept = {name: value for field, name in _PROPERTIES.items() if (value := getattr(found, field)) is not None}
    return {**kept, "metadata": dict(found.metadata)} if found.metadata else kept


def content_type(properties: dict[str, Any]) -> str:
    """The content type for a header.

    Raises:
        ConfigError: a value that would break out of it.
    """
    value: str = properties.get("contentType", _OCTETS)
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"the content type cannot be in a header: {value!r}", hint="use printable ASCII")
    return value


def key_fields(key: bytes | None, *, of_source: bool = False) -> Fields:
    """The fields of a customer's own key: that of the object, or that of a copy's source."""
    prefix = "x-goog-copy-source-encryption" if of_source else "x-goog-encryption"
    return customer_keys.key_fields(key, prefix, "sha256")


def key_name(options: PutOptions) -> Fields:
    """The query parameter that names a key of Cloud KMS."""
    return [("kmsKeyName", options.ssekms_key_id)] if options.ssekms_key_id else []


def generation_of(conditions: Conditions) -> str | None:
    """The generation that a write may replace, 0 for none at all; None where the conditions name none."""
    if conditions.generation is not None:
        return str(conditions.generation)
    return "0" if conditions.if_none_match == "*" else None


def check_etag_conditions(conditions: Conditions, etag: str | None) -> None:
    """Refuse a write whose conditions do not hold for an object with this ETag (None: there is no object).

    Raises:
        PreconditionFailedError: the object has another ETag, or the one that it must not have.
    """
    wanted = conditions.if_match
    other = wanted is not None and (etag is None or wanted not in (etag, "*"))
    if other or (conditions.if_none_match is not None and conditions.if_none_match == etag):
        raise PreconditionFailedError("the object is another than the condition names", status=412)


def result_of(resource: dict[str, Any]) -> PutResult:
    """The result of a write, from the resource of its answer: the generation is the version."""
    return PutResult(resource.get("etag"), resource.get("generation"), int(resource.get("size", 0)))


# -- reading


def condition_fields(conditions: Conditions) -> Fields:
    """The header fields of a read's conditions, and of the customer's key that it needs."""
    if conditions is NO_CONDITIONS:
        return []
    fields = key_fields(conditions.sse_customer_key)
    for name, value in (("if-match", conditions.if_match), ("if-none-match", conditions.if_none_match)):
        if value is None:
            continue
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"an ETag cannot be {value!r}")
        fields.append((name, value))
    return fields


def condition_query(conditions: Conditions) -> Fields:
    """The query parameters of a read's or a delete's conditions: by generation."""
    if conditions is NO_CONDITIONS:
        return []
    query = []
    if conditions.version_id is not None:
        query.append(("generation", conditions.version_id))
    if conditions.generation is not None:
        query.append(("ifGenerationMatch", str(conditions.generation)))
    return query


def metadata_of(resource: dict[str, Any]) -> ObjectMetadata:
    """The metadata in an object resource."""
    get = resource.get
    return ObjectMetadata(
        size=int(resource["size"]),
        etag=get("etag"),
        version_id=get("generation"),
        last_modified=get("updated"),
        content_type=get("contentType"),
        content_language=get("contentLanguage"),
        content_encoding=get("contentEncoding"),
        cache_control=get("cacheControl"),
        content_disposition=get("contentDisposition"),
        storage_class=get("storageClass"),
        ssekms_key_id=get("kmsKeyName"),
        sse_customer_algorithm=get("customerEncryption", {}).get("encryptionAlgorithm"),
        metadata={name: value for name, value in (get("metadata") or {}).items() if name != MARK},
        crc32c=crc32c.from_base64(resource["crc32c"]) if get("crc32c") else None,
        md5=get("md5Hash"),
    )


def metadata_of_media(response: Response, size: int) -> ObjectMetadata:
    """The metadata in the head of a media download; ``size`` is that of the whole object.

    The head has no custom metadata, and a Cache-Control of the service's own where the object has none.
    """
    header = response.header
    modified = header(b"last-modified")
    return ObjectMetadata(
        size=size,
        etag=header(b"etag"),
        version_id=header(b"x-goog-generation"),
        last_modified=rfc3339(modified) if modified else None,
        content_type=header(b"content-type"),
        content_language=header(b"content-language"),
        content_encoding=header(b"x-goog-stored-content-encoding") or header(b"content-encoding"),
        content_disposition=header(b"content-disposition"),
        storage_class=header(b"x-goog-storage-class"),
        sse_customer_algorithm=header(b"x-goog-encryption-algorithm"),
        crc32c=crc32c_of(response),
    )


def crc32c_of(response: Response) -> int | None:
    """The CRC32C of the whole object, where an answer has it and the bytes come as they are stored: the checksum
    of a body that was decompressed on the way is that of the compressed bytes."""
    found = _CRC32C.search(response.head)
    if found is None:
        return None
    stored = response.header(b"x-goog-stored-content-encoding")
    if stored == "gzip" and response.header(b"content-encoding") != "gzip":
        return None
    return crc32c.from_base64(found[1].decode())


def version_of(item: dict[str, Any]) -> VersionEntry:
    """An item of a listing with all generations; those that are no longer live say when they ended."""
    latest = "timeDeleted" not in item
    return VersionEntry(
        item["name"], item["generation"], latest, False, int(item["size"]), item.get("etag"), item.get("updated"),
        item.get("storageClass"),
    )  # fmt: skip


def entry_of(item: dict[str, Any]) -> ListEntry:
    """An item of a listing."""
    return ListEntry(item["name"], int(item["size"]), item.get("etag"), item.get("updated"), item.get("storageClass"))
