"""Many calls at once, pulled from one iterator: blocking stores under plain loops, cloud stores on lanes.

Nothing is kept for a call that is done, so a batch of fifty million runs in constant memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from s3dlio.engine.admission import Admission
from s3dlio.engine.batch_input import Feed, SlowInput
from s3dlio.engine.blocking_calls import Done, run_blocking, run_loops
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.cloud_calls import run_cloud, run_lane
from s3dlio.engine.executor import BaseExecutor
from s3dlio.memory.caller_buffer import without_frames
from s3dlio.stores.call import Call

T = TypeVar("T")


def run_calls(
    calls: Iterable[Call[Any] | None],
    *,
    admission: Admission,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
    ahead: SlowInput | None = None,
) -> None:
    """Run every call, at most ``admission.width`` at a time, and return when all that were started have ended.

    Args:
        calls: pulled one by one when there is room, from one thread at a time. What it raises ends the batch. They must
            be there at once, unless they come from ``ahead``.
        admission: what may be in flight, of this batch alone. Where its bytes are used up, a lane lets a call in flight
            end first.
        on_done: called once for every call that was started, from any thread, never for two calls at a time of one
            loop, possibly of several. What it raises ends the batch.
        cancel: once cancelled, no call is started any more. Failed calls do not cancel: that is up to ``on_done``.
        executor: whose threads help.
        ahead: the prefetching reader that ``calls`` are made from, if any: where it gives None, ``calls`` gives None.
    """
    feed = Feed(calls, cancel, ahead)
    run_blocking(feed, admission.width, on_done, cancel, executor, admission.budget)
    # Loops stop at the first call of a cloud store. A lane runs calls of any store, so it runs the rest.
    if feed.peek() is not None:
        run_lane(feed, admission, on_done, cancel, executor)


def run_each(
    positions: Sequence[int],
    run: Callable[[int], None],
    *,
    width: int,
    cancel: CancelToken,
    executor: BaseExecutor,
    loops: int = 1,
) -> None:
    """Run a batch of stores that block without waiting (files): nothing is made for an item but what it takes.

    Args:
        positions: of the items.
        run: does the item at a position; it raises only what is to end the batch.
        width, cancel, executor: as of :func:`run_calls`.
        loops: how many threads begin at once.
    """
    left = iter(positions)  # one step of it is atomic
    width = min(width, len(positions))
    run_loops(lambda: left, run, width=width, cancel=cancel, executor=executor, loops=min(width, loops))


def run_kinds(
    kinds: Sequence[bool],
    make: Callable[[int], Call[Any]],
    *,
    admission: Admission,
    on_done: Done,
    cancel: CancelToken,
    executor: BaseExecutor,
) -> None:
    """Run a batch of any stores, as :func:`run_calls`: calls that block run beside those of cloud stores, since they
    would hold up a lane. Each kind has its share of the width.

    Args:
        kinds: for each call whether its store is a cloud store.
        make: makes the call at a position, when there is room for it.
        admission, on_done, cancel, executor: as of :func:`run_calls`.
    """
    width = min(admission.width, max(1, len(kinds)))
    cloud = sum(kinds)
    if cloud == len(kinds) and admission.budget is None:
        run_cloud(map(make, range(len(kinds))), admission, on_done, cancel)
        return
    if width == 1 or not 0 < cloud < len(kinds):
        calls = map(make, range(len(kinds)))
        run_calls(calls, admission=admission, on_done=on_done, cancel=cancel, executor=executor)
        return
    wide = min(width - 1, max(1, round(width * cloud / len(kinds))))
    parts = [(False, width - wide), (True, wide)]

    def part() -> None:
        while not cancel.cancelled:
            try:
                kind, share = parts.pop()
            except IndexError:
                return
            of_kind = [index for index, is_cloud in enumerate(kinds) if is_cloud is kind]

            def done(index: int, result: Any, error: BaseException | None, of_kind: list[int] = of_kind) -> None:
                on_done(of_kind[index], result, error)

            run_calls(
                map(make, of_kind), admission=admission.part(share), on_done=done, cancel=cancel, executor=executor
            )

    executor.share(part, 1, cancel)


def each(
    executor: BaseExecutor, do: Callable[[str], T], items: Iterable[str], width: int = 8
) -> dict[str, T | BaseException]:
    """What ``do`` gives for each of the items, ``width`` at a time, or the error in its place.

    Raises:
        TransferCancelledError: the awaited call around it was cancelled.
    """
    found: dict[str, T | BaseException] = {}
    waiting = deque(dict.fromkeys(items))
    cancel = surrounding_token() or CancelToken()

    def work() -> None:
        while waiting and not cancel.cancelled:
            try:
                item = waiting.popleft()
            except IndexError:  # another thread has taken the last one
                return
            try:
                found[item] = do(item)
            except Exception as error:
                found[item] = without_frames(error)

    executor.share(work, min(width, len(waiting)) - 1, cancel)
    cancel.check()
    return found
