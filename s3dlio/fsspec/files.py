"""Opened files of a file system of fsspec: those of ``s3dlio.open``, with what users of fsspec ask of a file."""

from __future__ import annotations

import io
from typing import Any

from fsspec.spec import AbstractBufferedFile

from s3dlio.errors import UnsupportedOperationError
from s3dlio.fsspec.base import BaseFileSystem
from s3dlio.streams.object_file_writer import ObjectFileWriter, RawObjectWriter
from s3dlio.streams.object_reader import ObjectReader
from s3dlio.types import Conditions


class ReadFile(io.BufferedReader):
    """An object that is read, in the version that was there when it was opened.

    Args:
        fs, path: where.
        raw: reads it.
        buffer_size: bytes at hand for small reads.
    """

    raw: ObjectReader

    def __init__(self, fs: BaseFileSystem, path: str, raw: ObjectReader, buffer_size: int) -> None:
        super().__init__(raw, buffer_size)
        self.fs = fs
        self.path = path
        self.blocksize = buffer_size

    @property
    def size(self) -> int:
        """Bytes."""
        return self.raw.size

    @property
    def full_name(self) -> str:
        """The URI by which fsspec opens it."""
        return str(self.fs.unstrip_protocol(self.path))

    def info(self) -> dict[str, Any]:
        """What the file system tells of it now."""
        found: dict[str, Any] = self.fs.info(self.path)
        return found

    details = property(info)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """The bytes up to ``char`` and with it; all that is left where there is none.

        Args:
            char: what is looked for.
            blocks: bytes that are read at a time.
        """
        found: list[bytes] = []
        while piece := self.read(blocks or self.blocksize):
            at = (found[-1][1 - len(char) :] if found and len(char) > 1 else b"") + piece
            end = at.find(char)
            if end >= 0:
                kept = end + len(char) - (len(at) - len(piece))
                self.seek(kept - len(piece), io.SEEK_CUR)
                found.append(piece[:kept])
                break
            found.append(piece)
        return b"".join(found)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reopened, (self.fs, self.path, self.blocksize, self.raw.etag, self.tell())

    def __repr__(self) -> str:
        return f"<ReadFile {self.raw.name}{' (closed)' if self.closed else ''}>"


def reopened(fs: BaseFileSystem, path: str, block_size: int, etag: str | None, position: int) -> ReadFile:
    """A file that was pickled: the same version at the same position.

    Raises:
        PreconditionFailedError: the object was replaced since.
    """
    conditions = None if etag is None else Conditions(if_match=etag)
    file: ReadFile = fs.open(path, "rb", block_size=block_size, conditions=conditions)
    file.seek(position)
    return file


class WriteFile(ObjectFileWriter):
    """An object that is written. It appears when the file is closed, or, in a transaction, when that ends.

    Args:
        fs, path: where.
        raw: what its bytes go to.
        buffer_size: bytes that are gathered.
        autocommit: whether ``close`` makes it appear; otherwise ``commit`` does.
    """

    def __init__(
        self, fs: BaseFileSystem, path: str, raw: RawObjectWriter, buffer_size: int, *, autocommit: bool
    ) -> None:
        super().__init__(raw, buffer_size)
        self.fs = fs
        self.path = path
        self.blocksize = buffer_size
        self.autocommit = autocommit
        self._held: Any = None

    @property
    def full_name(self) -> str:
        """The URI by which fsspec opens it."""
        return str(self.fs.unstrip_protocol(self.path))

    def close(self) -> None:
        """Store the object; without ``autocommit`` all but the last step of that."""
        if self.closed:
            return
        if not self.autocommit:
            self.flush()
            self._held = self.raw.hand_over()
        try:
            super().close()
        finally:
            self.fs.invalidate_cache(self.path)

    def commit(self) -> None:
        """Have the object appear, where ``close`` did not."""
        if not self.closed:
            self.close()
        held, self._held = self._held, None
        if held is not None:
            held.close()
            self.fs.invalidate_cache(self.path)

    def discard(self) -> None:
        """Store nothing."""
        self.abort()
        held, self._held = self._held, None
        if held is not None:
            held.abort()

    def __repr__(self) -> str:
        return f"<WriteFile {self.raw.name}{' (closed)' if self.closed else ''}>"


class CompressedFile(io.RawIOBase):
    """Compresses what is written to a file, and ends with it: the compressors of fsspec leave the file open.

    Args:
        compressor: writes to ``binary``.
        binary: the file beneath.
    """

    def __init__(self, compressor: Any, binary: WriteFile) -> None:
        super().__init__()
        self._compressor = compressor
        self._binary = binary

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._compressor.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """End what is compressed, and store the object."""
        if not self.closed:
            try:
                self._compressor.close()
                self._binary.close()
            finally:
                super().close()

    def abort(self) -> None:
        """Store nothing."""
        if not self.closed:
            self._binary.raw.abort()  # what the compressor still has goes nowhere
            self.close()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        self._binary.raw.drop()


class CachedFile(AbstractBufferedFile):
    """An object that is read through one of the caches of fsspec (``cache_type=``), in one version."""

    def __init__(self, fs: BaseFileSystem, path: str, mode: str, **options: Any) -> None:
        if mode != "rb":
            raise UnsupportedOperationError("caches are for files that are read", uri=fs.uri(path))
        super().__init__(fs, path, mode, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        etag = self.details.get("ETag")
        pinned = None if etag is None else Conditions(if_match=etag)
        data: bytes = self.fs.cat_file(self.path, start, end, conditions=pinned)
        return data
