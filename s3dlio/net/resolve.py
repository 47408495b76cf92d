"""Name resolution on a thread of its own, since ``getaddrinfo`` blocks for as long as a resolver is silent."""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
from collections.abc import Sequence
from typing import Any

from s3dlio.errors import NetworkError
from s3dlio.forking import ForkLock, native
from s3dlio.net import system

#: As ``socket.getaddrinfo`` gives it: family, kind, protocol, name, and what ``connect`` takes.
Address = tuple[Any, ...]


class Resolution:
    """The look-up of one name, for any number of connections that wait for it.

    Args:
        host: a name, or an address.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._lock = ForkLock()
        #: The addresses, or the reason why there are none, have come.
        self.done = False
        self._found: Sequence[Address] = ()
        self._failure: BaseException | None = None
        self._ours, self._theirs = system.socketpair()
        try:
            threading.Thread(target=self._run, name="s3dlio-resolver", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            self._run()

    def waiter(self) -> socket.socket | None:
        """A socket that becomes readable when the look-up is done, which the caller closes; None: it is done."""
        with self._lock:
            return None if self.done else self._ours.dup()

    def addresses(self) -> Sequence[Address]:
        """The addresses; only when the look-up is done.

        Raises:
            NetworkError: there is no such name, or it has no address.
            socket.gaierror: the resolver did not answer; another attempt may do.
        """
        if self._failure is not None:
            raise copy.copy(self._failure)  # each waiter adds its own traceback
        return self._found

    def _run(self) -> None:
        try:
            with native:
                self._found = _look_up(self._host, self._port)
        except BaseException as error:
            self._failure = error
        with self._lock:
            self.done = True
            # Wakes the waiters; closing does not, where a child that was forked meanwhile has a copy.
            self._theirs.shutdown(socket.SHUT_RDWR)
            self._theirs.close()
            self._ours.close()


def numeric(host: str, port: int) -> Sequence[Address]:
    """The address of a host that is written as one; nothing for a name."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return ()
    with contextlib.suppress(OSError, UnicodeError):
        written = host.encode("ascii")  # text would load the codec of international names: 5 ms
        return system.getaddrinfo(written, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return ()


def _look_up(host: str, port: int) -> Sequence[Address]:
    try:
        found = system.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        raise NetworkError(
            f"the name '{host}' cannot be resolved: {error.strerror}", hint="check the endpoint URL and the network"
        ) from error
    except UnicodeError as error:  # empty or longer than the 63 characters that a label may have
        raise NetworkError(f"'{host}' cannot be the name of a host") from error
    if not found:
        raise NetworkError(f"the name '{host}' has no address", hint="check the endpoint URL and the network")
    return found
