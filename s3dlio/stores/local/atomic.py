"""A file that takes its name only when it is complete: written beside the target under a hidden name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import stat
from collections.abc import Container
from types import TracebackType

from s3dlio.errors import AlreadyExistsError, IntegrityError, UnsupportedOperationError
from s3dlio.forking import call_in_child

_log = logging.getLogger(__name__)

_UNFINISHED = (
    os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
)  # fmt: skip
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

#: How often a directory is made anew that others remove.
_TRIES = 10
_PREFIX = ".s3dlio-"
_SUFFIX = ".partial"
#: So often a directory is made that has no parent, as the system says, and has one: somebody removes what is made, or
#: the file system takes no directories (``/proc``).
_TRIES = 64


def unfinished_name(unique: str) -> str:
    """The name that a file has until it is complete. ``unique``: of this write alone, in plain characters."""
    return f"{_PREFIX}{unique}{_SUFFIX}"


def is_unfinished(name: str) -> bool:
    """Whether a file name is that of an unfinished (or, after a crash, abandoned) write; listings leave these out."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


# One random number for a process: one from the system for each file took 13 us of the 230 that a small file took.
_token = os.urandom(12).hex()
_count = itertools.count()


@call_in_child
def _renew() -> None:
    global _token
    _token = os.urandom(12).hex()


def new_unfinished_name() -> str:
    """An ``unfinished_name`` of no other write. The target's is not in it: that may be as long as a name can be."""
    return f"{_PREFIX}{_token}-{next(_count)}{_SUFFIX}"


def unfinished_token() -> str:
    """What is in the names of all unfinished files of this process, and in no other's."""
    return _token


def remove_abandoned(directory: int | str, token: str, kept: Container[str] = ()) -> None:
    """Remove the unfinished files that a process left which has died.

    Args:
        directory: a path, or a descriptor of the open directory.
        token: the ``unfinished_token`` of that process.
        kept: names of files that are resumed.
    """
    beneath = os.open(directory, os.O_RDONLY | os.O_DIRECTORY) if isinstance(directory, str) else directory
    try:
        for name in os.listdir(beneath):
            if name.startswith(f"{_PREFIX}{token}-") and is_unfinished(name) and name not in kept:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=beneath)
    finally:
        if beneath is not directory:
            os.close(beneath)


class Replacement:
    """The new content of ``path``, invisible until `commit`. Used with ``with``: what ends without it leaves nothing.

    An existing file hands down its mode and, as far as the process may, its owner: from the first moment nobody may
    read the new one who could not read the old one. Hard links, extended attributes and ACLs are not carried over.

    Args:
        path: the target. A symbolic link is followed, as ``open`` would, and parents are made.
        beneath: a descriptor of the open directory that has the target; ``path`` is then a bare name, a link of that
            name is replaced, and nothing leads out of the directory. Stays the caller's, open until the end.
        flags: more flags for ``os.open`` (O_DIRECT).
        create_only: refuse a target that exists, atomically.
        durable: `commit` returns when the content and the name are on the disk (fsync of file and directory).
        earlier: the unfinished name of a write that was kept, and resumes if it is still there; with ``beneath``.

    Raises:
        IsADirectoryError: the path is, or by its ``/`` at the end names, a directory.
        PermissionError: the directory, or the existing file, may not be written.
        AlreadyExistsError: ``create_only`` and it exists.
        UnsupportedOperationError: the path is a device, FIFO or socket; a rename would destroy it.
        OSError: whatever else the system says.
    """

    _over = True  # nothing is there that `abort` would have to remove

    def __init__(
        self,
        path: str,
        *,
        beneath: int | None = None,
        flags: int = 0,
        create_only: bool = False,
        durable: bool = False,
        earlier: str | None = None,
    ) -> None:
        self.fd = -1
        #: What is there stays under its unfinished name if this ends without a `commit`.
        self.keep = False
        #: How many bytes a whole file has, where the writer knows it.
        self.size: int | None = None
        self._beneath = beneath
        self._create_only = create_only
        #: `commit` waits for the disk.
        self.durable = durable
        self._process = _token
        self._made: list[str] = []
        self.path, existing = _examine(path) if beneath is None else _examine_beneath(beneath, path)
        self.replaces = existing is not None
        if existing is not None and create_only:
            raise AlreadyExistsError("the file exists already")
        directory, slash, name = self.path.rpartition("/")
        if not name:
            raise IsADirectoryError(errno.EISDIR, "the path names a directory")
        self._directory = directory + slash or "."
        self._partial = f"{directory}{slash}{new_unfinished_name()}"
        self._over = False
        try:
            if earlier is None or not self._resume(earlier):
                self.fd = self._open(flags | _NEW, 0o666 if existing is None else 0o600)
            if existing is not None:
                self._inherit(existing)
        except BaseException:
            self.abort()
            raise

    def _open(self, flags: int, mode: int) -> int:
        try:
            return os.open(self._partial, flags, mode, dir_fd=self._beneath)
        except FileNotFoundError:
            if self._beneath is not None:
                raise
            return self._open_in_new_directory(flags, mode)

    def _open_in_new_directory(self, flags: int, mode: int) -> int:
        left = _TRIES
        while True:
            make_directories(self._directory, self._made)
            try:
                return os.open(self._partial, flags, mode)
            except FileNotFoundError:  # another write has failed, and removed the directory that it had made
                left -= 1
                if not left:
                    raise

    def _resume(self, name: str) -> bool:
        """Resume the unfinished file ``name``, if it is one, and no other user's."""
        if "/" in name or not is_unfinished(name):
            return False
        try:
            fd = os.open(name, _UNFINISHED, dir_fd=self._beneath)
        except OSError:
            return False
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_nlink != 1:
            os.close(fd)
            return False
        self.fd, self._partial = fd, name
        return True

    @property
    def partial(self) -> str:
        """The name that the file has until it is complete."""
        return self._partial.rpartition("/")[2]

    def _inherit(self, existing: os.stat_result) -> None:
        if existing.st_uid != os.geteuid() or existing.st_gid != os.getegid():
            with contextlib.suppress(PermissionError):  # only root may give files away; the content matters more
                os.fchown(self.fd, existing.st_uid, existing.st_gid)
        os.fchmod(self.fd, stat.S_IMODE(existing.st_mode) & 0o777)

    def commit(self) -> os.stat_result:
        """Give the file its name; what it is then.

        Raises:
            AlreadyExistsError: ``create_only``, and another writer was quicker.
            IntegrityError: the file has not as many bytes as its writer says.
            OSError: and nothing is left of the file.
        """
        try:
            if self.durable:
                os.fsync(self.fd)
            result = os.fstat(self.fd)
            if self.size is not None and result.st_size != self.size:
                raise IntegrityError(f"{result.st_size} bytes are in the file of an object of {self.size}")
            self._close()
            self._rename()
            self._over = True
        except BaseException:
            self.abort()
            raise
        if self.durable:
            self._sync_directories()
        return result

    def _sync_directories(self) -> None:
        if self._beneath is not None:
            os.fsync(self._beneath)
            return
        for directory in (self._directory, *(os.path.dirname(made.rstrip("/")) or "." for made in self._made)):
            sync_directory(directory)

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)

    def _rename(self) -> None:
        at = self._beneath
        if not self._create_only:
            if at is None:
                os.rename(self._partial, self.path)
            else:
                os.rename(self._partial, self.path, src_dir_fd=at, dst_dir_fd=at)
            return
        try:
            os.link(self._partial, self.path, src_dir_fd=at, dst_dir_fd=at)  # unlike rename, it refuses a taken name
        except FileExistsError as exc:
            raise AlreadyExistsError("the file exists already") from exc
        os.unlink(self._partial, dir_fd=at)

    def abort(self) -> None:
        """Leave nothing of the file. May be called again; does nothing after `commit`.

        A forked child closes its copy of the descriptor, and leaves the file, which is its parent's.
        """
        try:
            if self.fd >= 0:
                self._close()
        finally:
            if self._process is _token and not self._over:
                if not self.keep:
                    self._remove()
                self._over = True

    def _remove(self) -> None:
        try:
            os.unlink(self._partial, dir_fd=self._beneath)
        except FileNotFoundError:
            pass
        except OSError as exc:  # an error of its own would hide why the write was given up
            _log.warning("could not remove the unfinished file %s: %s", self._partial, exc.strerror)
        for directory in reversed(self._made):
            with contextlib.suppress(OSError):  # others' files are in it
                os.rmdir(directory)

    def __enter__(self) -> Replacement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._over:
            self.abort()

    def __del__(self) -> None:
        """An interrupt may come after the file was made and before anybody holds this object in a ``with``."""
        if not self._over:
            self.abort()


