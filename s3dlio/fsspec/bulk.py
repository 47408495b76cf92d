"""Many files at once: which goes where is found by the rules of fsspec, and transferred as one batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem

from s3dlio.errors import BatchError, IsDirectoryError, ObjectNotFoundError
from s3dlio.fsspec.base import BaseFileSystem
from s3dlio.fsspec.listing import Info, directory
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.pairs import Pair, transfer_pairs

#: Objects in flight.
WIDTH = 64


class Plan:
    """What one call of fsspec means, before anything is done.

    Args:
        fs: the file system.

    Attributes:
        pairs: paths, each with the one that it goes to.
        known: what listings told on the way.
    """

    def __init__(self, fs: BaseFileSystem) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.known: dict[str, Info] = {}
        self._fs = fs
        # The rules are methods of a file system that call others of it for every file: here these only take notes.
        planner: Any = object.__new__(type(fs))
        planner.__dict__.update(fs.__dict__)
        planner.find, planner.info, planner.isdir = self._find, self._info, self._isdir
        planner.get_file = planner.put_file = planner.cp_file = self._note
        self.planner = planner

    @classmethod
    def of(cls, fs: BaseFileSystem, rules: Callable[..., Any], *args: Any, **kwargs: Any) -> Plan:
        """The plan of ``get``, ``put`` or ``copy`` with these arguments."""
        plan = cls(fs)
        rules(plan.planner, *args, **kwargs)
        return plan

    def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        found = self._fs.find(path, maxdepth, withdirs, detail=True, **kwargs)
        self.known.update(found)
        return found if detail else list(found)

    def _info(self, path: str, **kwargs: Any) -> Info:
        if (about := self.known.get(self._fs._strip_protocol(path))) is None:
            about = self._fs.info(path, **kwargs)
            self.known[about["name"]] = about
        return about

    def _isdir(self, path: str) -> bool:
        path = self._fs._strip_protocol(path)
        if path in self.known:
            return self.is_directory(path)
        found: bool = self._fs.isdir(path)
        if found:
            self.known[path] = directory(path)
        return found

    def _note(self, one: str, other: str, **_: Any) -> None:
        self.pairs.append((os.fspath(one), os.fspath(other)))

    def is_directory(self, path: str) -> bool:
        """Whether a listing told that a path is a directory."""
        return self.known.get(path, {}).get("type") == "directory"

    def size(self, path: str) -> int | None:
        """Bytes of an object, where a listing told them."""
        size: int | None = self.known.get(path, {}).get("size")
        return size


class _Counted:
    """Tells a callback of fsspec how far a transfer is, in files or in bytes."""

    def __init__(self, callback: Any, *, in_bytes: bool = False) -> None:
        self._callback = callback
        self._in_bytes = in_bytes

    def add(self, total_objects: int, total_bytes: int) -> None:
        if self._in_bytes:
            self._callback.set_size(total_bytes)

    def advance(self, objects: int, bytes: int) -> None:
        if amount := bytes if self._in_bytes else objects:
            self._callback.relative_update(amount)

    def close(self) -> None:
        return None


def get(fs: BaseFileSystem, rpath: Any, lpath: Any, recursive: bool, callback: Any, **kwargs: Any) -> None:
    """Many objects into local files."""
    plan = Plan.of(fs, AbstractFileSystem.get, rpath, lpath, recursive=recursive, **kwargs)
    files = []
    for source, target in plan.pairs:
        if not isinstance(lpath, str):  # the caller named every file: links on the way to it are meant
            folder, name = os.path.split(target)
            target = os.path.join(os.path.realpath(folder), name)
        source = fs._strip_protocol(source)
        if plan.is_directory(source):
            os.makedirs(target, exist_ok=True)
        else:
            files.append(Pair(fs.uri(source), local_uri(target), plan.size(source)))
    run(fs, "DOWNLOAD", files, callback)


def put(fs: BaseFileSystem, lpath: Any, rpath: Any, recursive: bool, callback: Any, **kwargs: Any) -> None:
    """Many local files into objects."""
    plan = Plan.of(fs, AbstractFileSystem.put, lpath, rpath, recursive=recursive, **kwargs)
    files = []
    for source, target in plan.pairs:
        if os.path.isdir(source):
            fs.makedirs(target, exist_ok=True)
        else:
            files.append(Pair(local_uri(source), fs.uri(target), os.stat(source).st_size))
    run(fs, "UPLOAD", files, callback)


def copy(
    fs: BaseFileSystem, path1: Any, path2: Any, recursive: bool, on_error: str | None, *, move: bool = False,
    **kwargs: Any,
) -> Plan:  # fmt: skip
    """Copy within the file system, inside the service where it can; returns what that was."""
    plan = Plan.of(fs, AbstractFileSystem.copy, path1, path2, recursive=recursive, on_error=on_error, **kwargs)
    files = []
    for source, target in plan.pairs:
        source = fs._strip_protocol(source)
        if plan.is_directory(source):
            fs.makedirs(target, exist_ok=True)
        else:
            files.append(Pair(fs.uri(source), fs.uri(target), plan.size(source)))
    if on_error is None:
        on_error = "ignore" if recursive else "raise"
    run(fs, "MOVE" if move else "COPY", files, missing_is_fine=on_error == "ignore", move=move)
    return plan


def run(
    fs: BaseFileSystem,
    operation: str,
    files: list[Pair],
    callback: Any = DEFAULT_CALLBACK,
    *,
    in_bytes: bool = False,
    missing_is_fine: bool = False,
    **kwargs: Any,
) -> None:
    """Transfer pairs as one batch.

    Raises:
        BatchError: some failed; a single failure is raised itself.
    """
    if not in_bytes:
        callback.set_size(len(files))
    how = TransferOptions(max_in_flight=WIDTH, progress=_Counted(callback, in_bytes=in_bytes))
    try:
        transfer_pairs(fs.client, operation, files, how, **kwargs)
    except BatchError as error:
        missing = [failure for failure in error.failures if isinstance(failure.error, ObjectNotFoundError)]
        if not (missing_is_fine and len(missing) == len(error.failures)):
            raise_plain(error)


def raise_plain(error: BatchError) -> NoReturn:
    """Raise the one failure of a batch itself, as callers of fsspec expect it; several as they are."""
    if len(error.failures) == 1:
        raise error.failures[0].error from None
    raise error


def remove(fs: BaseFileSystem, path: Any, recursive: bool, maxdepth: int | None) -> None:
    """Delete objects, and with ``recursive`` directories with all that is in them.

    Raises:
        ObjectNotFoundError: a path that is named is not there.
        IsDirectoryError: it is a directory, and this is not recursive; nothing was deleted.
    """
    plan = Plan(fs)
    paths = plan.planner.expand_path(path, recursive=recursive, maxdepth=maxdepth)
    for each in paths:
        about = plan.planner.info(each)
        if about["type"] == "directory" and not recursive:
            raise IsDirectoryError(
                "it is a directory (nothing was deleted)", uri=fs.uri(each), operation="DELETE",
                hint="use recursive=True to delete everything in it",
            )  # fmt: skip
    files = [fs.uri(each) for each in paths if not plan.is_directory(each)]
    if files:
        try:
            fs.client.delete_many(files)
        except BatchError as error:
            raise_plain(error)
    for each in reversed(paths):
        if plan.is_directory(each):
            fs.rmdir(each)


def local_uri(path: Any) -> str:
    """The URI of a local file."""
    return f"file://{os.path.abspath(os.fspath(path))}"
