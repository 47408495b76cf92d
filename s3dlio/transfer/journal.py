"""The journal of a transfer: what is done and how far the rest is, so that an interrupted one resumes where it stopped.

A text file of JSON arrays, one a line. The first names the format and the transfer. ``[name, stamp]`` is a finished
object; its stamp (size, and ETag or time of the last change) tells whether it has changed since, and is transferred
again. ``[name, stamp, state]`` is a large one on its way: what its route needs to resume it (the last such line
counts). Lines are only appended. A thread of the journal's own writes them, once a second at most and never more than a
tenth of the time: first the data that they speak of is synced (the file system of the destination), then the lines. So
a crash costs some seconds of work, and never a file; a last line that was torn by it is ignored. The file is removed
when the transfer has ended without a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from s3dlio.errors import AlreadyExistsError, ConfigError, CorruptDataError, S3dlioError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.libc import sync_file_system
from s3dlio.posix import fcntl
from s3dlio.transfer.plan import Item

_FORMAT = "s3dlio-journal-2"
_FORMATS = ("s3dlio-journal-1", _FORMAT)  # the first knows no objects on their way
_BEGINS = b'["s3dlio-journal-'
_LONGEST_HEADER = 1 << 20
_OPEN = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
)  # fmt: skip
_SYNC_SECONDS = 1.0
_SHARE = 10  # of the time, one part in so many goes into syncing
_DIGEST = 16  # bytes: two of 50 million objects have one digest with a chance of 4e-24

State = dict[str, Any]


class Unfinished(NamedTuple):
    """An object that was on its way: its stamp then, and what its route wrote down."""

    stamp: str
    state: State


class ItemStates(Protocol):
    """What a route knows of the journal: how far single objects are. Methods are those of :class:`Journal`."""

    def unfinished(self, item: Item) -> Unfinished | None: ...
    def save(self, item: Item, state: State) -> None: ...
    def watching(self, item: Item, state: Callable[[], State]) -> contextlib.AbstractContextManager[None]: ...


class Journal:
    """The journal at ``path``. Safe to share among threads; one process at a time holds it.

    What was done before is kept as sorted digests: 16 bytes for each object, 800 MB for 50 million.

    Args:
        path: a regular file of one's own; made, readable by nobody else, if it is not there.
        operation: the verb of the transfer.
        source: what it transfers.
        destination: and where to. A journal of another transfer is refused.
        directory: the destination, where it is local: its file system is synced before lines are.
        services: of source and destination: a bucket of one name may be in two services.

    Raises:
        ConfigError: it is the journal of another transfer, or no journal: a link, a device, somebody else's, a file
            that neither is empty nor begins as a journal does. It is untouched.
        AlreadyExistsError: another process is using it.
        CorruptDataError: a line that is not the last cannot be read.
        S3dlioError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        operation: str,
        source: str,
        destination: str,
        directory: str | None = None,
        services: Sequence[str] = ("", ""),
    ) -> None:
        self.path = os.fspath(path)
        self._header = [operation, source, destination, *services]
        self._directory = directory
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._lines: list[bytes] = []
        self._watched: dict[str, tuple[str, Callable[[], State]]] = {}
        self._done: Any = None
        self._unfinished: dict[str, Unfinished] = {}
        self._size = 0
        self._error: S3dlioError | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._fd = self._open()
        try:
            self._hold()
            self._load()
        except BaseException as error:
            os.close(self._fd)
            self._fd = -1
            if isinstance(error, OSError) and not isinstance(error, S3dlioError):
                raise self._typed(error) from error
            raise

    def _open(self) -> int:
        try:
            fd = os.open(self.path, _OPEN, 0o600)
        except OSError as error:
            if os.path.islink(self.path):
                raise self._refused("the journal is a symbolic link, which may lead to anybody's file") from error
            raise self._typed(error) from error
        about = os.fstat(fd)
        reason = None
        if not stat.S_ISREG(about.st_mode):
            reason = "the journal is no regular file"
        elif about.st_uid != os.geteuid():
            reason = "the journal belongs to another user"
        if reason is not None:
            os.close(fd)
            raise self._refused(reason)
        return fd

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(reason, uri=f"file://{self.path}", operation="JOURNAL", hint="name a file that is not there")

    def _typed(self, error: OSError) -> S3dlioError:
        return from_os_error(error, uri=f"file://{self.path}", operation="JOURNAL")

    def _hold(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyExistsError(
                "another transfer is using this journal", uri=f"file://{self.path}", operation="JOURNAL",
                hint="wait for it, or name another journal",
            ) from error  # fmt: skip

    def _load(self) -> None:
        with open(self._fd, "rb", closefd=False) as file:
            header = file.readline(_LONGEST_HEADER)
            if not header.startswith(_BEGINS[: len(header)]):
                raise self._refused("the file is no journal")
            if not header.endswith(b"\n"):  # new, or torn before anything was done
                if len(header) == _LONGEST_HEADER:
                    raise self._refused("the file is no journal")
                self._begin()
                return
            self._check_header(header)
            os.fchmod(self._fd, 0o600)
            digests = bytearray()
            self._size = len(header)
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):
                    break
                digests += self._read_line(line, number)
                self._size += len(line)
        os.ftruncate(self._fd, self._size)
        if digests:
            self._done = _sorted(digests)

    def _begin(self) -> None:
        os.fchmod(self._fd, 0o600)
        os.ftruncate(self._fd, 0)
        self._append([_line([_FORMAT, *self._header])])

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, list) or header[0] not in _FORMATS:
            raise self._refused("the file is no journal, or one of a newer release")
        named = header[1:]  # an older release did not name the services
        if len(named) < 3 or named != self._header[: len(named)]:
            raise ConfigError(
                f"the journal belongs to another transfer: {' '.join(map(str, named)).rstrip()}",
                uri=f"file://{self.path}", hint="resume that one, or name another journal",
            )  # fmt: skip

    def _read_line(self, line: bytes, number: int) -> bytes:
        """The digest of what a line calls done; empty for an object on its way, which is kept."""
        try:
            name, stamp, *state = json.loads(line)
        except ValueError as error:
            raise CorruptDataError(
                f"line {number} of the journal cannot be read", uri=f"file://{self.path}",
                hint="delete that line, or the whole journal to transfer everything again",
            ) from error  # fmt: skip
        if state:
            self._unfinished[name] = Unfinished(stamp, state[0])
            return b""
        self._unfinished.pop(name, None)
        return _digest(name, stamp)

    def has(self, item: Item) -> bool:
        """Whether ``item``, as it is now, was done before."""
        return self._done is not None and _contains(self._done, _digest(item.name, item.stamp))

    def digests(self) -> bytes:
        """What was done before, for the journal of another process."""
        return b"" if self._done is None else bytes(self._done.tobytes())

    def learn(self, digests: bytes) -> None:
        """Believe that done, too, which another process's journal has."""
        if digests:
            self._done = _sorted(bytearray(self.digests() + digests))

    def unfinished(self, item: Item) -> Unfinished | None:
        """How far the object of this name was, as it was then: its stamp may be another."""
        found = self._unfinished.get(item.name)
        return found if found is not None and found.state else None

    def add(self, item: Item) -> None:
        """``item`` is done.

        Raises:
            S3dlioError: the journal can be written no more.
        """
        self._note(_line([item.name, item.stamp]))

    def save(self, item: Item, state: State) -> None:
        """``item`` is on its way; ``state`` (JSON) is what is needed to resume it, empty when nothing is left of
        it. Written at once, without a sync: what it speaks of is elsewhere."""
        with self._syncing:
            self._append([_line([item.name, item.stamp, state])])

    @contextlib.contextmanager
    def watching(self, item: Item, state: Callable[[], State]) -> Iterator[None]:
        """Ask for the state of ``item`` at every sync while the block runs, and once more if it fails."""
        with self._lock:
            self._watched[item.name] = (item.stamp, state)
        self._start()
        try:
            yield
        except BaseException:
            with self._lock:
                self._lines.append(_line([item.name, item.stamp, state()]))
            raise
        finally:
            with self._lock:
                del self._watched[item.name]

    def _note(self, line: bytes) -> None:
        if self._error is not None:
            raise self._error
        with self._lock:
            self._lines.append(line)
        self._start()

    def _start(self) -> None:
        """Have a thread write what there is, once in a while."""
        if self._thread is not None:
            return
        with self._lock:
            starts = self._thread is None
            if starts:
                self._thread = threading.Thread(target=self._run, name="s3dlio-journal", daemon=True)
        if starts:
            assert self._thread is not None
            with contextlib.suppress(RuntimeError):  # no more threads: what is left is written at the end
                self._thread.start()

    def _run(self) -> None:
        pause = _SYNC_SECONDS
        while not self._ending.wait(pause):
            began = time.monotonic()
            try:
                self.sync()
            except S3dlioError as error:
                self._error = error
                return
            pause = max(_SYNC_SECONDS, (_SHARE - 1) * (time.monotonic() - began))

    def sync(self) -> None:
        """Have the disk hold what is done, and then that it is.

        Raises:
            S3dlioError: one of them could not be written.
        """
        with self._syncing:
            with self._lock:
                lines, self._lines = self._lines, []
                watched = list(self._watched.items())
            lines += [_line([name, stamp, state()]) for name, (stamp, state) in watched]
            if not lines:
                return
            try:
                if self._directory is not None:
                    sync_file_system(self._directory)
                self._append(lines)
                os.fsync(self._fd)
            except OSError as error:
                raise self._typed(error) from error

    def _append(self, lines: list[bytes]) -> None:
        """Write whole lines, or none of what could not be written whole."""
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise self._typed(error) from error
        self._size += sum(map(len, lines))

    def close(self, *, finished: bool) -> None:
        """Write what is left; remove the file if the transfer is ``finished``."""
        if self._fd < 0:
            return
        self._ending.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()
        fd = self._fd
        try:
            if not finished:
                self.sync()
            elif self._is_there():
                os.unlink(self.path)
        finally:
            self._fd = -1
            os.close(fd)

    def _is_there(self) -> bool:
        """Whether the path still leads to this journal."""
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False


def _line(record: list[Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _digest(name: str, stamp: str) -> bytes:
    text = f"{name}\0{stamp}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_DIGEST).digest()


def _sorted(digests: bytearray) -> Any:
    """The digests as a numpy array of pairs of integers, sorted by the first of each pair."""
    import numpy as np

    pairs = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _contains(pairs: Any, digest: bytes) -> bool:
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    firsts = pairs[:, 0]
    at = int(firsts.searchsorted(firsts.dtype.type(first)))
    while at < len(pairs) and int(pairs[at, 0]) == first:
        if int(pairs[at, 1]) == second:
            return True
        at += 1
    return False
