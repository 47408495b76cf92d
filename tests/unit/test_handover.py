"""Memory that a worker process fills and another one takes over, with both of its ends in one process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from s3dlio.errors import S3dlioError
from s3dlio.memory.handover import HandoverPool, can_be_taken_by, take_over

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


def test_memory_is_leased_again_when_nothing_sees_it_on_either_side() -> None:
    pool = HandoverPool()
    slab, view = pool.lease(100_000)
    view[:] = b"x" * 100_000
    handed = pool.hand_over(slab, 100_000)
    assert handed is not None
    del view
    taken = take_over(handed)
    part = taken[:10]
    del taken
    other = pool.lease(100_000)  # what was handed over is somebody's
    assert other.slab is not slab
    assert part == b"x" * 10
    part[:] = b"y" * 10  # it is the taker's alone
    del part
    again = pool.lease(99_000)
    assert again.slab is slab
    assert again.view[:11] == b"y" * 10 + b"x"


def test_what_is_leased_here_is_not_leased_again() -> None:
    pool = HandoverPool()
    first, second = pool.lease(70_000), pool.lease(70_000)
    assert first.slab is not second.slab
    slab = first.slab
    kept = first.view[5:]
    del first
    assert pool.lease(70_000).slab is not slab
    del kept
    del second
    assert len({id(pool.lease(70_000).slab) for _ in range(5)}) == 1


def test_memory_is_handed_over_and_taken_over_once() -> None:
    pool = HandoverPool()
    slab, _view = pool.lease(70_000)
    handed = pool.hand_over(slab, 70_000)
    assert handed is not None
    assert pool.hand_over(slab, 70_000) is None
    taken = take_over(handed)
    with pytest.raises(S3dlioError, match="taken before"):
        take_over(handed)
    del taken
    with pytest.raises(S3dlioError, match="taken before"):
        take_over(handed)


def test_memory_that_a_forked_child_may_see_is_not_leased_again() -> None:
    pool = HandoverPool()
    slab, view = pool.lease(70_000)
    del view
    handed = pool.hand_over(slab, 70_000)
    assert handed is not None
    taken = take_over(handed)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    del taken
    assert pool.lease(70_000).slab is not slab


def test_a_process_that_has_gone_is_an_error() -> None:
    pool = HandoverPool()
    slab, _view = pool.lease(70_000)
    handed = pool.hand_over(slab, 70_000)
    assert handed is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(S3dlioError, match=r"process \d+ has gone"):
        take_over(handed._replace(process=gone.pid))
    with pytest.raises(S3dlioError, match="has gone"):
        take_over(handed._replace(capacity=4096))
    assert not can_be_taken_by(gone.pid)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as there:
        assert can_be_taken_by(there.pid)
        there.communicate(b"\n")


def test_idle_memory_of_other_sizes_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dlio.memory.handover._IDLE", 1 << 20)
    pool = HandoverPool()
    for size in range(1 << 17, 1 << 22, 1 << 17):
        pool.lease(size)
    assert sum(slab.capacity for slab in pool._slabs[:-1]) <= 1 << 20
