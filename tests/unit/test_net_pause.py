"""Operations may pause: a single call sleeps, a lane goes on with others meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from s3dlio.errors import TransferCancelledError
from s3dlio.net import blocking
from s3dlio.net.lane import Lane
from s3dlio.net.message import Pause


class Operation:
    def __init__(self, steps: Callable[[], Generator[Any, Any, Any]]) -> None:
        self.steps = steps


def napping(name: str, seconds: list[float], log: list[str]) -> Operation:
    def steps() -> Generator[Any, Any, str]:
        for pause in seconds:
            answer = yield Pause(pause)
            assert answer is None
            log.append(name)
        return name

    return Operation(steps)


def test_a_single_call_pauses() -> None:
    log: list[str] = []
    assert blocking.drive(napping("a", [0.0, 0.001], log).steps()) == "a"
    assert log == ["a", "a"]


def test_a_lane_goes_on_with_others() -> None:
    log: list[str] = []
    done: dict[int, Any] = {}
    operations = [napping("late", [0.2, 0.0], log), napping("soon", [0.0] * 3, log), napping("at once", [], log)]
    Lane(window=2).run(enumerate(operations), lambda index, result, error: done.update({index: (result, error)}))
    assert log == ["soon"] * 3 + ["late"] * 2
    assert done == {0: ("late", None), 1: ("soon", None), 2: ("at once", None)}


def test_a_pause_ends_when_its_batch_is_cancelled() -> None:
    class Cancelled:
        cancelled = True

    seen: list[BaseException | None] = []
    cleaned: list[str] = []

    def steps() -> Generator[Any, Any, None]:
        try:
            yield Pause(3600.0)
        except TransferCancelledError:
            yield Pause(0.0)  # time to clean up
            cleaned.append("up")
            raise

    lane = Lane(window=1, cancel=Cancelled())
    lane.run(enumerate([Operation(steps)]), lambda index, result, error: seen.append(error))
    assert cleaned == ["up"]
    with pytest.raises(TransferCancelledError):
        raise seen[0] or AssertionError("no error")
