"""Where downloads land: files beneath one directory, and never outside it, whatever the keys say.

Keys are data that somebody else wrote. A key becomes a path segment by segment, and directories are opened one
beneath the other without following links (``openat`` with ``O_NOFOLLOW``), so neither ``..`` nor a link that stands
in the destination leads out of it. Bytes go to a temporary file beside the target, which is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from s3dlio.engine.write_behind import LARGE, WriteBehind
from s3dlio.errors import (
    AlreadyExistsError,
    IsDirectoryError,
    S3dlioError,
    TransferCancelledError,
    UnsafeKeyError,
    UnsupportedOperationError,
)
from s3dlio.foreign_errors import from_os_error, local_error
from s3dlio.memory.libc import allocate
from s3dlio.stores.local.atomic import Replacement, is_unfinished, new_unfinished_name

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_BENEATH = _DIRECTORY | getattr(os, "O_NOFOLLOW", 0)
_PROBE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def safe_segments(name: str, *, uri: str, destination: str, windows: bool = os.name == "nt") -> list[str]:
    """The path segments of an object's name.

    Args:
        name: the key relative to the selection.
        uri: the object, for the message.
        destination: the directory, for the message.
        windows: also refuse what is special in paths there (backslashes, drives, trailing dots and spaces).

    Raises:
        UnsafeKeyError: the name is absolute, has empty, ``.`` or ``..`` segments, a NUL, or cannot be encoded.
    """
    segments = name.split("/")
    reason = None
    if "\x00" in name:
        reason = "it has a NUL character"
    elif not segments[0]:
        reason = "it is an absolute path"
    elif ".." in segments:
        reason = "it has a '..' segment, which leads out of the directory"
    elif "" in segments or "." in segments:
        reason = "it has an empty or '.' segment, which a path drops: another key has the same path"
    elif windows and ("\\" in name or ":" in name or any(s.endswith((".", " ")) for s in segments)):
        reason = "it has a backslash, a drive, or a segment that ends in a dot or space"
    elif is_unfinished(segments[-1]):
        reason = "it is the name of an unfinished file"
    elif not name.isascii():
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            reason = "it cannot be written in the encoding of file names"
    if reason is not None:
        raise UnsafeKeyError(
            f"the key is refused as a file in {destination}: {reason}", uri=uri,
            hint="fetch this object by itself under a name of your own (s3-cli cp URI FILE)",
        )  # fmt: skip
    return segments


class DestinationDirectory:
    """A destination directory. Safe to share among threads.

    Args:
        directory: is made, with its parents, if it is not there; may itself be a link, since the user named it.
        ignores_case: two names that differ in case only are one file here; found out by asking when None.

    Raises:
        S3dlioError: the directory cannot be made or opened.
    """

    def __init__(self, directory: str, *, ignores_case: bool | None = None) -> None:
        self.directory = os.path.abspath(directory)
        self._beneath = os.path.join(self.directory, "")
        uri = self.uri = "file://" + self.directory
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._root = os.open(self.directory, _DIRECTORY)
        except FileExistsError as error:
            hint = "name a directory; cp (copy) takes the name of a file"
            raise AlreadyExistsError(
                "a file stands where the destination directory should be", uri=uri, hint=hint
            ) from error
        except OSError as error:
            raise from_os_error(error, uri=uri) from error
        try:
            self.ignores_case = self._probe_case() if ignores_case is None else ignores_case
        except OSError as error:
            os.close(self._root)
            raise from_os_error(error, uri=uri) from error
        self._folded: dict[str, str] = {}
        self._lock = threading.Lock()
        self._users = 1
        #: Writes the large files.
        self.behind = WriteBehind()

    def close(self) -> None:
        """Close the directory, when no file of an interrupted transfer is opened or ended in it any more."""
        self.behind.close()
        self.let_go()

    def hold(self) -> bool:
        """Keep the directory open until ``let_go``: another thread opens and ends a file in it. False: it is closed."""
        with self._lock:
            is_open = self._users > 0
            self._users += is_open
        return is_open

    def let_go(self) -> None:
        """The end of a ``hold``."""
        with self._lock:
            self._users -= 1
            over = not self._users
        if over:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> DestinationDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, name: str) -> str:
        """The path of ``name`` here."""
        return f"{self._beneath}{name}"

    def size(self, name: str) -> int | None:
        """The bytes of the file ``name``; None where there is none."""
        try:
            return os.lstat(self.path(name)).st_size
        except (OSError, ValueError):
            return None

    def _probe_case(self) -> bool:
        """Whether a new file is also found under its name in capitals. Fails early where nothing can be written."""
        name = new_unfinished_name()
        os.close(os.open(name, _PROBE, 0o600, dir_fd=self._root))
        try:
            os.stat(name.upper(), dir_fd=self._root)
        except FileNotFoundError:
            return False
        finally:
            os.unlink(name, dir_fd=self._root)
        return True

    def claim(self, name: str, uri: str) -> list[str]:
        """The segments of ``name``, checked, and not taken by another object of this transfer.

        On a file system that ignores case the names are kept in memory, about 200 bytes each; elsewhere none are.

        Raises:
            UnsafeKeyError: as of :func:`safe_segments`, or the name is another one here.
        """
        segments = safe_segments(name, uri=uri, destination=self.directory)
        if self.ignores_case:
            with self._lock:
                other = self._folded.setdefault(name.casefold(), name)
            if other != name:
                raise UnsafeKeyError(
                    f"the key is refused as a file in {self.directory}: the file system takes it for '{other}'",
                    uri=uri, hint="download to a file system that tells capitals apart",
                )  # fmt: skip
        return segments

    @contextlib.contextmanager
    def parent(self, segments: list[str], uri: str) -> Iterator[int]:
        """A descriptor as of :meth:`open_parent`, while the block runs."""
        descriptor = self.open_parent(segments, uri)
        try:
            yield descriptor
        finally:
            close_parent(descriptor, segments)

    def open_parent(self, segments: list[str], uri: str) -> int:
        """A descriptor of the directory that ``segments`` lead to (all but the last), made where it is missing;
        :func:`close_parent` closes it.

        Raises:
            UnsafeKeyError: a link stands in the way.
            AlreadyExistsError: a file stands in the way.
        """
        descriptor = self._root
        for depth in range(1, len(segments)):
            above = descriptor
            try:
                descriptor = self._descend(above, segments[depth - 1], "/".join(segments[:depth]), uri)
            finally:
                close_parent(above, segments[:depth])
        return descriptor

    def _descend(self, parent: int, segment: str, name: str, uri: str) -> int:
        for _ in range(2):
            try:
                return os.open(segment, _BENEATH, dir_fd=parent)
            except FileNotFoundError:
                try:
                    os.mkdir(segment, dir_fd=parent)
                except FileExistsError:
                    pass
                except OSError as error:
                    raise self._typed(error, name, uri) from error
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):  # Linux says ENOTDIR for a link, others ELOOP
                    raise self._in_the_way(parent, segment, name, uri) from error
                raise self._typed(error, name, uri) from error
        raise self._typed(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), name, uri)

    def _in_the_way(self, parent: int, segment: str, name: str, uri: str) -> S3dlioError:
        if stat.S_ISLNK(os.stat(segment, dir_fd=parent, follow_symlinks=False).st_mode):
            return UnsafeKeyError(
                f"the key is refused as a file in {self.directory}: '{name}' is a link there and could lead out of it",
                uri=uri, hint="remove the link, or name the directory it leads to",
            )  # fmt: skip
        return AlreadyExistsError(f"the file {self.path(name)} stands where the key needs a directory", uri=uri)

    def refusal(self, error: Exception, segments: list[str], uri: str) -> Exception:
        """The error for what the file system refuses, with the object and the path; any other error as it is."""
        name = segments[-1]
        if isinstance(error, IsADirectoryError):
            reason = f"a directory of the name '{name}' stands where the file should be in {self.directory}"
            return IsDirectoryError(reason, uri=uri)
        if isinstance(error, UnsupportedOperationError):
            reason = f"'{name}' in {self.directory} is a device, fifo or socket, which a download would destroy"
            return AlreadyExistsError(reason, uri=uri, hint="name a file; s3-cli cp URI - writes to standard output")
        return self._typed(error, "/".join(segments), uri) if isinstance(error, OSError) else error

    def _typed(self, error: OSError, name: str, uri: str) -> S3dlioError:
        typed = local_error(error, self.path(name))
        typed.locate(uri, None)
        return typed


def close_parent(descriptor: int, segments: list[str]) -> None:
    """Close what ``open_parent`` gave for ``segments``, unless that is the destination itself: of an interrupted
    transfer, which may be closed, and the number another's."""
    if len(segments) > 1:
        os.close(descriptor)


