"""What boto3 is asked for, from the library's own types."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from s3dlio import records
from s3dlio.net.dates import moment_of
from s3dlio.stores.s3.headers import KMS, put_fields, read_fields
from s3dlio.types import Conditions, ObjectMetadata, PutOptions

log = logging.getLogger("s3dlio.s3")

_ARGUMENTS = (
    ("content_type", "ContentType"),
    ("content_encoding", "ContentEncoding"),
    ("content_language", "ContentLanguage"),
    ("content_disposition", "ContentDisposition"),
    ("cache_control", "CacheControl"),
    ("storage_class", "StorageClass"),
    ("server_side_encryption", "ServerSideEncryption"),
    ("ssekms_key_id", "SSEKMSKeyId"),
    ("sse_customer_key", "SSECustomerKey"),
)


def conditions_of(conditions: Conditions) -> dict[str, Any]:
    """Conditions, version and customer's key.

    Raises:
        ConfigError: a value that a header cannot carry.
        UnsupportedOperationError: a generation, which only GCS counts.
    """
    read_fields(conditions)
    named = {
        "IfMatch": conditions.if_match,
        "IfNoneMatch": conditions.if_none_match,
        "VersionId": conditions.version_id,
        "SSECustomerKey": conditions.sse_customer_key,
        "SSECustomerAlgorithm": conditions.sse_customer_key and "AES256",
    }
    return {name: value for name, value in named.items() if value is not None}


def put_arguments(options: PutOptions) -> dict[str, Any]:
    """What a write says besides its bytes, without its conditions.

    Raises:
        ConfigError: a value that a header cannot carry.
    """
    put_fields(options)
    arguments = {name: value for attribute, name in _ARGUMENTS if (value := getattr(options, attribute))}
    if options.sse_customer_key is not None:
        arguments["SSECustomerAlgorithm"] = "AES256"
    if options.metadata:
        arguments["Metadata"] = dict(options.metadata)
    if options.tags:
        arguments["Tagging"] = urlencode(dict(options.tags))
    if options.ssekms_key_id:
        arguments.setdefault("ServerSideEncryption", KMS)
    if options.expires:
        arguments["Expires"] = _date(options.expires)
    return arguments


def copy_arguments(options: PutOptions, source: ObjectMetadata, *, replace: bool) -> dict[str, Any]:
    """What a copy says: all that ``options`` do not is that of its source.

    Args:
        options: of the copy.
        source: what is known of its source.
        replace: nothing is carried over by the service, so all is said.
    """
    arguments = put_arguments(options.completed_from(source))
    if options.conditions.sse_customer_key is not None:
        arguments["CopySourceSSECustomerKey"] = options.conditions.sse_customer_key
        arguments["CopySourceSSECustomerAlgorithm"] = "AES256"
    if options.replaces_metadata() or replace:
        arguments["MetadataDirective"] = "REPLACE"
    if options.tags is not None:
        arguments["TaggingDirective"] = "REPLACE"
    of_target = records.replace(options.conditions, version_id=None, sse_customer_key=None)
    return arguments | conditions_of(of_target)


def _date(expires: str) -> datetime:
    """The field Expires. What is no date, such as 0, has passed (RFC 9111, section 5.3)."""
    if (moment := moment_of(expires)) is not None:
        return moment
    log.warning("the field Expires %r is no date: what is written gets one that has passed", expires)
    return datetime.fromtimestamp(0, UTC)
