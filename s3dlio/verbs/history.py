"""The verbs for versions of objects, and for uploads in parts that were never completed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, ObjectNotFoundError
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.summary import TransferSummary
from s3dlio.types import Conditions, PutOptions, UploadEntry, VersionEntry, VersionPage
from s3dlio.uri import URI
from s3dlio.wording import either, option


class ObjectVersion(NamedTuple):
    """One version of an object, or the marker of its deletion.

    ``is_latest``: a read without a version finds it; with ``is_delete_marker``, that there is nothing any more.
    ``size`` is in bytes, ``last_modified`` RFC 3339.
    """

    uri: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str | None
    last_modified: str | None
    storage_class: str | None


class IncompleteUpload(NamedTuple):
    """An upload in parts that was neither completed nor aborted; ``initiated`` is RFC 3339, None where it is unknown.

    On Google Cloud Storage the ``uri`` is that of the parts which a composite upload left.
    """

    uri: str
    upload_id: str
    initiated: str | None


def version_at(store: ObjectStore, entry: VersionEntry) -> ObjectVersion:
    """An entry of a listing, by its URI."""
    return ObjectVersion(store.uri(entry.key), *entry[1:])


def list_versions(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None
) -> list[ObjectVersion]:
    """List all versions of the objects that a URI selects.

    Args:
        uri: as of :func:`list`; of a plain name, the versions of that object.
        recursive: also what is in sub-directories.
        pattern: only names in which this regular expression is found; a glob works too.

    Returns:
        The versions of one object stand together, on S3 the newest first. A bucket that keeps no versions has one of
        each object, which S3 calls ``null``.

    Raises:
        UnsupportedOperationError: the store keeps no versions, or this transport cannot list them.
    """
    from s3dlio.transfer.history import select_versions

    store, key = session.store_for(uri)
    pages = select_versions(store, key, recursive=recursive, pattern=pattern)
    return [version_at(store, entry) for page in pages for entry in page.versions]


def restore_version(session: Session, uri: URI, version_id: str | None = None) -> str | None:
    """Make an older version of an object the latest again, by a copy inside the service; nothing is lost.

    Args:
        uri: the object.
        version_id: which version; without, the newest of an object that was deleted.

    Returns:
        The version that is the latest now, where the service tells it.

    Raises:
        ObjectNotFoundError: there is no such version.
        ConfigError: the object is there, and no ``version_id`` says which of its versions is meant.
        UnsupportedOperationError: the store keeps no versions.
    """
    store, key = session.store_for(uri)
    store.check_key(key, "RESTORE")
    size: int | None = None
    if version_id is None:
        newest = version_to_restore(store, key)
        version_id, size = newest.version_id, newest.size
    elif _is_latest(store, key, version_id):  # S3 refuses to copy an object to itself
        return version_id
    options = PutOptions(conditions=Conditions(version_id=version_id))
    return store.execute(store.copy_call(store, key, key, options=options, size=size)).version_id


def _is_latest(store: ObjectStore, key: str, version_id: str) -> bool:
    try:
        return (store.head(key).version_id or "null") == version_id
    except ObjectNotFoundError:
        return False


def version_to_restore(store: ObjectStore, key: str) -> VersionEntry:
    """The newest version of an object that was deleted; raises as of :func:`restore_version`."""
    from s3dlio.transfer.history import versions_of

    found = versions_of(store, key)
    newest = next((version for version in found if not version.is_delete_marker), None)
    if newest is None:
        raise ObjectNotFoundError("there is no version of it", uri=store.uri(key), operation="RESTORE")
    if newest.is_latest:
        raise ConfigError(
            "the object is there: nothing of it has to be restored", uri=store.uri(key), operation="RESTORE",
            hint=f"name the {option('version_id')} of an older one ({either('list_versions', 's3-cli versions ls')})",
        )  # fmt: skip
    return newest


def delete_versions(
    session: Session, uri: URI, recursive: bool = False, pattern: str | None = None, *, max_in_flight: int = 32
) -> TransferSummary:
    """Delete every version of an object, and the markers of its deletion: nothing can be restored afterwards.

    Args:
        uri: exactly this object; with ``recursive`` all that ``list_versions(uri, recursive=True)`` shows.
        recursive: see there.
        pattern: with ``recursive``, only names in which this regular expression is found.
        max_in_flight: how many at a time.

    Raises:
        BatchError: versions could not be deleted; all were tried.
        IsDirectoryError, InvalidURIError: a directory, a container or a ``*`` without ``recursive``.
        UnsupportedOperationError: the store keeps no versions.
    """
    from s3dlio.transfer.delete import check_one
    from s3dlio.transfer.each import run_each
    from s3dlio.transfer.history import select_versions, versions_of

    if pattern is not None and not recursive:
        raise ConfigError("a pattern needs recursive=True (nothing was deleted)")
    store, key = session.store_for(uri)

    if recursive:
        pages = select_versions(store, key, recursive=True, pattern=pattern)
        found: Iterator[VersionEntry] = iter(entry for page in _one_behind(pages) for entry in page.versions)
    else:
        found = iter(versions_of(store, check_one(store, key)))
    calls = (store.delete_call(entry.key, version_id=entry.version_id) for entry in found)
    return run_each(session, calls, "DELETE", max_in_flight=max_in_flight)


def _one_behind(pages: Iterator[VersionPage]) -> Iterator[VersionPage]:
    """The pages, each when the next one has come: some services look for the version that a page ended with, which must
    not be gone by then."""
    before = next(pages, None)
    for page in pages:
        assert before is not None
        yield before
        before = page
    if before is not None:
        yield before


def list_uploads(session: Session, uri: URI, *, older_than: Any = None) -> list[IncompleteUpload]:
    """List uploads in parts that were neither completed nor aborted: their parts are paid for, and no listing of
    objects shows them.

    Args:
        uri: a bucket, a directory (with all beneath it), a glob or an object.
        older_than: only those that were begun before: an age (seconds, ``"2d"``, ``"1h30m"``) or a date; those whose
            time is unknown are left out then.

    Raises:
        ConfigError: ``older_than`` is neither.
        UnsupportedOperationError: the store has no such uploads, or this transport cannot list them.
    """
    store, key = session.store_for(uri)
    return [IncompleteUpload(store.uri(one.key), *one[1:]) for one in _uploads(store, key, older_than)]


def abort_uploads(
    session: Session, uri: URI, *, older_than: Any = None, max_in_flight: int = 32
) -> list[IncompleteUpload]:
    """Give up the uploads that :func:`list_uploads` shows, and drop their parts. One that is still being written fails:
    name an age that no living upload has.

    Args:
        uri, older_than: as of :func:`list_uploads`.
        max_in_flight: how many at a time.

    Returns:
        Those that were given up.

    Raises:
        BatchError: some could not be given up; all were tried.
    """
    from s3dlio.transfer.each import run_each

    store, key = session.store_for(uri)
    found = list(_uploads(store, key, older_than))
    calls = (store.abort_upload_call(upload.key, upload.upload_id) for upload in found)
    run_each(session, calls, "ABORT_UPLOAD", max_in_flight=max_in_flight)
    return [IncompleteUpload(store.uri(one.key), *one[1:]) for one in found]


def _uploads(store: ObjectStore, key: str, older_than: Any) -> Iterator[UploadEntry]:
    from s3dlio.config.durations import parse_moment
    from s3dlio.rfc3339 import parse_rfc3339
    from s3dlio.transfer.history import select_uploads

    before = None if older_than is None else parse_moment(older_than, name="older_than")
    for upload in select_uploads(store, key):
        begun = parse_rfc3339(upload.initiated) if upload.initiated else None
        if before is None or (begun is not None and begun < before):
            yield upload
