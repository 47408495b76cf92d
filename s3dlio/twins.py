"""How a blocking function becomes an awaitable one: it runs on a small pool of threads.

It is called inside a running event loop, and its work begins at the call, not at the first ``await``. When the task is
cancelled, work that has not begun never begins, and a batch stops after the operations that are in flight.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from s3dlio.transfer.executor import CancelToken, Executor, cancelled_by

P = ParamSpec("P")
T = TypeVar("T")

#: Awaited calls that run at the same time. Not the threads of batches: those must stay free for the batches in here.
threads = Executor(32)


def start(work: Callable[[], T]) -> Awaitable[T]:
    """Begin ``work`` on a thread.

    Raises:
        RuntimeError: no running event loop.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no running event loop; await this in an async def of your own, and give that to asyncio.run"
        ) from None
    token = CancelToken()

    def ended(future: asyncio.Future[T]) -> None:
        if future.cancelled():
            token.cancel("the task was cancelled")

    future = asyncio.wrap_future(threads.submit(lambda: cancelled_by(token, work)), loop=loop)
    future.add_done_callback(ended)
    return future


def twin_of(function: Callable[P, T], home: str = "s3dlio.aio") -> Callable[P, Awaitable[T]]:
    """The awaitable form of ``function``, which is found in the module ``home``."""

    @functools.wraps(function)
    def twin(*args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return start(lambda: function(*args, **kwargs))

    twin.__name__ = twin.__qualname__ = f"{function.__name__}_async"
    twin.__module__ = home
    return twin
