"""Work and servers on threads, for the time of a test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import BaseServer
from typing import Any, TypeVar

Served = TypeVar("Served", bound=BaseServer)


def run_in_threads(work: Callable[..., Any], arguments: Iterable[Any]) -> None:
    """Call ``work`` once with each of ``arguments``, each in a thread of its own; return when all have ended."""
    threads = [threading.Thread(target=work, args=(each,)) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def serving(server: Served) -> Iterator[Served]:
    """A server of the standard library that answers on a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
