"""Memory that two processes see, with both of its ends in one process; and the channel that its descriptors take."""

from __future__ import annotations

import contextlib
import os
import resource
from collections import deque
from typing import Any

import pytest

from s3dlio.engine.process_channel import Channel
from s3dlio.engine.process_job import ResultMemory, SharedSink
from s3dlio.errors import StorageFullError
from s3dlio.memory.shared import PeerMemory, SharedMemory

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


def test_pages_are_freed_before_the_peer_may_hear_that_a_lease_is_over() -> None:
    """Once it has heard, it writes there again: pages that were freed then would take the new bytes with them."""
    shared, peer = SharedMemory(0), PeerMemory(0)
    lease = shared.lease(100_000)
    lease.view[:] = b"x" * 100_000
    (segment,) = shared.take_unannounced(1)
    peer.attach(segment)
    os.close(segment.fd)
    there: list[bytes] = []

    class Released(deque[int]):
        def append(self, token: int) -> None:
            there.append(bytes(lease.view[:1]))
            super().append(token)

    peer.released = Released()
    view = peer.view(7, *lease[1:])
    assert view[:100_000] == b"x" * 100_000
    del view
    assert there == [b"\0"]
    assert peer.take_released() == [7]


def test_a_process_that_can_have_no_more_descriptors_says_so() -> None:
    here, end = Channel.pair()
    there = Channel(end)
    spare = os.open(os.devnull, os.O_RDONLY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    message: Any = "x" * (1 << 17)  # travels in a file
    try:
        here.send(message)
        taken = [os.dup(spare)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(spare))
        with pytest.raises(StorageFullError, match="Too many"):
            there.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for fd in (spare, *taken):
        os.close(fd)
    here.send(message)
    assert there.receive() == (message, [])
    here.close()
    there.close()


def test_a_result_that_the_store_had_is_not_sought_in_what_an_earlier_attempt_leased() -> None:
    results, peer = ResultMemory(0), PeerMemory(0)
    sink = SharedSink(results)
    sink.begin(100_000)
    sink.at(0, 100_000)
    sink.take(b"abc")
    token, offset, size = results.show(sink)
    for segment in results.take_segments(9):
        peer.attach(segment)
        os.close(segment.fd)
    (lease,) = results.take_announced().leases
    assert lease[0] == token
    assert peer.view(*lease)[offset : offset + size] == b"abc"
