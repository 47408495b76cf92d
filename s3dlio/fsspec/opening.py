"""Opening files of a file system of fsspec."""

from __future__ import annotations

import io
from typing import Any

from fsspec.compression import compr
from fsspec.core import get_compression

from s3dlio.errors import AlreadyExistsError, ConfigError
from s3dlio.fsspec.base import BaseFileSystem
from s3dlio.fsspec.files import CachedFile, CompressedFile, ReadFile, WriteFile
from s3dlio.streams import object_file_writer, object_reader
from s3dlio.streams.object_file_writer import ObjectTextWriter

#: No store takes smaller parts.
_LEAST_PART = 5 << 20


def open(
    fs: BaseFileSystem,
    path: str,
    mode: str,
    block_size: int | None,
    *,
    autocommit: bool = True,
    cache_type: str | None = None,
    cache_options: Any = None,
    default_cache: str | None = None,
    size: int | None = None,
    **kwargs: Any,
) -> Any:
    """A file of bytes; the parameters are those of ``S3dlioFileSystem.open``, and:

    Args:
        autocommit: whether a file that is written appears when it is closed; otherwise ``commit`` has it appear.
        default_cache: what dask wants where there is no ``cache_type``: nothing here, since what is read ahead follows
            what is read.
        size: of the object, where a cache of fsspec reads it; others see it when they open it.
    """
    if cache_type is not None and "r" in mode:
        if kwargs:
            raise ConfigError(f"with cache_type there is no {next(iter(kwargs))}", uri=fs.uri(path))
        return CachedFile(
            fs, path, mode, block_size=block_size, cache_type=cache_type, cache_options=cache_options, size=size
        )
    given = {name: value for name, value in kwargs.items() if value is not None}
    if "r" in mode:
        raw = fs.client.open(fs.uri(path), mode, 0, **given)
        return ReadFile(fs, path, raw, block_size or object_reader.BUFFER_SIZE)  # type: ignore[arg-type]
    if "x" in mode and fs.exists(path):  # the store looks again when the file is closed
        raise AlreadyExistsError("there is one", uri=fs.uri(path), operation="PUT", hint="open it with mode 'wb'")
    if block_size is not None:
        given.setdefault("part_size", max(block_size, _LEAST_PART))
    made: Any = fs.client.open(fs.uri(path), mode, 0, **given)
    return WriteFile(fs, path, made, object_file_writer.BUFFER_SIZE, autocommit=autocommit)


def compressed(binary: Any, path: str, compression: str | None, mode: str) -> Any:
    """The layer of a compression of fsspec, ``infer`` among them; the file itself without one."""
    name = get_compression(path, compression)
    if name is None:
        return binary
    layer = compr[name](binary, mode=mode[0])
    return layer if "r" in mode else CompressedFile(layer, binary)


def text(binary: Any, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> Any:
    """The text layer of a file of bytes; without an encoding it is UTF-8 on every machine."""
    kind: Any = ObjectTextWriter if isinstance(binary, (WriteFile, CompressedFile)) else io.TextIOWrapper
    try:
        layer = kind(binary, encoding or "utf-8", errors, newline)
        if isinstance(binary, ReadFile):  # it reads past the buffer beneath it
            layer._CHUNK_SIZE = object_reader.BUFFER_SIZE
        return layer
    except BaseException as error:
        getattr(binary, "abort", binary.close)()
        if isinstance(error, (LookupError, ValueError)):  # an unknown encoding, or newline
            raise ConfigError(str(error)) from error
        raise
