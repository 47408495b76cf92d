"""How a blocking function becomes a coroutine function: it runs on a thread (``engine.threads``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from s3dlio.engine.threads import run as run
from s3dlio.engine.threads import threads as threads

P = ParamSpec("P")
T = TypeVar("T")


def coroutine_of(
    function: Callable[P, T], home: str = "s3dlio.aio", name: str | None = None
) -> Callable[P, Coroutine[Any, Any, T]]:
    """The coroutine function of a blocking one, with its parameters and its documentation.

    Args:
        function: the blocking one.
        home: the module in which it is found.
        name: what it is called; without, as the function, with ``_async`` behind it.
    """

    @functools.wraps(function)
    async def coroutine(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run(lambda: function(*args, **kwargs))

    coroutine.__name__ = coroutine.__qualname__ = name or f"{function.__name__}_async"
    coroutine.__module__ = home
    return coroutine