def _examine(path: str) -> tuple[str, os.stat_result | None]:
    """Where a write to ``path`` lands, and what is there now (None: nothing)."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            path = os.path.realpath(path)
            found = os.stat(path)
    except FileNotFoundError:
        return path, None
    return path, _replaceable(found, path, None)


def _examine_beneath(directory: int, name: str) -> tuple[str, os.stat_result | None]:
    """:func:`_examine` in an open directory; a link is replaced, as if nothing were there, but not one like
    ``/dev/stdout``, by which others find a device or pipe."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return name, None
    if not stat.S_ISLNK(found.st_mode):
        return name, _replaceable(found, name, directory)
    with contextlib.suppress(OSError):  # it leads nowhere, or where this user may not look
        mode = os.stat(name, dir_fd=directory).st_mode
        if not stat.S_ISDIR(mode):
            check_regular(mode)
    return name, None


def _replaceable(found: os.stat_result, path: str, directory: int | None) -> os.stat_result:
    """``found``, if a rename may take its place."""
    check_regular(found.st_mode)
    if not os.access(path, os.W_OK, dir_fd=directory):
        raise PermissionError(errno.EACCES, "the file is read-only")  # a rename would not ask
    return found


def check_regular(mode: int) -> None:
    """Refuse what is no regular file.

    Raises:
        IsADirectoryError: a directory.
        UnsupportedOperationError: a FIFO, socket or device, which could block for ever.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    kind = kinds.get(stat.S_IFMT(mode), "special file")
    raise UnsupportedOperationError(f"not a regular file but a {kind}", hint="name a file")


def make_directories(path: str, made: list[str] | None = None) -> list[str]:
    """Make a directory and its parents; one that is there is no error. (`os.makedirs` recurses, and deep trees exist.)

    Returns those that were made, the outermost first; they are added to ``made``, also where the next one fails.

    Raises:
        FileExistsError: it is a file.
        OSError: whatever else the system says.
    """
    made = [] if made is None else made
    missing = [path]
    tries = _TRIES
    while missing:
        try:
            os.mkdir(missing[-1])
            made.append(missing[-1])
        except FileExistsError:
            if not os.path.isdir(missing[-1]):
                raise
        except FileNotFoundError:
            parent = missing[-1].rstrip("/").rpartition("/")[0]
            is_there = os.path.isdir(parent)
            tries -= is_there
            if not parent or not tries:
                raise
            if not is_there:
                missing.append(parent)
            continue
        missing.pop()
    return made


def sync_directory(path: str) -> None:
    """Have what a directory has, and has no more, on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
