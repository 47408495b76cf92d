"""What boto3 answers, in the library's own types."""

from __future__ import annotations

from typing import Any

from s3dlio.stores.cloud.attempts import MARK
from s3dlio.stores.s3.headers import crc32c_of
from s3dlio.types import ObjectMetadata


def time_of(moment: Any) -> str | None:
    """A moment as RFC 3339 has it."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def metadata_of(answer: Any, size: int) -> ObjectMetadata:
    """What the answer to a read or a head tells about an object of ``size`` bytes."""
    return ObjectMetadata(
        size=size,
        etag=answer.get("ETag"),
        version_id=answer.get("VersionId"),
        last_modified=time_of(answer.get("LastModified")),
        content_type=answer.get("ContentType"),
        content_language=answer.get("ContentLanguage"),
        content_encoding=answer.get("ContentEncoding"),
        cache_control=answer.get("CacheControl"),
        content_disposition=answer.get("ContentDisposition"),
        expires=answer.get("ExpiresString"),
        storage_class=answer.get("StorageClass"),
        server_side_encryption=answer.get("ServerSideEncryption"),
        ssekms_key_id=answer.get("SSEKMSKeyId"),
        sse_customer_algorithm=answer.get("SSECustomerAlgorithm"),
        replication_status=answer.get("ReplicationStatus"),
        metadata={name: value for name, value in answer.get("Metadata", {}).items() if name != MARK},
        crc32c=crc32c_of(answer.get("ChecksumCRC32C"), answer.get("ChecksumType")),
    )
