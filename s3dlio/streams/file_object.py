"""``open`` for objects: files of ``io`` over any store."""

from __future__ import annotations

import io
from typing import IO, Any, NamedTuple

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, UnsupportedOperationError
from s3dlio.records import replace
from s3dlio.streams import object_reader
from s3dlio.streams.object_file_writer import (
    BUFFER_SIZE,
    ObjectFileWriter,
    ObjectTextWriter,
    RawObjectWriter,
    UnbufferedObjectWriter,
)
from s3dlio.streams.object_reader import ObjectReader
from s3dlio.streams.one_version import open_version
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import URI


class Layers(NamedTuple):
    """What stands on the raw file: as of the builtin ``open``."""

    buffering: int = -1
    encoding: str | None = None
    errors: str | None = None
    newline: str | None = None


def kind_of(mode: str, layers: Layers) -> tuple[str, bool]:
    """What a mode asks for: ``r``, ``w`` or ``x``, and whether text.

    Raises:
        UnsupportedOperationError: appending, or reading and writing in one.
        ConfigError: it is no mode, or one that the layers do not fit.
    """
    if not isinstance(mode, str):
        raise TypeError(f"mode must be str, not {type(mode).__name__}")
    letters = set(mode)
    if len(letters) < len(mode) or letters - set("rwxabt+") or len(letters & set("rwxa")) != 1 or {"t", "b"} <= letters:
        raise ConfigError(f"invalid mode: {mode!r}", hint="one of 'r', 'w' and 'x', with 'b' for bytes")
    if letters & set("a+"):
        raise UnsupportedOperationError(
            f"mode {mode!r}: an object is read, or written anew", hint="use 'r', 'w' or 'x', with 'b' for bytes"
        )
    text = "b" not in letters
    if not text:
        for name in ("encoding", "errors", "newline"):
            if getattr(layers, name) is not None:
                raise ConfigError(f"a file of bytes takes no {name}", hint="leave the b out of the mode for text")
    elif layers.buffering == 0:
        raise ConfigError("text cannot be unbuffered", hint="add 'b' to the mode")
    return (letters & set("rwx")).pop(), text


def open_to_read(session: Session, uri: URI, text: bool, layers: Layers, conditions: Conditions) -> IO[Any]:
    """A file that reads the version of an object that is there now."""
    store, key = session.store_for(uri)
    raw = ObjectReader(open_version(session, store, key, conditions), store.uri(key))
    if layers.buffering == 0:
        return raw  # type: ignore[return-value]
    buffered = io.BufferedReader(raw, layers.buffering if layers.buffering > 1 else object_reader.BUFFER_SIZE)
    return _text(io.TextIOWrapper, buffered, layers) if text else buffered


def open_to_write(
    session: Session, uri: URI, text: bool, layers: Layers, options: PutOptions, **parts: int | None
) -> IO[Any]:
    """A file that makes a new object."""
    store, key = session.store_for(uri)
    writer = store.writer(key, options=options, **parts)
    if layers.buffering == 0:
        return UnbufferedObjectWriter(writer, store.uri(key))  # type: ignore[return-value]
    size = layers.buffering if layers.buffering > 1 else BUFFER_SIZE
    buffered = ObjectFileWriter(RawObjectWriter(writer, store.uri(key)), size)
    return _text(ObjectTextWriter, buffered, layers) if text else buffered


def create_only(options: PutOptions) -> PutOptions:
    """The options of mode ``x``."""
    return replace(options, conditions=replace(options.conditions, if_none_match="*"))


def _text(kind: type[io.TextIOWrapper], buffered: Any, layers: Layers) -> io.TextIOWrapper:
    """The text layer. Without an encoding it is UTF-8 on every machine: objects travel."""
    encoding = layers.encoding or "utf-8"
    try:
        layer = kind(buffered, encoding, layers.errors, layers.newline, line_buffering=layers.buffering == 1)
        # It reads past the buffer beneath it, and with 8 KiB at a time lines take three times as long.
        layer._CHUNK_SIZE = object_reader.BUFFER_SIZE  # type: ignore[attr-defined]
        layer.mode = buffered.mode[0]  # type: ignore[misc]  # which the builtin open sets, too
        return layer
    except BaseException as error:
        getattr(buffered, "abort", buffered.close)()
        if isinstance(error, (LookupError, ValueError)):  # an unknown encoding, or newline
            raise ConfigError(str(error), uri=buffered.name) from error
        raise
