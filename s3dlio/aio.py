"""The awaitable twins of the blocking functions: each runs its function on a small pool of threads.

They are called inside a running event loop, and their work begins at the call, not at the first ``await``. When a task
is cancelled, work that has not begun never begins, and a batch stops after the operations that are in flight.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from s3dlio import api
from s3dlio.errors import ObjectNotFoundError
from s3dlio.memory.body import as_memory
from s3dlio.transfer.executor import CancelToken, Executor, cancelled_by
from s3dlio.types import ObjectMetadata, Payload
from s3dlio.verbs import URI

P = ParamSpec("P")
T = TypeVar("T")

#: Awaited calls that run at the same time. Not the threads of batches: those must stay free for the batches in here.
_threads = Executor(32)

_URIS_AT_ONCE = 1000


def _start(work: Callable[[], T]) -> Awaitable[T]:
    """Begin ``work`` on a thread.

    Raises:
        RuntimeError: no running event loop.
    """
    loop = asyncio.get_running_loop()
    token = CancelToken()

    def ended(future: asyncio.Future[T]) -> None:
        if future.cancelled():
            token.cancel("the task was cancelled")

    future = asyncio.wrap_future(_threads.submit(lambda: cancelled_by(token, work)), loop=loop)
    future.add_done_callback(ended)
    return future


def _twin(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """The awaitable form of ``function``."""

    @functools.wraps(function)
    def twin(*args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return _start(lambda: function(*args, **kwargs))

    twin.__name__ = twin.__qualname__ = f"{function.__name__}_async"
    twin.__module__ = __name__
    return twin


get_async = _twin(api.get_object)
get_object_async = _twin(api.get_object)
get_range_async = _twin(api.get_range)
get_many_async = _twin(api.get_many)
get_many_outcomes_async = _twin(api.get_many_outcomes)
get_many_stats_async = _twin(api.get_many_stats)
put_async = _twin(api.put)
list_async = _twin(api.list)
list_keys_async = _twin(api.list_keys)
list_full_uris_async = _twin(api.list_full_uris)
stat_async = _twin(api.stat)
presign_async = _twin(api.presign)
get_tags_async = _twin(api.get_tags)
put_tags_async = _twin(api.put_tags)
pre_stat_and_cache_async = _twin(api.pre_stat_and_cache)
stat_object_async = _twin(api.stat_object)
stat_many_async = _twin(api.stat_many)
exists_async = _twin(api.exists)
delete_async = _twin(api.delete)
delete_many_async = _twin(api.delete_many)
mkdir_async = _twin(api.mkdir)
rmdir_async = _twin(api.rmdir)
create_bucket_async = _twin(api.create_bucket)
delete_bucket_async = _twin(api.delete_bucket)
list_containers_async = _twin(api.list_containers)
upload_async = _twin(api.upload)
download_async = _twin(api.download)
copy_async = _twin(api.copy)
move_async = _twin(api.move)
sync_async = _twin(api.sync)


def get_into_async(uri: URI, dst: Any, *, expected_len: int | None = None) -> Awaitable[int]:
    """Read an object into a writable buffer, which must stay alone until the result is there. See ``get_into``."""
    return _start(lambda: api.get_into(uri, dst, expected_len=expected_len))


def head_async(uri: URI) -> Awaitable[ObjectMetadata | None]:
    """What the store tells about an object; None where there is none."""

    def head() -> ObjectMetadata | None:
        try:
            return api.head(uri)
        except ObjectNotFoundError:
            return None

    return _start(head)


def put_bytes_async(uri: URI, data: Payload, *, borrow: bool = True, **options: Any) -> Awaitable[None]:
    """Write an object.

    Args:
        uri, data: as of ``put_bytes``.
        borrow: send the buffer itself; it must not change until the result is there. False copies it first.
        **options: as of ``put_bytes``.
    """
    payload = data if borrow else bytes(as_memory(data))
    return _start(lambda: api.put_bytes(uri, payload, **options))


def put_many_async(
    items: Iterable[tuple[URI, Payload]], max_in_flight: int = 64, *, borrow: bool = True
) -> Awaitable[None]:
    """Write many objects, see ``put_many``; ``borrow`` as of :func:`put_bytes_async`."""
    pairs = builtins.list(items) if borrow else [(uri, bytes(as_memory(data))) for uri, data in items]
    return _start(lambda: api.put_many(pairs, max_in_flight))


async def iterate_async(uri: URI, recursive: bool = False, pattern: str | None = None) -> AsyncIterator[str]:
    """The URIs of ``list``, while the store lists them."""
    uris = api.iterate(uri, recursive, pattern)
    while some := await _start(lambda: builtins.list(itertools.islice(uris, _URIS_AT_ONCE))):
        for found in some:
            yield found
