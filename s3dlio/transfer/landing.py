"""Where downloads land: files beneath one directory, and never outside it, whatever the keys say.

Keys are data that somebody else wrote. A key becomes a path segment by segment, and directories are opened one
beneath the other without following links (``openat`` with ``O_NOFOLLOW``), so neither ``..`` nor a link that stands
in the destination leads out of it. Bytes go to a temporary file beside the target, which is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import threading
from collections.abc import Iterator

from s3dlio.errors import AlreadyExistsError, IsDirectoryError, S3dlioError, UnsafeKeyError, from_os_error
from s3dlio.stores.replacement import is_unfinished, unfinished_name
from s3dlio.transfer.behind import WriteBehind

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_BENEATH = _DIRECTORY | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


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


class Landing:
    """A destination directory. Safe to share among threads.

    Args:
        directory: is made, with its parents, if it is not there; may itself be a link, since the user named it.
        ignores_case: two names that differ in case only are one file here; found out by asking when None.

    Raises:
        S3dlioError: the directory cannot be made or opened.
    """

    def __init__(self, directory: str, *, ignores_case: bool | None = None) -> None:
        self.directory = os.path.abspath(directory)
        uri = self.uri = "file://" + self.directory
        # One random number for all: one from the system for each file took 13 us of the 230 that a small file took.
        self._token = secrets.token_hex(12)
        self._count = itertools.count()
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._root = os.open(self.directory, _DIRECTORY)
        except FileExistsError as error:
            raise AlreadyExistsError("a file stands where the destination directory should be", uri=uri) from error
        except OSError as error:
            raise from_os_error(error, uri=uri) from error
        try:
            self.ignores_case = self._probe_case() if ignores_case is None else ignores_case
        except OSError as error:
            os.close(self._root)
            raise from_os_error(error, uri=uri) from error
        self._folded: dict[str, str] = {}
        self._lock = threading.Lock()
        #: Writes the large files.
        self.behind = WriteBehind()

    def close(self) -> None:
        """Close the directory."""
        self.behind.close()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, name: str) -> str:
        """The path of ``name`` here."""
        return os.path.join(self.directory, name)

    def _temporary(self) -> str:
        """A new name for an unfinished file. The target's name is not in it, since that may be as long as a name can
        be."""
        return unfinished_name(f"{self._token}-{next(self._count)}")

    def _probe_case(self) -> bool:
        """Whether a new file is also found under its name in capitals. Fails early where nothing can be written."""
        name = self._temporary()
        os.close(os.open(name, _NEW, 0o600, dir_fd=self._root))
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
        """A descriptor of the directory that ``segments`` lead to (all but the last), made where it is missing.

        Raises:
            UnsafeKeyError: a link stands in the way.
            AlreadyExistsError: a file stands in the way.
        """
        descriptor = self._root
        try:
            for depth, segment in enumerate(segments[:-1], 1):
                below = self._descend(descriptor, segment, "/".join(segments[:depth]), uri)
                if descriptor != self._root:
                    os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            if descriptor != self._root:
                os.close(descriptor)

    def path_for_store(self, name: str, uri: str) -> str:
        """The path of ``name`` for a store that writes by path: checked, with its directories made.

        Raises:
            UnsafeKeyError: also where a link has that name, since such a store would follow it.
        """
        segments = self.claim(name, uri)
        with self.parent(segments, uri) as parent:
            try:
                mode = os.stat(segments[-1], dir_fd=parent, follow_symlinks=False).st_mode
            except FileNotFoundError:
                mode = 0
            if stat.S_ISLNK(mode):
                raise self._in_the_way(parent, segments[-1], name, uri)
        return self.path(name)

    def _descend(self, parent: int, segment: str, name: str, uri: str) -> int:
        for _ in range(2):
            try:
                return os.open(segment, _BENEATH, dir_fd=parent)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(segment, dir_fd=parent)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):  # Linux says ENOTDIR for a link, others ELOOP
                    raise self._in_the_way(parent, segment, name, uri) from error
                raise self._typed(error, uri) from error
        raise self._typed(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), uri)

    def _in_the_way(self, parent: int, segment: str, name: str, uri: str) -> S3dlioError:
        if stat.S_ISLNK(os.stat(segment, dir_fd=parent, follow_symlinks=False).st_mode):
            return UnsafeKeyError(
                f"the key is refused as a file in {self.directory}: '{name}' is a link there and could lead out of it",
                uri=uri, hint="remove the link, or name the directory it leads to",
            )  # fmt: skip
        return AlreadyExistsError(f"the file {self.path(name)} stands where the key needs a directory", uri=uri)

    @contextlib.contextmanager
    def file(
        self, segments: list[str], uri: str, *, mtime_ns: list[int] | None = None, durable: bool = False
    ) -> Iterator[int]:
        """A descriptor of a new file. It gets its name when the block ends well, and is gone when it does not.

        Args:
            segments: as of :meth:`claim`.
            uri: the object, for messages.
            mtime_ns: the time of the file is set to its element, if the block puts one in.
            durable: the content and the name are on the disk when this ends (fsync of file and directory).

        Raises:
            IsDirectoryError: a directory has that name.
        """
        temporary = self._temporary()
        with self.parent(segments, uri) as parent:
            existing = self._existing(parent, segments[-1], uri)
            try:
                descriptor = os.open(temporary, _NEW, 0o666, dir_fd=parent)
            except OSError as error:
                raise self._typed(error, uri) from error
            try:
                try:
                    if existing is not None:
                        os.fchmod(descriptor, stat.S_IMODE(existing.st_mode) & 0o777)
                    yield descriptor
                    if mtime_ns:
                        os.utime(descriptor, ns=(mtime_ns[0], mtime_ns[0]))
                    if durable:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._rename(temporary, segments[-1], parent, uri)
                if durable:
                    os.fsync(parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
                raise

    def _existing(self, parent: int, name: str, uri: str) -> os.stat_result | None:
        """The regular file that will be replaced, if there is one. A link is replaced, too, and not followed."""
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._typed(error, uri) from error
        if stat.S_ISLNK(found.st_mode):
            return None
        if stat.S_ISDIR(found.st_mode):
            raise self._is_directory(name, uri)
        if not stat.S_ISREG(found.st_mode):
            raise AlreadyExistsError(
                f"'{name}' in {self.directory} is a device, fifo or socket, which a download would destroy",
                uri=uri,
            )
        if not os.access(name, os.W_OK, dir_fd=parent):  # a rename would not ask
            raise self._typed(PermissionError(errno.EACCES, "the file that would be replaced is read-only"), uri)
        return found

    def _is_directory(self, name: str, uri: str) -> S3dlioError:
        return IsDirectoryError(
            f"a directory of the name '{name}' stands where the file should be in {self.directory}",
            uri=uri,
        )  # fmt: skip

    def _rename(self, temporary: str, name: str, parent: int, uri: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except IsADirectoryError as error:
            raise self._is_directory(name, uri) from error
        except OSError as error:
            raise self._typed(error, uri) from error

    def _typed(self, error: OSError, uri: str) -> S3dlioError:
        typed = from_os_error(error, uri=uri)
        typed.hint = f"the destination is {self.directory}"
        return typed
