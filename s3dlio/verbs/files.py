"""The verb that opens objects as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.records import replace
from s3dlio.types import NO_CONDITIONS, Conditions, PutOptions
from s3dlio.uri import URI, as_uri
from s3dlio.verbs.objects import put_options


def open(
    session: Session,
    uri: URI,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    version_id: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
    content_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    options: PutOptions | None = None,
    part_size: int | None = None,
    expected_size: int | None = None,
    max_in_flight: int | None = None,
) -> IO[Any]:
    """Open an object as a file of ``io``, like the builtin ``open``.

    What is read is the version of the object that was there when it was opened, at any position; who reads on is read
    ahead of, up to 64 MiB. What is written appears whole when the file is closed; after an exception in its ``with``,
    after ``abort()``, and where the file is dropped without ``close()``, nothing is stored.

    Args:
        uri: which object. Its bytes are taken as they are, whatever its name ends in.
        mode: ``r`` to read, ``w`` to write, ``x`` to write what must not be there yet; text, or bytes with a ``b``.
        buffering: bytes that are gathered for small reads and writes; 0: none (bytes only); 1: lines of text that are
            written are handed on one by one; -1: as fits.
        encoding: of text; default: UTF-8, on every machine.
        errors, newline: of text, as of the builtin ``open``.
        version_id: read this version of the object.
        conditions: of a read, as of :func:`get`.
        content_type, metadata, options: of a write, as of :func:`put_bytes`.
        part_size: of a write: bytes of a part, where the store sends parts.
        expected_size: of a write: bytes of the object, if it is known about.
        max_in_flight: of a write: parts on their way at a time.

    Returns:
        A file: an ``io.BufferedReader``, ``io.BufferedWriter`` or ``io.TextIOWrapper``.

    Raises:
        ObjectNotFoundError, PermissionDeniedError, ...: it cannot be read.
        AlreadyExistsError: mode ``x``, and there is one; mostly when the file is closed.
        UnsupportedOperationError: a mode that objects do not have (``a``, ``+``).
        ConfigError: no mode, or arguments that do not fit it.
    """
    from s3dlio.streams import file_object

    layers = file_object.Layers(buffering, encoding, errors, newline)
    kind, text = file_object.kind_of(mode, layers)
    of_writes = {
        "content_type": content_type, "metadata": metadata, "options": options, "part_size": part_size,
        "expected_size": expected_size, "max_in_flight": max_in_flight,
    }  # fmt: skip
    if kind == "r":
        _refuse(uri, "written", of_writes)
        if version_id is not None:
            conditions = replace(conditions, version_id=version_id)
        return file_object.open_to_read(session, uri, text, layers, conditions)
    of_reads = {"version_id": version_id, "conditions": None if conditions is NO_CONDITIONS else conditions}
    _refuse(uri, "read", of_reads)
    put = put_options(content_type, metadata, None, None, options)
    if kind == "x":
        put = file_object.create_only(put)
    parts = {"part_size": part_size, "expected_size": expected_size, "max_in_flight": max_in_flight}
    return file_object.open_to_write(session, uri, text, layers, put, **parts)


def _refuse(uri: URI, what: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that have no meaning in this mode."""
    for name, value in arguments.items():
        if value is not None:
            raise ConfigError(f"{name} is for files that are {what}", uri=as_uri(uri))
