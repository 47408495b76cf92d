"""Resident lanes of the simulated client. Each is a thread in the real one; here they take turns on one: whenever the
caller's waits for something, and now and then when it enters the system."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty
from types import SimpleNamespace
from typing import Any

from s3dlio.memory.caller_buffer import let_go
from s3dlio.net import balancer, sharing
from s3dlio.net.resident import ResidentLane, Submission
from tests.simulation.operations import GetInto, Operation
from tests.simulation.world import World


class Resident:
    """A resident lane, and the loop that its thread would run (``ResidentLane.serve``)."""

    def __init__(self, world: World, window: int) -> None:
        self.world = world
        self.lane = ResidentLane(window=window)
        self.lane._inbox._waker._flag.resident = True
        self.ended = False
        self._due = world.now

    def take_turn(self) -> bool:
        """Go on, if there is anything to do; whether there was."""
        lane, world = self.lane, self.world
        if self.ended:
            return False
        if lane._closing and lane._is_done() and lane._inbox.close():
            self.ended = True
            lane._close()
            return True
        poller = lane._multiplexer._poller
        if not (lane._inbox.works or world.now >= self._due or poller.any_ready()):
            return False
        try:
            lane.turn(0.0)
            pause = lane.pause()
        except Exception as error:
            world.violate(f"a resident lane ends: {error!r}")
            self.ended = True
            lane.fail(error)
            lane._close()
            return True
        self._due = world.now + (1e9 if pause is None else max(pause, 1e-4))
        if pause is not None:
            world.at(self._due, _nothing)
        return True

    def end(self) -> None:
        """As closing the client does: wait until it has ended."""
        self.lane.close()
        if not self.world.wait(lambda: self.ended, 60.0):
            self.world.violate("a resident lane does not end")


class Awaited(Submission):
    """An operation on a resident lane, which may be given up at any moment."""

    __slots__ = ("simulated",)

    def __init__(self, simulated: Operation, width: int) -> None:
        super().__init__(simulated.call(), width)
        self.simulated = simulated

    def end(self, result: Any, error: BaseException | None) -> None:
        simulated = self.simulated
        if isinstance(simulated, GetInto):
            if error is not None and not self.cancelled:
                let_go(error)  # as the verb does
            simulated.check_free()
        simulated.settle(result, error)

    def cancel(self) -> None:
        if not self.over:
            self.simulated.cancelled_at = self.simulated.world.now
            self.give_up()


class Waker:
    """What wakes a lane that sleeps."""

    def __init__(self, descriptors: Any) -> None:
        self._flag = Flag(descriptors)
        self._descriptors = descriptors

    def fileno(self) -> int:
        return int(self._flag.fd)

    def wake(self) -> None:
        self._flag.up = True

    def clear(self) -> None:
        self._flag.up = False

    def __del__(self) -> None:
        self._descriptors.remove(self._flag)


class Flag:
    """The descriptor of a waker, as a poller sees it."""

    error = 0

    def __init__(self, descriptors: Any) -> None:
        self.up = self.resident = False
        self.fd = descriptors.add(self)

    def readable(self) -> bool:
        return self.up

    def writable(self) -> bool:
        return False


class Event:
    """``threading.Event``, for which a thread waits while the others go on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        return self._world.wait(lambda: self._set, timeout)


class Mailbox:
    """``queue.SimpleQueue``, at which a thread waits while the others go on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def empty(self) -> bool:
        return not self._items

    def get(self, timeout: float | None = None) -> Any:
        self._world.step()
        if not self._world.wait(lambda: bool(self._items), timeout):
            raise Empty
        return self._items.popleft()


def functions(world: World, descriptors: Any) -> dict[str, Callable[..., Any]]:
    """What takes the place of the functions of ``s3dlio.net.system``."""
    return {
        "waker": lambda: Waker(descriptors),
        "mailbox": lambda: Mailbox(world),
        "thread_time": lambda: world.now,
        "thread_clock": lambda: lambda: world.now,
    }


@contextlib.contextmanager
def lending(world: World, lanes: int) -> Iterator[list[Resident]]:
    """Resident lanes that carry bodies of others, though they are small, and however busy anybody is."""
    chance = world.chance
    changes: list[tuple[Any, str, Any]] = [
        (balancer, "LARGE", chance.choice((1_000, 20_000))),
        (balancer, "_EACH", 1_000),
        (balancer, "_LOOK", chance.choice((0.0005, 0.01))),
        (balancer, "_REST", 0.002),
        (balancer, "_BUSY", -1.0),
        (balancer, "_COMPUTING", -1.0),
        (sharing, "threading", SimpleNamespace(Event=lambda: Event(world))),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    if chance.random() < 0.3:  # from some moment on they do not pay
        world.after(chance.choice((0.01, 0.5)), lambda: setattr(balancer, "_BUSY", 9.0))
    residents = [Resident(world, 64) for _ in range(lanes)]
    world.others += residents
    try:
        yield residents
        for resident in residents:
            resident.end()
    finally:
        world.others.clear()
        for module, name, value in before:
            setattr(module, name, value)


def _nothing() -> None:
    """Only to have the world look at its lanes."""
