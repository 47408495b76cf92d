"""The journal of a transfer: which objects are done, so that an interrupted one goes on where it stopped.

An append-only text file. The first line names the format and the transfer, every other line one finished object as a
JSON array: its name, and its stamp (size, and ETag or time of the last change). An object whose stamp has changed is
transferred again. The file is flushed and synced once a second at most, so a crash costs a second of work; a last line
that was torn by it is ignored. It is removed when the transfer has ended without a failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from typing import Any

from s3dlio.errors import AlreadyExistsError, ConfigError, CorruptDataError, from_os_error
from s3dlio.transfer.plan import Item

_FORMAT = "s3dlio-journal-1"
_SYNC_SECONDS = 1.0
_DIGEST = 16  # bytes: two of 50 million objects have one digest with a chance of 4e-24


class Journal:
    """The journal at ``path``. Safe to share among threads; one process at a time holds it.

    What was done before is kept as sorted digests: 16 bytes for each object, 800 MB for 50 million.

    Args:
        path: made if it is not there.
        operation: the verb of the transfer.
        source: what it transfers.
        destination: and where to. A journal of another transfer is refused.

    Raises:
        ConfigError: it is the journal of another transfer, or no journal.
        AlreadyExistsError: another process is using it.
        CorruptDataError: a line that is not the last cannot be read.
        S3dlioError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], operation: str, source: str, destination: str) -> None:
        self.path = os.fspath(path)
        self._header = [_FORMAT, operation, source, destination]
        self._lock = threading.Lock()
        self._done: Any = None
        self._synced = time.monotonic()
        try:
            self._file = open(self.path, "ab+")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise from_os_error(error, uri=f"file://{self.path}", operation="JOURNAL") from error
        try:
            self._hold()
            self._load()
        except BaseException:
            self._file.close()
            raise

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyExistsError(
                "another transfer is using this journal", uri=f"file://{self.path}", operation="JOURNAL",
                hint="wait for it, or name another journal",
            ) from error  # fmt: skip

    def _load(self) -> None:
        self._file.seek(0)
        header = self._file.readline()
        if not header.endswith(b"\n"):  # new, or torn before anything was done
            self._file.truncate(0)
            self._write(self._header)
            self._file.flush()
            return
        self._check_header(header)
        digests = bytearray()
        whole = len(header)
        for number, line in enumerate(self._file, 2):
            if not line.endswith(b"\n"):
                break
            digests += self._digest_of_line(line, number)
            whole += len(line)
        self._file.truncate(whole)
        if digests:
            self._done = _sorted(digests)

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, list) or header[:1] != [_FORMAT]:
            raise ConfigError("the file is no journal", uri=f"file://{self.path}", hint="name a file that is not there")
        if header != self._header:
            raise ConfigError(
                f"the journal belongs to another transfer: {' '.join(map(str, header[1:]))}", uri=f"file://{self.path}",
                hint="go on with that one, or name another journal",
            )  # fmt: skip

    def _digest_of_line(self, line: bytes, number: int) -> bytes:
        try:
            name, stamp = json.loads(line)
        except ValueError as error:
            raise CorruptDataError(
                f"line {number} of the journal cannot be read", uri=f"file://{self.path}",
                hint="delete that line, or the whole journal to transfer everything again",
            ) from error  # fmt: skip
        return _digest(name, stamp)

    def has(self, item: Item) -> bool:
        """Whether ``item``, as it is now, was done before."""
        return self._done is not None and _contains(self._done, _digest(item.name, item.stamp))

    def add(self, item: Item) -> None:
        """``item`` is done."""
        with self._lock:
            self._write([item.name, item.stamp])
            if time.monotonic() - self._synced >= _SYNC_SECONDS:
                self._sync()

    def _write(self, line: list[str]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self, *, finished: bool) -> None:
        """Write what is left; remove the file if the transfer is ``finished``."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._sync()
                if finished:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.path)
            finally:
                self._file.close()


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
