"""What file:// and direct:// share: paths as keys, metadata, listings, deleting, directories, the streaming writer."""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from s3dlio.config.sections import FileSettings
from s3dlio.errors import InvalidURIError, IsDirectoryError, LocalIOError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.sinks import MemorySink, Sink
from s3dlio.memory.sources import FileSource, Source
from s3dlio.rfc3339 import rfc3339
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.blocking import BlockingStore
from s3dlio.stores.call import Call
from s3dlio.stores.checks import check_conditions, unsupported
from s3dlio.stores.local.atomic import Replacement, check_regular, make_directories
from s3dlio.stores.local.walking import walk
from s3dlio.stores.local.writer import LocalWriter, Output
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import (
    NO_CONDITIONS,
    NO_OPTIONS,
    Conditions,
    Container,
    ListEntry,
    ListPage,
    ObjectMetadata,
    Observer,
    PutOptions,
    PutResult,
)
from s3dlio.wording import recursively

PAGE_SIZE = 1000

# O_NONBLOCK: a FIFO without a writer would block the open for ever; regular files do not care.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def etag_of(info: os.stat_result) -> str:
    """``file-<size>-<mtime in seconds>``: what the reference says, and what its manifests hold."""
    return f"file-{info.st_size}-{int(info.st_mtime)}"


def result_of(info: os.stat_result) -> PutResult:
    """What a write tells of the file that it has made."""
    return PutResult(etag_of(info), None, info.st_size)


