"""The verbs that open streaming writers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s3dlio.engine.session import Session
from s3dlio.errors import InvalidURIError
from s3dlio.uri import SCHEMES, URI, as_uri

if TYPE_CHECKING:
    from s3dlio.streams.writer import ObjectWriter
    from s3dlio.streams.writer_options import WriterOptions

    Options = WriterOptions | Mapping[str, Any] | None


def create_stream_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of an object, in any store.

    Args:
        uri: the object; a compressed one gets ``.zst`` behind its name, unless it is there.
        options: ``WriterOptions``, or a mapping of their names and values.

    Returns:
        The writer, a context manager. Its ``uri`` is the object's.

    Raises:
        InvalidURIError: the URI names no object.
        ConfigError: options that cannot be.
    """
    from s3dlio.streams.writer import open_writer
    from s3dlio.streams.writer_options import WriterOptions

    return open_writer(*session.stores.find(uri), WriterOptions.of(options))


def get_writer_with_compression(
    session: Session, uri: URI, compression: str = "zstd", level: int | None = None
) -> ObjectWriter:
    """Open a writer that compresses; see :func:`create_stream_writer`.

    Args:
        uri: the object.
        compression: ``zstd`` or ``none``.
        level: 1 to 22; None: 3.
    """
    from s3dlio.streams.writer_options import WriterOptions

    return create_stream_writer(session, uri, WriterOptions().with_compression(compression, level))


def create_s3_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of an object of ``s3://``; see :func:`create_stream_writer`."""
    return create_stream_writer(session, _of("s3", uri, "create_s3_writer"), options)


def create_azure_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of an object of ``az://``; see :func:`create_stream_writer`."""
    return create_stream_writer(session, _of("az", uri, "create_azure_writer"), options)


def create_gcs_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of an object of ``gs://``; see :func:`create_stream_writer`."""
    return create_stream_writer(session, _of("gs", uri, "create_gcs_writer"), options)


def create_filesystem_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of a file, ``file://``; see :func:`create_stream_writer`."""
    return create_stream_writer(session, _of("file", uri, "create_filesystem_writer"), options)


def create_direct_filesystem_writer(session: Session, uri: URI, options: Options = None) -> ObjectWriter:
    """Open a writer of a file past the page cache, ``direct://`` (or ``file://``, which means the same here); see
    :func:`create_stream_writer`."""
    uri = as_uri(uri)
    if uri.lower().startswith("file://"):
        uri = f"direct{uri[len('file') :]}"
    return create_stream_writer(session, _of("direct", uri, "create_direct_filesystem_writer"), options)


_OPENED_BY = {
    "s3": "create_s3_writer",
    "az": "create_azure_writer",
    "gs": "create_gcs_writer",
    "file": "create_filesystem_writer",
    "direct": "create_direct_filesystem_writer",
}


def _of(scheme: str, uri: URI, verb: str) -> str:
    """The URI.

    Raises:
        InvalidURIError: it is of another scheme.
    """
    uri = as_uri(uri)
    given, separator, _ = uri.partition("://")
    meant = SCHEMES.get(given.lower()) if separator else None
    if meant not in (scheme, None):  # what is no URI at all is refused by whoever parses it
        hint = f"use {_OPENED_BY.get(str(meant), 'create_stream_writer')}, or create_stream_writer for any"
        raise InvalidURIError(f"{verb} writes to {scheme}://, not {given}://", uri=uri, operation="PUT", hint=hint)
    return uri
