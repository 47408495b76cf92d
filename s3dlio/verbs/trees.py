"""The verbs for whole trees of files and objects."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.session import Session
from s3dlio.signatures import either, refuses_unknown
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import URI
from s3dlio.verbs.keywords import DownloadKeywords, UploadKeywords, limited, transfer_options

if TYPE_CHECKING:
    from s3dlio.transfer.progress import Progress
    from s3dlio.transfer.summary import TransferSummary

Sources = URI | Iterable[URI]


@refuses_unknown(TypeError, more=UploadKeywords)
def upload(
    session: Session,
    src_patterns: Sources | None = None,
    dest_prefix: URI | None = None,
    max_in_flight: int = 32,
    create_bucket: bool = False,
    *,
    src_uri: Sources | None = None,
    dest_uri: URI | None = None,
    recursive: bool = False,
    regex: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
    procs: int | None = None,
    **more: Unpack[UploadKeywords],
) -> TransferSummary:
    """Write local files as objects under ``dest_prefix``, by their names.

    Args:
        src_patterns: paths, ``file://`` URIs or globs of files and directories; one or several.
        dest_prefix: the URI of the directory that they go to.
        max_in_flight: how many files at a time.
        create_bucket: create the bucket (container, directory) first.
        src_uri, dest_uri: other names of the first two.
        recursive: directories with everything in them, and not just the files directly in them.
        regex: the last segment of each source is a regular expression.
        pattern: only names in which this regular expression is found; a glob works too.
        include, exclude: globs: only names that match, no names that match.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``.
        continue_on_error: go on after every failure; what lies in one object never stops the others.
        journal: a file that records what is done; after an interruption the same call resumes.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops it from another thread.
        options: content type, storage class and the like, for every object.
        procs: how many processes write; None or 1: this one.
        **more: see :class:`s3dlio.verbs.keywords.UploadKeywords`.

    Raises:
        ObjectNotFoundError: no file matched.
        BatchError: files failed; it has every one of them.
    """
    from s3dlio.transfer.upload import upload

    sources = either("src_patterns", src_patterns, "src_uri", src_uri)
    dest = either("dest_prefix", dest_prefix, "dest_uri", dest_uri)
    with limited(session, more) as session:
        how = transfer_options(
            more, max_in_flight=max_in_flight, recursive=recursive, create_bucket=create_bucket, pattern=pattern,
            include=include, exclude=exclude, verify=verify, preserve_mtime=preserve_mtime,
            continue_on_error=continue_on_error, journal=journal, progress=progress,
            cancel=cancel or surrounding_token(), options=options, procs=procs,
        )  # fmt: skip
        return upload(session, sources, dest, how, regex=regex)


@refuses_unknown(TypeError, more=DownloadKeywords)
def download(
    session: Session,
    src_uri: URI,
    dest_dir: str | os.PathLike[str],
    max_in_flight: int = 64,
    recursive: bool = True,
    pattern: str | None = None,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    procs: int | None = None,
    **more: Unpack[DownloadKeywords],
) -> TransferSummary:
    """Write the objects that a URI selects (see :func:`list`) as files beneath a local directory.

    Args:
        src_uri: what.
        dest_dir: where to; a key that would leave this directory is refused.
        max_in_flight: how many objects at a time.
        recursive: also what is in sub-directories.
        pattern: only names in which this regular expression is found; a glob works too.
        include, exclude: globs: only names that match, no names that match.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``, which files get back.
        continue_on_error: go on after every failure; what lies in one object never stops the others.
        journal: a file that records what is done; after an interruption the same call resumes.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops it from another thread.
        procs: how many processes read; None or 1: this one.
        **more: see :class:`s3dlio.verbs.keywords.DownloadKeywords`.

    Raises:
        ObjectNotFoundError: no object matched.
        BatchError: objects failed or were refused; it has every one of them.
    """
    from s3dlio.transfer.download import download

    with limited(session, more) as session:
        how = transfer_options(
            more, max_in_flight=max_in_flight, recursive=recursive, pattern=pattern, include=include, exclude=exclude,
            verify=verify, preserve_mtime=preserve_mtime, continue_on_error=continue_on_error, journal=journal,
            progress=progress, cancel=cancel or surrounding_token(), procs=procs,
        )  # fmt: skip
        return download(session, src_uri, dest_dir, how)


@refuses_unknown(TypeError, more=UploadKeywords)
def copy(
    session: Session,
    src: Sources,
    dst: URI,
    max_in_flight: int = 32,
    recursive: bool = False,
    *,
    create_bucket: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
    **more: Unpack[UploadKeywords],
) -> TransferSummary:
    """Copy objects or files between any two schemes, inside the service where it can.

    Args:
        src: a URI or local path, or several local paths; what it selects is said at :func:`list`.
        dst: a URI or local path; one that ends in ``/`` is a directory.
        max_in_flight: how many objects at a time.
        recursive: everything beneath a directory.
        create_bucket: create the destination's bucket first.
        pattern: only names in which this regular expression is found; a glob works too.
        include, exclude: globs: only names that match, no names that match.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``.
        continue_on_error: go on after every failure; what lies in one object never stops the others.
        journal: a file that records what is done; after an interruption the same call resumes.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops it from another thread.
        options: content type, storage class and the like, for every object.
        **more: see :class:`s3dlio.verbs.keywords.UploadKeywords`.

    Raises:
        ObjectNotFoundError: there is nothing to copy.
        BatchError: objects failed; it has every one of them.
    """
    from s3dlio.transfer.copy import copy

    with limited(session, more) as session:
        how = transfer_options(
            more, max_in_flight=max_in_flight, recursive=recursive, create_bucket=create_bucket, pattern=pattern,
            include=include, exclude=exclude, verify=verify, preserve_mtime=preserve_mtime,
            continue_on_error=continue_on_error, journal=journal, progress=progress,
            cancel=cancel or surrounding_token(), options=options,
        )  # fmt: skip
        return copy(session, src, dst, how)


@refuses_unknown(TypeError, more=UploadKeywords)
def move(
    session: Session,
    src: Sources,
    dst: URI,
    max_in_flight: int = 32,
    recursive: bool = False,
    *,
    create_bucket: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = True,
    continue_on_error: bool = False,
    journal: str | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
    **more: Unpack[UploadKeywords],
) -> TransferSummary:
    """:func:`copy`, and delete each source when its copy is complete; times are kept by default."""
    from s3dlio.transfer.copy import move

    with limited(session, more) as session:
        how = transfer_options(
            more, max_in_flight=max_in_flight, recursive=recursive, create_bucket=create_bucket, pattern=pattern,
            include=include, exclude=exclude, verify=verify, preserve_mtime=preserve_mtime,
            continue_on_error=continue_on_error, journal=journal, progress=progress,
            cancel=cancel or surrounding_token(), options=options,
        )  # fmt: skip
        return move(session, src, dst, how)


@refuses_unknown(TypeError, more=UploadKeywords)
def sync(
    session: Session,
    src: URI,
    dst: URI,
    max_in_flight: int = 32,
    delete: bool = False,
    *,
    checksum: bool = False,
    size_only: bool = False,
    exact_timestamps: bool = False,
    create_bucket: bool = False,
    pattern: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    verify: bool = False,
    preserve_mtime: bool = False,
    continue_on_error: bool = False,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    options: PutOptions = NO_OPTIONS,
    **more: Unpack[UploadKeywords],
) -> TransferSummary:
    """Make one directory like another, on any two schemes: transfer what is missing, has another size or is older.

    Args:
        src: a directory: a URI or local path.
        dst: likewise.
        max_in_flight: how many objects at a time.
        delete: when all is transferred, delete what only ``dst`` has.
        checksum: compare the CRC32C instead of the time.
        size_only: what has the same size is the same.
        exact_timestamps: a local file whose time is another than that of its object differs, also if it is newer.
        create_bucket: create the destination's bucket first.
        pattern: only names in which this regular expression is found; a glob works too.
        include, exclude: globs: only names that match, no names that match.
        verify: compare the CRC32C of what is read and what is stored.
        preserve_mtime: keep the time of files: on objects as user metadata ``mtime``.
        continue_on_error: go on after every failure; what lies in one object never stops the others.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        cancel: stops it from another thread.
        options: content type, storage class and the like, for every object.
        **more: see :class:`s3dlio.verbs.keywords.UploadKeywords`.

    Raises:
        ObjectNotFoundError: there is nothing in ``src``; nothing was deleted.
        InvalidURIError: one directory is inside the other.
        BatchError: objects failed; it has every one of them.
    """
    from s3dlio.transfer.compare import By
    from s3dlio.transfer.sync import sync

    by = By.of(checksum=checksum, size_only=size_only, exact_timestamps=exact_timestamps)
    with limited(session, more) as session:
        how = transfer_options(
            more, max_in_flight=max_in_flight, create_bucket=create_bucket, pattern=pattern, include=include,
            exclude=exclude, verify=verify, preserve_mtime=preserve_mtime, continue_on_error=continue_on_error,
            progress=progress, cancel=cancel or surrounding_token(), options=options,
        )  # fmt: skip
        return sync(session, src, dst, how, delete=delete, by=by)
