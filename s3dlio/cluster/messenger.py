"""What ranks tell each other, by a thread of each: nobody else waits for the network, or is held up by it."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from s3dlio.cluster.transport import Transport
from s3dlio.errors import S3dlioError

log = logging.getLogger("s3dlio.cluster")

#: Between two looks for messages (seconds): at first, and when none has come for a while.
_SOON, _LATE = 0.0002, 0.005
#: Between two looks of one who waits whether the thread is still there (seconds).
_LOOK = 0.5


class Messenger:
    """Messages of one rank. A message has a subject, under which the other side waits for it.

    Args:
        transport: how to reach the others; used by the thread only, from now on.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._out: deque[tuple[int, bytes]] = deque()
        self._in: defaultdict[tuple[Any, int], deque[Any]] = defaultdict(deque)
        self._closed: set[Any] = set()
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._ends = False
        #: The first error that another rank told, and which one did.
        self.failure: tuple[int, BaseException] | None = None
        #: Called when another rank stops a part of the job, with its number and why.
        self.on_stop: Callable[[int, str], None] = lambda part, reason: None
        self._thread = threading.Thread(target=self._run, name="s3dlio-cluster", daemon=True)
        self._thread.start()

    def send(self, rank: int, subject: Any, value: Any) -> None:
        """Send a message; one to this rank itself is there at once."""
        if rank == self._transport.rank:
            with self._changed:
                self._in[subject, rank].append(value)
                self._changed.notify_all()
            return
        self._out.append((rank, pickle.dumps((subject, value), protocol=5)))
        self._wake.set()

    def receive(self, rank: int, subject: Any, *, until: Callable[[], bool] = bool) -> Any:
        """Wait for the next message of a rank under a subject; None when ``until`` has become true.

        Raises:
            S3dlioError: another rank has failed: its error.
        """
        place = subject, rank
        while True:
            with self._changed:
                waiting = self._in.get(place)
                if waiting:
                    value = waiting.popleft()
                    if not waiting:
                        del self._in[place]
                    return value
                self.check()
                if until():
                    return None
                self._changed.wait(_LOOK)
            if not self._thread.is_alive():
                raise S3dlioError("the other processes of the job cannot be reached")

    def look(self, rank: int, subject: Any) -> bool:
        """Whether there is such a message."""
        return bool(self._in.get((subject, rank)))

    def forget(self, subject: Any) -> None:
        """Drop what comes under a subject, from now on, too."""
        with self._changed:
            self._closed.add(subject)
            for place in [place for place in self._in if place[0] == subject]:
                del self._in[place]

    def check(self) -> None:
        """Raise what another rank failed with, if one did.

        Raises:
            S3dlioError: its error.
        """
        if self.failure is not None:
            raise self.failure[1]

    def tell_all(self, subject: Any, value: Any) -> None:
        """Send a message to all others."""
        for rank in range(self._transport.size):
            if rank != self._transport.rank:
                self.send(rank, subject, value)

    def close(self, patience: float) -> bool:
        """End the thread when all has left; False where that takes more than ``patience`` seconds."""
        deadline = time.monotonic() + patience
        self._ends = True
        self._wake.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    # -- the thread

    def _run(self) -> None:
        pause = _SOON
        try:
            while True:
                moved = self._step()
                if self._ends and not moved and not self._out and self._transport.is_sent():
                    return
                pause = _SOON if moved else min(_LATE, 1.3 * pause)
                if self._wake.wait(pause):
                    self._wake.clear()
                    pause = _SOON
        except Exception as error:  # who waits looks after the thread
            log.error("the other processes of the job cannot be reached: %s", error)

    def _step(self) -> bool:
        moved = False
        while self._out:
            self._transport.send(*self._out.popleft())
            moved = True
        while (found := self._transport.receive()) is not None:
            self._take(*found)
            moved = True
        return moved

    def _take(self, rank: int, message: bytes) -> None:
        subject, value = pickle.loads(message)
        if subject == "failed":
            with self._changed:
                self.failure = self.failure or (rank, value)
            self.on_stop(-1, str(value))
        elif subject == "stop":
            self.on_stop(*value)
        with self._changed:
            if subject not in self._closed:
                self._in[subject, rank].append(value)
            self._changed.notify_all()