class LocalStore(BlockingStore):
    """Files by path. A key is a path, absolute or relative to the working directory, taken as it is.

    Objects are regular files. Names that are not UTF-8 are carried as Python carries them (surrogateescape).

    Args:
        root: ``file://`` or ``direct://``.
        observers: as of :class:`ObjectStore`.
        settings: durability, O_DIRECT policy and alignment.
    """

    #: Files come from the page cache; from a device or over a network, a batch finds out.
    waits: ClassVar[bool] = False
    storage_class: ClassVar[str]
    #: Bytes that a streaming writer gathers before it writes.
    writer_buffer: ClassVar[int] = 1 << 20

    def __init__(
        self, root: str = "", observers: Sequence[Observer] = (), *, settings: FileSettings | None = None
    ) -> None:
        super().__init__(root or f"{self.scheme}://", observers)
        self.settings = settings if settings is not None else FileSettings()

    def uri(self, key: str) -> str:
        return self.root + key

    def check_key(self, key: str, operation: str) -> None:
        if not key or "\0" in key:
            reason = "a NUL character cannot be in a path" if key else "the path is empty"
            raise InvalidURIError(reason, uri=self.uri(key), operation=operation)
        if not key.isascii():
            try:
                os.fsencode(key)
            except UnicodeEncodeError as exc:
                raise InvalidURIError(
                    f"{exc.object[exc.start:exc.end]!r} cannot be in a path", uri=self.uri(key), operation=operation
                ) from exc

    def check_keys(self, keys: Sequence[str], operation: str) -> None:
        joined = "".join(keys)
        if not (all(keys) and joined.isascii() and "\0" not in joined):
            super().check_keys(keys, operation)

    # -- metadata and conditions

    def _metadata(self, info: os.stat_result) -> ObjectMetadata:
        return ObjectMetadata(
            size=info.st_size,
            etag=etag_of(info),
            last_modified=rfc3339(info.st_mtime_ns),
            storage_class=self.storage_class,
        )

    def _head(self, key: str, conditions: Conditions) -> ObjectMetadata:
        info = os.stat(key)
        check_regular(info.st_mode)
        self._check_conditions(key, info, conditions)
        return self._metadata(info)

    def size_hint(self, key: str) -> int:
        try:
            return os.stat(key).st_size
        except (OSError, ValueError):
            return 0  # the read will say what is wrong

    def _check_conditions(self, key: str, info: os.stat_result, conditions: Conditions) -> None:
        if conditions is NO_CONDITIONS:
            return
        if conditions.version_id is not None or conditions.generation is not None:
            raise unsupported(self, key, "keep versions of an object")
        check_conditions(etag_of(info), conditions)

    def _read_tail(self, key: str, sink: Sink, length: int, conditions: Conditions) -> ObjectMetadata:
        """Of a file that grows meanwhile, the bytes that were the last at the beginning."""
        if size := self._head(key, conditions).size:
            read: ObjectMetadata = self._read(key, sink, max(0, size - length), min(length, size), conditions)
            return read
        whole = MemorySink()  # a file that tells no size: empty, or one of /proc
        about: ObjectMetadata = self._read(key, whole, 0, None, conditions)
        sink.take(whole.view()[max(0, (whole.size or 0) - length) :])
        return about

    # -- writing

    def _replacement(
        self, key: str, options: PutOptions, flags: int = 0, beneath: int | None = None
    ) -> Replacement:
        """The file that will take the place of ``key``, after a look at what the options ask."""
        if options is not NO_OPTIONS:
            self.check_options(options, key)
        return Replacement(
            key if beneath is None else key.rpartition("/")[2],
            beneath=beneath,
            flags=flags,
            create_only=options.conditions.if_none_match == "*",
            durable=options.durable or self.settings.durable,
        )

    def check_options(self, options: PutOptions, key: str = "") -> None:
        for name in (
            "content_type", "content_encoding", "content_language", "content_disposition", "cache_control", "expires",
            "metadata", "storage_class", "tags", "server_side_encryption", "ssekms_key_id", "sse_customer_key",
        ):  # fmt: skip
            if getattr(options, name):
                raise unsupported(self, key, f"keep the {name.replace('_', ' ')} of an object: a file has none")
        conditions = options.conditions
        if conditions.if_none_match not in (None, "*") or any(
            (conditions.if_match, conditions.version_id, conditions.generation is not None)
        ):
            # A file's ETag has whole seconds, and comparing it and renaming are two steps.
            raise unsupported(self, key, "replace a file under a condition; only if_none_match='*' (create only)")

    @abstractmethod
    def _output(
        self, key: str, options: PutOptions, buffer_size: int, beneath: int | None = None
    ) -> tuple[Replacement, Output]:
        """A replacement for ``key`` and the way its bytes are written, ``buffer_size`` at a time."""

    def _writer(
        self, key: str, options: PutOptions, parts: PartOptions, beneath: int | None = None
    ) -> StoreWriter:
        buffer_size = parts.part_size or self.writer_buffer
        call: Call[Any] = Call(self, "PUT", key, partial(self._output, key, options, buffer_size, beneath))
        return LocalWriter(call, result_of)

    def writer_beneath(self, directory: int, key: str, options: PutOptions = NO_OPTIONS) -> StoreWriter:
        """As ``writer``; ``directory`` as of :meth:`write_beneath`."""
        self.check_key(key, "PUT")
        return self._writer(key, options, PartOptions(), directory)

    def write_beneath(self, directory: int, key: str, source: Source, options: PutOptions = NO_OPTIONS) -> PutResult:
        """Write ``key``, whose last segment is a name in the open ``directory``: no link leads out of that, whatever
        is done to the path meanwhile."""
        self.check_key(key, "PUT")
        return self.execute(
            Call(self, "PUT", key, partial(self._write, key, source, options, directory), size=source.size)
        )

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, LocalStore)

    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> PutResult:
        try:
            fd = os.open(source_key, READ_FLAGS)
        except OSError as exc:
            raise from_os_error(exc, uri=source.uri(source_key), operation="COPY") from exc
        try:
            info = os.fstat(fd)
            check_regular(info.st_mode)
            result: PutResult = self._write(key, FileSource(fd, 0, info.st_size, info), options)
            return result
        finally:
            os.close(fd)

    @abstractmethod
    def _write(
        self, key: str, source: Source, options: PutOptions, beneath: int | None = None
    ) -> PutResult: ...

    # -- listing

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        return self._take_page(walk(prefix, recursive, token or start_after or ""))

    def _pages(self, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
        found = walk(prefix, recursive, start_after or "")  # one walk for all pages
        token: str | None = ""
        while token is not None:
            call: Call[tuple[ListPage, str | None]] = Call(self, "LIST", prefix, lambda: self._take_page(found))
            page, token = self.execute(call)
            yield page

    def _take_page(self, found: Iterator[str]) -> tuple[ListPage, str | None]:
        try:
            names = list(itertools.islice(found, PAGE_SIZE))
        except OSError as exc:
            where = exc.filename if isinstance(exc.filename, str) else None
            raise from_os_error(exc, uri=self.uri(where) if where else None, operation="LIST") from exc
        prefixes = [name for name in names if name[-1] == "/"]
        keys = [name for name in names if name[-1] != "/"] if prefixes else names
        page = ListPage(keys, prefixes, lambda: self._entries(keys))
        return page, names[-1] if len(names) == PAGE_SIZE else None

    def _entries(self, keys: Sequence[str]) -> list[ListEntry]:
        entries = []
        for key in keys:
            try:
                info = os.stat(key)
            except FileNotFoundError:
                continue  # deleted since its directory was read
            entries.append(
                ListEntry(key, info.st_size, etag_of(info), rfc3339(info.st_mtime_ns), self.storage_class)
            )
        return entries

    # -- deleting

    def _delete(self, key: str, version_id: str | None) -> None:
        if version_id is not None:
            raise unsupported(self, key, "keep versions of an object")
        try:
            os.unlink(key)
        except (FileNotFoundError, NotADirectoryError):
            pass  # there is no such file
        except (IsADirectoryError, PermissionError) as exc:  # macOS says EPERM of a directory
            if not os.path.isdir(key) or os.path.islink(key):
                raise
            raise IsDirectoryError(
                "it is a directory (nothing was deleted)", hint=f"use {recursively()} to delete everything under it"
            ) from exc

    # -- directories: the containers of files

    def mkdir(self, key: str) -> None:
        self.check_key(key, "MKDIR")
        self.execute(Call(self, "MKDIR", key, lambda: make_directories(key)))

    def rmdir(self, key: str, *, recursive: bool = False) -> None:
        """Remove a directory, which must be empty unless ``recursive``; one that is not there is no error.

        Raises:
            InvalidURIError: the root of the file system.
        """
        self.check_key(key, "RMDIR")
        self.execute(Call(self, "RMDIR", key, lambda: self._rmdir(key, recursive)))

    def _rmdir(self, key: str, recursive: bool) -> None:
        if os.path.realpath(key) == "/":
            raise InvalidURIError("the root of the file system is not removed")
        try:
            if recursive:
                import shutil

                shutil.rmtree(key)
            else:
                os.rmdir(key)
        except FileNotFoundError:
            pass
        except RecursionError as exc:  # Python before 3.13; rmtree stays, because no link can lead it astray
            raise LocalIOError("the tree is too deep to be removed from Python", hint="use rm -r") from exc

    def list_containers(self, key: str = "") -> list[Container]:
        """The sub-directories of the directory ``key`` (of the working directory without one), sorted."""
        return self.execute(Call(self, "LIST_CONTAINERS", key, lambda: self._sub_directories(key)))

    def _sub_directories(self, key: str) -> list[Container]:
        base = key if not key or key.endswith("/") else key + "/"
        with os.scandir(base or ".") as entries:
            return [Container(name, self.uri(base + name)) for name in sorted(e.name for e in entries if e.is_dir())]

    def _create_container(self) -> None:
        raise unsupported(self, "", "make a container; make a directory with mkdir")

    def _delete_container(self) -> None:
        raise unsupported(self, "", "delete a container; remove a directory with rmdir")

    def _list_containers(self) -> list[Container]:
        return self._sub_directories("")
