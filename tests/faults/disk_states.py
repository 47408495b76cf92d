"""What a disk may hold after a crash.

The file operations of some work are recorded. Those that no fsync has covered when the crash comes may be on the disk
or not, each for itself, and a write may be there in part: every such state is made, so that a test can look at it.

The model is the weakest that POSIX allows: fsync of a file makes its content durable but not its name, fsync of a
directory makes its names durable but no content, a rename is done or not, and nothing else keeps any order.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from s3dlio.memory import libc

#: How many operations that are not synced are lost, or kept alone, in every combination.
TOGETHER = 3

#: A directory: what its names are.
Tree: TypeAlias = "dict[str, Tree | bytes]"


class Names(NamedTuple):
    """In one directory, at once: names that are given to nodes, or (None) taken away."""

    directory: int
    given: tuple[tuple[str, int | None], ...]


class Write(NamedTuple):
    """Bytes in a file."""

    node: int
    offset: int
    data: bytes


class Size(NamedTuple):
    """A file is cut or extended."""

    node: int
    size: int


class Sync(NamedTuple):
    """What was done to a file, or to the names in a directory, is on the disk from here on."""

    node: int


Operation: TypeAlias = "Names | Write | Size | Sync"


class State(NamedTuple):
    """What may be on the disk."""

    after: int  #: how many operations were begun when the crash came
    tree: Tree


class Killed(BaseException):
    """The process is dead by now: nothing that it still tries to do is done, not even its cleaning up."""


class Disk:
    """Records what is done below a directory. Whatever is there at first is durable.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        #: After so many operations the process is killed.
        self.kill_after: int | None = None
        self._killed = False
        self.operations: list[Operation] = []
        self._kinds: list[str] = []  # of each node: "file" or "directory"
        self._contents: dict[int, bytes] = {}  # of the files that were there
        self._first_names: dict[int, dict[str, int]] = {}
        self._nodes: dict[tuple[int, int], int] = {}
        self._lock = threading.RLock()
        self._look_at(self.root)

    def _look_at(self, path: str) -> int:
        node = self._new_node(path)
        if os.path.isdir(path):
            names = {entry.name: self._look_at(entry.path) for entry in os.scandir(path)}
            self._first_names[node] = names
        else:
            self._contents[node] = Path(path).read_bytes()
        return node

    def _new_node(self, path: str) -> int:
        info = os.lstat(path)
        self._kinds.append("directory" if os.path.isdir(path) else "file")
        self._nodes[info.st_dev, info.st_ino] = len(self._kinds) - 1
        return len(self._kinds) - 1

    def _node_at(self, path: str) -> int:
        info = os.lstat(path)
        return self._nodes[info.st_dev, info.st_ino]

    def _node_of(self, fd: int) -> int | None:
        info = os.fstat(fd)
        return self._nodes.get((info.st_dev, info.st_ino))

    # -- recording

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record until the end of the block.

        Raises:
            AssertionError: what was recorded does not lead to what is there: some operation went unseen.
        """
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "pwrite", "ftruncate", "rename", "link", "unlink", "mkdir", "rmdir"):
                patch.setattr(os, name, self._recorded(getattr(os, name), getattr(self, f"_after_{name}")))
            for same, name in (("replace", "rename"), ("remove", "unlink")):
                patch.setattr(os, same, getattr(os, name))
            for name in ("fsync", "fdatasync"):
                patch.setattr(os, name, self._recorded(getattr(os, name), self._after_sync))
            patch.setattr(os, "copy_file_range", self._recorded(os.copy_file_range, self._after_copy))
            patch.setattr(libc, "_pwrite", self._recorded(libc._pwrite, self._after_libc_pwrite))
            yield
        assert self.tree_of(self.operations) == read_tree(self.root)

    def _recorded(self, work: Any, note: Callable[..., None]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                if self.kill_after is not None and len(self.operations) >= self.kill_after:
                    if self._killed:
                        raise OSError(errno.EIO, "nothing is done any more")
                    self._killed = True
                    raise Killed
                before = self._before(work, args, options)
                result = work(*args, **options)
                note(before, result, *args, **options)
                return result

        return call

    def _before(self, work: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if work.__name__ == "open":
            return os.path.lexists(_path(args[0], options.get("dir_fd")))
        if work.__name__ == "write":
            return os.lseek(args[0], 0, os.SEEK_CUR)
        return None

    def _place(self, path: Any, at: int | None) -> tuple[int, str] | None:
        """The directory and the name that a path means; None: it is not below the root."""
        folder, name = os.path.split(_path(path, at).rstrip("/"))
        folder = os.path.realpath(folder)
        if folder != self.root and not folder.startswith(self.root + "/"):
            return None
        return self._node_at(folder), name

    def _name(self, path: Any, at: int | None, node: int | None) -> None:
        if place := self._place(path, at):
            self.operations.append(Names(place[0], ((place[1], node),)))

    def _after_open(
        self, existed: bool, fd: int, path: Any, flags: int, mode: int = 0o777, *, dir_fd: Any = None
    ) -> None:
        if flags & os.O_CREAT and not existed and self._place(path, dir_fd):
            self._name(path, dir_fd, self._new_node(_path(path, dir_fd)))
        elif flags & os.O_TRUNC and (node := self._node_of(fd)) is not None:
            self.operations.append(Size(node, 0))

    def _written(self, fd: int, offset: int, data: bytes) -> None:
        if (node := self._node_of(fd)) is not None:
            self.operations.append(Write(node, offset, data))

    def _after_write(self, offset: int, count: int, fd: int, data: Any) -> None:
        self._written(fd, offset, bytes(memoryview(data).cast("B")[:count]))

    def _after_pwrite(self, _: None, count: int, fd: int, data: Any, offset: int) -> None:
        self._written(fd, offset, bytes(memoryview(data).cast("B")[:count]))

    def _after_libc_pwrite(self, _: None, count: int, fd: int, address: int, length: int, offset: int) -> None:
        self._written(fd, offset, ctypes.string_at(address, max(count, 0)))

    def _after_copy(
        self, _: None, count: int, source: int, target: int, length: int, source_at: int, target_at: int
    ) -> None:
        self._written(target, target_at, os.pread(source, count, source_at))

    def _after_ftruncate(self, _: None, __: None, fd: int, size: int) -> None:
        if (node := self._node_of(fd)) is not None:
            self.operations.append(Size(node, size))

    def _after_sync(self, _: None, __: None, fd: int) -> None:
        if (node := self._node_of(fd)) is not None:
            self.operations.append(Sync(node))

    def _after_mkdir(self, _: None, __: None, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if self._place(path, dir_fd):
            self._name(path, dir_fd, self._new_node(_path(path, dir_fd)))

    def _after_rmdir(self, _: None, __: None, path: Any, *, dir_fd: int | None = None) -> None:
        self._name(path, dir_fd, None)

    def _after_unlink(self, _: None, __: None, path: Any, *, dir_fd: int | None = None) -> None:
        self._name(path, dir_fd, None)

    def _after_link(
        self, _: None, __: None, source: Any, target: Any, *, src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None, follow_symlinks: bool = True,
    ) -> None:  # fmt: skip
        if self._place(target, dst_dir_fd):
            self._name(target, dst_dir_fd, self._node_at(_path(target, dst_dir_fd)))

    def _after_rename(
        self, _: None, __: None, source: Any, target: Any, *, src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:  # fmt: skip
        old, new = self._place(source, src_dir_fd), self._place(target, dst_dir_fd)
        if old is None and new is None:
            return
        assert old is not None, "a file comes from elsewhere"
        assert new is not None, "a file goes elsewhere"
        assert old[0] == new[0], "between directories a rename is two operations to a disk"
        node = self._node_at(_path(target, dst_dir_fd))
        self.operations.append(Names(old[0], ((new[1], node), (old[1], None))))

    # -- what a crash may leave

    def states(self, first: int = 0) -> Iterator[State]:
        """Every state after every operation from the ``first`` on; equal ones once for each number of operations."""
        for count in range(first, len(self.operations) + 1):
            seen: set[str] = set()
            for chosen in self._survivors(self.operations[:count]):
                tree = self.tree_of(chosen)
                if (looks := repr(tree)) not in seen:
                    seen.add(looks)
                    yield State(count, tree)

    def _survivors(self, begun: Sequence[Operation]) -> Iterator[list[Operation]]:
        synced = {operation.node: place for place, operation in enumerate(begun) if isinstance(operation, Sync)}
        pending = [
            place for place, operation in enumerate(begun)
            if not isinstance(operation, Sync) and place > synced.get(_subject(operation), -1)
        ]  # fmt: skip
        sizes = [size for size in range(len(pending) + 1) if min(size, len(pending) - size) <= TOGETHER]
        for lost in itertools.chain.from_iterable(itertools.combinations(pending, size) for size in sizes):
            kept = [operation for place, operation in enumerate(begun) if place not in lost]
            yield kept
            for place in pending:
                operation = begun[place]
                if place not in lost and isinstance(operation, Write):
                    at = kept.index(operation)
                    for torn in _torn(operation):
                        yield [*kept[:at], *torn, *kept[at + 1 :]]

    def tree_of(self, operations: Sequence[Operation]) -> Tree:
        """What is there after some of the operations."""
        files = {node: bytearray(content) for node, content in self._contents.items()}
        names = {node: dict(first) for node, first in self._first_names.items()}
        for operation in operations:
            if isinstance(operation, Names):
                for name, node in operation.given:
                    if node is None:
                        names.setdefault(operation.directory, {}).pop(name, None)
                    else:
                        names.setdefault(operation.directory, {})[name] = node
            elif isinstance(operation, Write):
                file = files.setdefault(operation.node, bytearray())
                file.extend(bytes(max(0, operation.offset - len(file))))
                file[operation.offset : operation.offset + len(operation.data)] = operation.data
            elif isinstance(operation, Size):
                file = files.setdefault(operation.node, bytearray())
                file[operation.size :] = bytes(max(0, operation.size - len(file)))
        return self._tree(0, names, files)

    def _tree(self, directory: int, names: dict[int, dict[str, int]], files: dict[int, bytearray]) -> Tree:
        tree: Tree = {}
        for name, node in sorted(names.get(directory, {}).items()):
            is_file = self._kinds[node] == "file"
            tree[name] = bytes(files.get(node, b"")) if is_file else self._tree(node, names, files)
        return tree


def _path(path: Any, at: int | None) -> str:
    text = os.fsdecode(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{at}"), text) if at is not None else os.path.abspath(text)


def _subject(operation: Names | Write | Size) -> int:
    return operation.directory if isinstance(operation, Names) else operation.node


def _torn(write: Write) -> Iterator[list[Operation]]:
    """A write of which only a part is there: the room without the bytes, or the first half of them."""
    end = write.offset + len(write.data)
    yield [Write(write.node, write.offset, bytes(len(write.data)))]
    half = write.data[: len(write.data) // 2]
    yield [Write(write.node, write.offset, half + bytes(end - write.offset - len(half)))]
    yield [Write(write.node, write.offset, half)]


def read_tree(path: str | Path) -> Tree:
    """What is in a directory."""
    tree: Tree = {}
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        tree[entry.name] = read_tree(entry.path) if entry.is_dir() else Path(entry.path).read_bytes()
    return tree


def write_tree(path: str | Path, tree: Tree) -> None:
    """Make a directory with this in it."""
    os.mkdir(path)
    for name, content in tree.items():
        if isinstance(content, bytes):
            Path(path, name).write_bytes(content)
        else:
            write_tree(f"{path}/{name}", content)
