"""Awaited work that blocks: it runs on a thread, in a copy of the task's context.

When the task is cancelled, work that has not begun never begins, a request in flight is given up, and a batch stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from s3dlio.engine.cancel import AwaitToken, cancelled_by
from s3dlio.engine.executor import Executor

T = TypeVar("T")

#: Awaited calls that run at the same time. Not the threads of batches: those must stay free for the batches in here.
threads = Executor(32)


async def run(work: Callable[[], T], *, to_its_end: bool = False) -> T:
    """Run ``work`` on a thread; what it returns or raises.

    Args:
        work: what to run.
        to_its_end: when the task is cancelled, wait until ``work`` has given up: it uses a buffer of the caller.
    """
    token = AwaitToken()
    future = threads.submit(lambda: cancelled_by(token, work))
    try:
        return await asyncio.wrap_future(future)
    except GeneratorExit:  # the coroutine is closed, and cannot wait
        token.cancel("the task was cancelled")
        raise
    except BaseException:
        token.cancel("the task was cancelled")
        if to_its_end and not future.done():
            await _end_of(future)
        raise


async def _end_of(future: Future[Any]) -> None:
    """Wait until ``future`` is done, however often the task is cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    while not over.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await over.wait()
