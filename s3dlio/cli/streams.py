"""The three standard streams, of which any may be closed when the command starts, and files beside them."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from s3dlio.errors import ConfigError
from s3dlio.foreign_errors import from_os_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def prepare() -> None:
    """Fill the places of closed streams, so that no file or connection gets their numbers and what is printed goes
    nowhere. Names of files may hold bytes that are no UTF-8; they go out as they came in."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            assert null == number
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")


def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def standard_input() -> TextIO:
    """Standard input.

    Raises:
        ConfigError: it is closed: nothing is not what was to be read.
    """
    stdin = sys.stdin
    if stdin is None:
        raise ConfigError("standard input is closed", hint="connect it, or name a file")
    if stdin is sys.__stdin__ and isinstance(stdin, io.TextIOWrapper):
        stdin = sys.stdin = _text(Input(stdin.fileno(), closefd=False), stdin.encoding)
    return stdin


def open_input(path: str) -> TextIO:
    """A file of lines, which may be a pipe.

    Raises:
        OSError: it cannot be opened.
    """
    return _text(Input(path), "utf-8")


def _text(raw: Input, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(raw, 1 << 16), encoding=encoding, errors="surrogateescape")


class Input(io.FileIO):
    """Input that may be a while in coming. A signal that arrives just before a read that blocks would end it when the
    next bytes come, since its handler runs after the read: so this waits for bytes and for signals."""

    _wake: tuple[int, int] | None = None

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._await()
        return super().readinto(buffer)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        self._await()
        return super().read(size)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(1 << 16), b""))

    def close(self) -> None:
        wake, self._wake = self._wake, None
        for fd in wake or ():
            os.close(fd)
        super().close()

    def _await(self) -> None:
        if not hasattr(select, "poll"):
            return
        if self._wake is None:
            self._wake = os.pipe()
            for fd in self._wake:
                os.set_blocking(fd, False)
        woken, waking = self._wake
        try:
            before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        except ValueError:  # not the main thread: no handler runs here
            return
        try:
            poller = select.poll()
            poller.register(self.fileno(), select.POLLIN)
            poller.register(woken, select.POLLIN)
            while [fd for fd, _ in poller.poll()] == [woken]:  # whose handler has run by now, and has raised nothing
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 1 << 12)
        finally:
            signal.set_wakeup_fd(before)


def write_report(path: str, text: str) -> None:
    """Write a file that was asked for beside what is printed.

    Raises:
        S3dlioError: it cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise from_os_error(error, uri=path, operation="WRITE") from error
