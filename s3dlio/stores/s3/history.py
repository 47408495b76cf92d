"""Versions of objects, and uploads in parts that were never completed (Amazon S3 API Reference, ListObjectVersions,
ListMultipartUploads, AbortMultipartUpload).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from s3dlio.errors import ProtocolError
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.markup import child_text, children, decoded, local, size_of, tree
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.paging import check_listing
from s3dlio.stores.s3.service import S3Service
from s3dlio.types import ListPage, UploadEntry, VersionEntry, VersionPage

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Stands between the two markers of a next page: no XML carries it.
_BETWEEN = "\0"


def versions_page(
    service: S3Service, prefix: str, recursive: bool, token: str | None
) -> Steps[tuple[VersionPage, str | None]]:
    """One page of versions, and the token of the next; as of ``HistoryStore.list_versions``."""
    query = [("encoding-type", "url"), ("prefix", prefix), ("versions", "")]
    if not recursive:
        query.append(("delimiter", "/"))
    query += _markers(token, "version-id-marker")
    response = yield from service.send(service.request("GET", "", encode_query(sorted(query))), "")
    page, following = service.parsed(response, parse_versions)
    check_listing(ListPage([version.key for version in page.versions], page.prefixes), prefix)
    return page, _checked(following, token)


def uploads_page(
    service: S3Service, prefix: str, token: str | None
) -> Steps[tuple[list[UploadEntry], str | None]]:
    """One page of open uploads, and the token of the next."""
    asked = prefix[: prefix.rfind("/") + 1] if service.is_directory else prefix
    query = [("encoding-type", "url"), ("prefix", asked), ("uploads", ""), *_markers(token, "upload-id-marker")]
    response = yield from service.send(service.request("GET", "", encode_query(sorted(query))), "")
    uploads, following = service.parsed(response, parse_uploads)
    check_listing(ListPage([upload.key for upload in uploads]), asked)
    return [upload for upload in uploads if upload.key.startswith(prefix)], _checked(following, token)


def abort_upload(service: S3Service, key: str, upload_id: str) -> Steps[None]:
    """Give an upload up; one that is not there is no error."""
    request = service.request("DELETE", key, encode_query([("uploadId", upload_id)]))
    response = yield from service.send(request, key, (200, 204, 404))
    if response.status == 404 and b"NoSuchUpload" not in response.body:
        raise service.fail(response, key)


def _markers(token: str | None, second: str) -> list[tuple[str, str]]:
    if token is None:
        return []
    key, _, other = token.partition(_BETWEEN)
    return [("key-marker", key), *([(second, other)] if other else [])]


def _checked(following: str | None, token: str | None) -> str | None:
    if following is not None and following == token:
        raise ProtocolError("the listing does not get on: the markers of the next page are those of this one")
    return following


def parse_versions(body: bytes | bytearray) -> tuple[VersionPage, str | None]:
    """A page of ListObjectVersions and the token of the next.

    Raises:
        ProtocolError: the body is not a whole listing of versions.
    """
    found = tree(decoded(body), "ListVersionsResult")
    encoded = (child_text(found, "EncodingType") or "").strip() == "url"
    versions = [_version(item, encoded) for item in found if local(item) in ("Version", "DeleteMarker")]
    # The newest first, as Amazon has them: others list the marks of deletions behind all versions.
    versions.sort(key=lambda version: (version.is_latest, version.last_modified or ""), reverse=True)
    versions.sort(key=lambda version: version.key)
    folders = [_text(folder, "Prefix", encoded) for folder in children(found, "CommonPrefixes")]
    return VersionPage(versions, folders), _following(found, "NextVersionIdMarker", encoded)


def parse_uploads(body: bytes | bytearray) -> tuple[list[UploadEntry], str | None]:
    """A page of ListMultipartUploads and the token of the next.

    Raises:
        ProtocolError: the body is not a whole listing of uploads.
    """
    found = tree(decoded(body), "ListMultipartUploadsResult")
    encoded = (child_text(found, "EncodingType") or "").strip() == "url"
    uploads = [
        UploadEntry(_text(item, "Key", encoded), child_text(item, "UploadId") or "", child_text(item, "Initiated"))
        for item in children(found, "Upload")
    ]
    return uploads, _following(found, "NextUploadIdMarker", encoded)


def _version(item: Element, encoded: bool) -> VersionEntry:
    return VersionEntry(
        _text(item, "Key", encoded),
        child_text(item, "VersionId") or "null",
        (child_text(item, "IsLatest") or "").strip().lower() == "true",
        local(item) == "DeleteMarker",
        size_of((child_text(item, "Size") or "0").strip()),
        *(child_text(item, name) for name in ("ETag", "LastModified", "StorageClass")),
    )


def _text(item: Element, name: str, encoded: bool) -> str:
    text = child_text(item, name) or ""
    return unquote_plus(text) if encoded else text


def _following(found: Element, second: str, encoded: bool) -> str | None:
    if (child_text(found, "IsTruncated") or "").strip().lower() != "true":
        return None
    key = _text(found, "NextKeyMarker", encoded)
    if not key:
        raise ProtocolError("a truncated listing without the marker of its next page")
    return f"{key}{_BETWEEN}{child_text(found, second) or ''}"
