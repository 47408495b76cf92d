"""What boto3 answers, in the library's own types."""

from __future__ import annotations

from typing import Any

from s3dlio.errors import S3dlioError
from s3dlio.stores.cloud.failures import error_for
from s3dlio.stores.cloud.write_outcome import MARK
from s3dlio.stores.paging import check_listing
from s3dlio.stores.s3.headers import crc32c_of
from s3dlio.stores.s3.listing import MARKER
from s3dlio.stores.s3.xml import parse_list
from s3dlio.stores.sdk.boto_client import DOCUMENT
from s3dlio.types import ListPage, ObjectMetadata, UploadEntry, VersionEntry, VersionPage


def versions_of(answer: dict[str, Any]) -> tuple[VersionPage, str | None]:
    """A page of ListObjectVersions, and the markers of the next as one text."""
    marked = [(item, False) for item in answer.get("Versions", ())]
    marked += [(item, True) for item in answer.get("DeleteMarkers", ())]
    marked.sort(key=lambda one: (bool(one[0].get("IsLatest")), one[0]["LastModified"]), reverse=True)
    marked.sort(key=lambda one: one[0]["Key"])  # the newest of each key first
    versions = [
        VersionEntry(
            item["Key"], item["VersionId"], bool(item.get("IsLatest")), deleted, item.get("Size", 0), item.get("ETag"),
            time_of(item.get("LastModified")), item.get("StorageClass"),
        )
        for item, deleted in marked
    ]  # fmt: skip
    folders = [folder["Prefix"] for folder in answer.get("CommonPrefixes", ())]
    following = f"{answer['NextKeyMarker']}\0{answer.get('NextVersionIdMarker', '')}" if answer["IsTruncated"] else None
    return VersionPage(versions, folders), following


def uploads_of(answer: dict[str, Any]) -> tuple[list[UploadEntry], str | None]:
    """A page of ListMultipartUploads, and the markers of the next as one text."""
    uploads = [
        UploadEntry(item["Key"], item["UploadId"], time_of(item.get("Initiated")))
        for item in answer.get("Uploads", ())
    ]  # fmt: skip
    following = f"{answer['NextKeyMarker']}\0{answer.get('NextUploadIdMarker', '')}" if answer["IsTruncated"] else None
    return uploads, following


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
        tag_count=answer.get("TagCount"),
        storage_class=answer.get("StorageClass"),
        server_side_encryption=answer.get("ServerSideEncryption"),
        ssekms_key_id=answer.get("SSEKMSKeyId"),
        sse_customer_algorithm=answer.get("SSECustomerAlgorithm"),
        replication_status=answer.get("ReplicationStatus"),
        metadata={name: value for name, value in answer.get("Metadata", {}).items() if name != MARK},
        crc32c=crc32c_of(answer.get("ChecksumCRC32C"), answer.get("ChecksumType")),
    )


def error_of(answer: Any, uri: str) -> S3dlioError:
    """The typed error of an answer with one; ``uri`` is what was asked for."""
    failure, about = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code = failure.get("Code")
    named = not str(code).isdigit()  # where there is no document, boto3 has the status for a code
    error = error_for(
        about.get("HTTPStatusCode", 500),
        code=code if named else None,
        message=failure.get("Message") if named else None,
        request_id=about.get("RequestId"),
        attempts=about.get("RetryAttempts", 0) + 1,
    )
    error.locate(uri, None)
    return error


def page_of(answer: Any, prefix: str) -> tuple[ListPage, str | None]:
    """A page of a listing by ``prefix``, and the token of the next. It is read from the document: boto3 passes over
    what it does not know, and whoever deletes what is not listed would delete that.

    Raises:
        ProtocolError: it is no listing, contradicts itself, or is not what was asked for.
    """
    page, token, first_version = parse_list(answer[DOCUMENT])
    check_listing(page, prefix)
    return page, MARKER + token if token is not None and first_version else token
