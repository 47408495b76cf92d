"""No buffer that anything still sees is ever handed out again, whatever lives and dies in which order and thread."""

from __future__ import annotations

import contextlib
import copy
import gc
import random
import threading
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from s3dlio.memory import BufferPool, BytesView

BOUND = 256 << 10
SIZES = st.one_of(st.integers(0, 20_000), st.sampled_from([4096, 8192, 65_536, 1 << 20]))


def pattern(seed: int, size: int) -> bytes:
    return (random.Random(seed).randbytes(61) * (size // 61 + 1))[:size]


class Lifetimes(RuleBasedStateMachine):
    """Every handle knows the bytes that it must go on seeing; new leases are overwritten at once."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        gc.freeze()  # collections below look at what was made below, and are quick
        self.pool = BufferPool(BOUND)
        self.seed = 0
        self.alive: dict[int, tuple[Any, bytes]] = {}

    def keep(self, handle: Any, expected: bytes) -> int:
        self.seed += 1
        self.alive[self.seed] = handle, expected
        return self.seed

    @rule(target=handles, size=SIZES, aligned=st.booleans())
    def lease(self, size: int, aligned: bool) -> int:
        lease = (self.pool.lease_aligned if aligned else self.pool.lease)(size)
        data = pattern(self.seed, len(lease))
        lease[:] = data
        return self.keep(lease, data)

    @rule(target=handles, parent=handles, start=st.integers(0, 5000), length=st.integers(0, 5000))
    def slice(self, parent: int, start: int, length: int) -> Any:
        if parent not in self.alive:
            return multiple()
        handle, expected = self.alive[parent]
        return self.keep(handle[start : start + length], expected[start : start + length])

    @rule(target=handles, parent=handles, kind=st.sampled_from([memoryview, BytesView, copy.copy, np.frombuffer]))
    def see(self, parent: int, kind: Any) -> Any:
        if parent not in self.alive:
            return multiple()
        handle, expected = self.alive[parent]
        if kind is np.frombuffer:
            return self.keep(np.frombuffer(handle, np.uint8), expected)
        if kind is copy.copy and not isinstance(handle, BytesView):
            return multiple()
        return self.keep(kind(handle), expected)

    @rule(handle=consumes(handles), how=st.sampled_from(["drop", "cycle", "thread"]))
    def let_go(self, handle: int, how: str) -> None:
        if handle not in self.alive:
            return
        box: list[Any] = [self.alive.pop(handle)]
        if how == "cycle":
            box.append(box)
        elif how == "thread":
            thread = threading.Thread(target=box.clear)
            thread.start()
            thread.join()

    @rule()
    def collect(self) -> None:
        gc.collect()

    @rule(keep=st.integers(0, BOUND))
    def trim(self, keep: int) -> None:
        self.pool.trim(keep)
        assert self.pool.stats().idle_bytes <= keep

    @invariant()
    def everything_alive_is_unchanged(self) -> None:
        for handle, expected in self.alive.values():
            assert bytes(handle) == expected

    @invariant()
    def idle_memory_is_bounded(self) -> None:
        assert self.pool.stats().idle_bytes <= BOUND

    def teardown(self) -> None:
        self.alive.clear()
        gc.collect()
        gc.unfreeze()
        assert self.pool.stats().leased == 0
        assert self.pool.stats().idle_bytes <= BOUND


TestLifetimes = Lifetimes.TestCase
TestLifetimes.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


def test_threads_that_lease_keep_and_pass_on() -> None:
    """Each thread checks what it holds, and hands half of it to others through one box."""
    pool = BufferPool(1 << 20)
    box: list[tuple[Any, bytes]] = []
    failures: list[str] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        held: list[tuple[Any, bytes]] = []
        for turn in range(400):
            size = dice.choice([100, 5000, 70_000, 300_000])
            stamp = bytes([dice.randrange(256)]) * 64
            lease = pool.lease(size)
            lease[:64] = lease[-64:] = stamp
            kind = dice.choice([BytesView, lambda lease: BytesView(lease)[-64:], np.asarray, memoryview])
            held.append((kind(lease), stamp))
            if dice.random() < 0.5:
                box.append(held.pop(dice.randrange(len(held))))
            if dice.random() < 0.5:
                with contextlib.suppress(IndexError):  # somebody was quicker
                    held.append(box.pop())
            while len(held) > 10:
                seen, expected = held.pop(dice.randrange(len(held)))
                if bytes(seen[:64]) != expected or bytes(seen[-64:]) != expected:
                    failures.append(f"thread {seed}, turn {turn}")
            if turn % 100 == 99 and held:
                cycle: list[Any] = [held.pop()]
                cycle.append(cycle)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for seen, expected in box:
        assert bytes(seen[:64]) == bytes(seen[-64:]) == expected
    box.clear()
    seen = None
    gc.collect()
    assert pool.stats().leased == 0
    assert pool.stats().idle_bytes <= 1 << 20


@given(data=st.binary(max_size=300), cut=st.slices(300), other=st.binary(max_size=10))
def test_a_view_behaves_as_its_bytes(data: bytes, cut: slice, other: bytes) -> None:
    view = BytesView(data)
    assert (view == other, other == view) == (data == other, data == other)
    assert view[cut] == data[cut]
    assert hash(view[cut]) == hash(data[cut])
    assert list(view) == list(data)
    assert (other in view, view.find(other)) == (other in data, data.find(other))
    assert (view.startswith(other), view.endswith(other)) == (data.startswith(other), data.endswith(other))


@given(st.binary(max_size=60), st.binary(max_size=2), st.integers(-70, 70), st.integers(-70, 70) | st.none())
def test_finding_is_as_in_bytes(data: bytes, sub: bytes, start: int, end: int | None) -> None:
    assert BytesView(data).find(sub, start, end) == data.find(sub, start, end)
