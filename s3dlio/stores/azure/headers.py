"""Header fields of the Azure Blob API, to and from the library's own types (Azure Storage REST API)."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from s3dlio.config.sections import AzureSettings
from s3dlio.errors import ConfigError, UnsupportedOperationError
from s3dlio.memory.sources import Source
from s3dlio.net.response import Response
from s3dlio.stores.azure import crc64
from s3dlio.stores.azure.names import check_metadata_name
from s3dlio.stores.cloud.checksums import md5_base64
from s3dlio.stores.cloud.write_outcome import MARK
from s3dlio.types import NO_OPTIONS, Conditions, ObjectMetadata, PutOptions, PutResult

Fields = list[tuple[str, str]]

#: Attribute of PutOptions and ObjectMetadata -> field of a write.
PROPERTIES = (
    ("content_type", "x-ms-blob-content-type"),
    ("content_encoding", "x-ms-blob-content-encoding"),
    ("content_language", "x-ms-blob-content-language"),
    ("content_disposition", "x-ms-blob-content-disposition"),
    ("cache_control", "x-ms-blob-cache-control"),
)
#: Option -> what to use instead.
_UNSUPPORTED = {
    **dict.fromkeys(
        ("server_side_encryption", "ssekms_key_id", "sse_customer_key"),
        "Azure encrypts every blob; scopes are set on containers",
    ),
    "expires": "say it as cache_control: max-age=SECONDS",
}
_TIER = re.compile(r"(Hot|Cool|Cold|Archive|Premium|P\d{1,2})\Z")
_MONTHS = {name: f"{number:02}" for number, name in enumerate(
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1)}  # fmt: skip


def put_fields(options: PutOptions) -> Fields:
    """The fields of a write: properties, metadata, tags, tier and conditions.

    Raises:
        ConfigError: a value that a header cannot carry, or that Azure does not know.
        UnsupportedOperationError: options that Azure has nothing for.
    """
    if options is NO_OPTIONS:
        return []
    fields = property_fields(options)
    fields += attached_fields(options)
    fields += condition_fields(options.conditions)
    return fields


#: The name of the mark of a conditional write in metadata, whose names have no hyphens here, and its header field.
MARK_NAME = MARK.replace("-", "")
MARK_FIELD = f"x-ms-meta-{MARK_NAME}"


def mark_fields(mark: str | None) -> Fields:
    """The field of the mark of a conditional write (:mod:`s3dlio.stores.cloud.write_outcome`), if it has one."""
    return [] if mark is None else [(MARK_FIELD, mark)]


def property_fields(options: PutOptions | ObjectMetadata) -> Fields:
    """Content type, encoding, language, disposition and caching."""
    fields = [(name, value) for attribute, name in PROPERTIES if (value := getattr(options, attribute))]
    for name, value in fields:
        check_field(name, value)
    return fields


def attached_fields(options: PutOptions) -> Fields:
    """Metadata, tags and access tier."""
    for attribute, hint in _UNSUPPORTED.items():
        if getattr(options, attribute) is not None:
            raise UnsupportedOperationError(f"az:// stores cannot take {attribute}", hint=hint)
    fields: Fields = []
    for name, value in (options.metadata or {}).items():
        check_metadata_name(name)
        fields.append((f"x-ms-meta-{name.lower()}", value))
    if options.tags:
        fields.append(("x-ms-tags", urlencode(dict(options.tags), quote_via=quote)))
    if options.storage_class is not None:
        if not _TIER.match(options.storage_class):
            raise ConfigError(
                f"'{options.storage_class}' is no access tier of Azure", hint="use Hot, Cool, Cold or Archive"
            )
        fields.append(("x-ms-access-tier", options.storage_class))
    for name, value in fields:
        check_field(name, value)
    return fields


def checksum_fields(source: Source, azure: AzureSettings, *, whole: bool) -> Fields:
    """The checksums that a body travels with: Azure checks one of them, and refuses requests with two. The MD5 of a
    whole blob is kept all the same.

    Args:
        source: the body.
        azure: which are wanted.
        whole: it is the blob, and no block of it.
    """
    fields: Fields = []
    if azure.crc64:
        fields.append((crc64.FIELD, crc64.crc64_base64(source)))
    if azure.content_md5 and (whole or not azure.crc64):
        fields.append(("x-ms-blob-content-md5" if azure.crc64 else "content-md5", md5_base64(source)))
    return fields


def check_field(name: str, value: str) -> None:
    """Refuse what a header cannot carry unchanged.

    Raises:
        ConfigError: control characters, characters outside ASCII, spaces at the ends.
    """
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigError(
            f"the value of '{name}' cannot be in a header: {value!r}",
            hint="use printable ASCII without spaces at the ends, or encode it",
        )


def condition_fields(conditions: Conditions) -> Fields:
    """If-Match and If-None-Match.

    Raises:
        UnsupportedOperationError: a generation, which only GCS counts.
    """
    if conditions.generation is not None:
        raise UnsupportedOperationError("az:// stores have no generations", hint="use if_match with an ETag")
    fields: Fields = []
    for name, value in (("if-match", conditions.if_match), ("if-none-match", conditions.if_none_match)):
        if value is not None:
            check_field(name, value)
            fields.append((name, value))
    return fields


def metadata_of(response: Response, size: int) -> ObjectMetadata:
    """The blob's metadata from the head of an answer; ``size`` is that of the whole blob."""
    header = response.header
    user = {}
    if b"\r\nx-ms-meta-" in response.lower:
        user = {name[10:]: value for name, value in response.fields() if name.startswith("x-ms-meta-")}
        user.pop(MARK_NAME, None)
    return ObjectMetadata(
        size=size,
        etag=header(b"etag"),
        version_id=header(b"x-ms-version-id"),
        last_modified=rfc3339_of_http_date(header(b"last-modified")),
        content_type=header(b"content-type"),
        content_language=header(b"content-language"),
        content_encoding=header(b"content-encoding"),
        cache_control=header(b"cache-control"),
        content_disposition=header(b"content-disposition"),
        storage_class=header(b"x-ms-access-tier"),
        server_side_encryption="AES256" if header(b"x-ms-server-encrypted") == "true" else None,
        metadata=user,
        md5=md5_of(response),
        tag_count=_count(header(b"x-ms-tag-count")),
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def result_of(response: Response, size: int) -> PutResult:
    """The result of a write from its answer; ``size`` is that of the blob."""
    return PutResult(response.header(b"etag"), response.header(b"x-ms-version-id"), size)


def md5_of(response: Response) -> str | None:
    """The MD5 of the whole blob in base64, where an answer has it: that to a range has it in a field of its own."""
    return response.header(b"x-ms-blob-content-md5") or response.header(b"content-md5")


def rfc3339_of_http_date(text: str | None) -> str | None:
    """``Fri, 20 Nov 2026 23:52:48 GMT`` as ``2026-11-20T23:52:48Z`` (always this form: RFC 9110, 5.6.7)."""
    if text is None or len(text) != 29 or text[8:11] not in _MONTHS:
        return None
    return f"{text[12:16]}-{_MONTHS[text[8:11]]}-{text[5:7]}T{text[17:25]}Z"