class NewFile:
    """A new file of a destination directory: opened, then used by ``with``. It gets its name when the block ends well,
    and is gone when it does not.

    Args:
        directory: the destination.
        segments: as of :meth:`DestinationDirectory.claim`.
        uri: the object, for messages.
        durable: the content and the name are on the disk when this ends (fsync of file and directory).
        earlier, create_only: as of :class:`Replacement`.

    Raises:
        IsDirectoryError, AlreadyExistsError: a directory, or what is no file at all, has the name.
        S3dlioError: any other refusal of the file system.
    """

    __slots__ = (
        "_create_only", "_directory", "_durable", "_earlier", "_end_once", "_held", "_new", "_parent", "_segments",
        "_uri",
    )  # fmt: skip

    def __init__(
        self, directory: DestinationDirectory, segments: list[str], uri: str, *, durable: bool = False,
        earlier: str | None = None, create_only: bool = False,
    ) -> None:  # fmt: skip
        self._directory, self._segments, self._uri = directory, segments, uri
        self._durable, self._earlier, self._create_only = durable, earlier, create_only
        self._held = False
        self._end_once = threading.Lock()  # whoever gets it ends the file

    def open(self) -> Replacement:
        """Make the file, without its name.

        Raises:
            S3dlioError: as of the class.
        """
        segments = self._segments
        parent = self._parent = self._directory.open_parent(segments, self._uri)
        try:
            self._new = Replacement(
                segments[-1], beneath=parent, durable=self._durable, earlier=self._earlier,
                create_only=self._create_only,
            )  # fmt: skip
        except BaseException as error:
            close_parent(parent, segments)
            if isinstance(error, Exception) and (typed := self._refused(error)) is not error:
                raise typed from error
            raise
        return self._new

    def opening(self, size: int) -> Callable[[], Replacement]:
        """What opens the file on any thread. A large one (``size`` bytes) gets its room at once, as of
        :meth:`BehindSink.begin`."""

        def work() -> Replacement:
            if not self._directory.hold():
                raise TransferCancelledError("the transfer has ended", uri=self._uri)
            try:
                new = self.open()
            except BaseException:
                self._directory.let_go()
                raise
            self._held = True
            try:
                if size > LARGE:
                    allocate(new.fd, size)
            except OSError as error:
                self.give_up()
                raise self._refused(error) from error
            return new

        return work

    def ending(self, before: Callable[[], object]) -> Callable[[], None]:
        """What ends the file well on any thread, and ``before`` that does what is left to do. Its ``with`` does nothing
        any more once that has begun; where the ``with`` has ended first, this does nothing."""

        def work() -> None:
            if not self._end_once.acquire(blocking=False):
                return
            try:
                before()
            except BaseException as error:
                self._end(error)
                raise
            self._end(None)

        return work

    def give_up(self, *_: object) -> None:
        """It is open, and nobody wants it."""
        self._end(GeneratorExit())

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._end_once.acquire(blocking=False):
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        try:
            if error is None:
                self._new.commit()
        except Exception as refused:
            if (typed := self._refused(refused)) is not refused:
                raise typed from refused
            raise
        finally:
            self._new.abort()
            close_parent(self._parent, self._segments)
            if self._held:
                self._directory.let_go()

    def _refused(self, error: Exception) -> Exception:
        return self._directory.refusal(error, self._segments, self._uri)
