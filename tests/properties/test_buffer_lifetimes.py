"""No buffer that anything still sees is ever handed out again, whatever lives and dies in which order and thread."""

from __future__ import annotations

import contextlib
import gc
import random
import threading
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dlio.memory import BufferPool, BytesView
from tests.threads import run_in_threads

BOUND = 256 << 10
SIZES = st.one_of(st.integers(0, 20_000), st.sampled_from([4096, 8192, 65_536, 1 << 20]))


def pattern(seed: int, size: int) -> bytes:
    return (random.Random(seed).randbytes(61) * (size // 61 + 1))[:size]


# A program is drawn whole and run then. Each step names what it works on by a number, modulo what is alive.
WHICH = st.integers(0, 1000)
STEPS = st.one_of(
    st.tuples(st.just("lease"), SIZES, st.booleans()),
    st.tuples(st.just("slice"), WHICH, st.tuples(st.integers(0, 5000), st.integers(0, 5000))),
    st.tuples(st.just("see"), WHICH, st.sampled_from([memoryview, BytesView, np.frombuffer])),
    st.tuples(st.just("let go"), WHICH, st.sampled_from(["drop", "cycle", "thread"])),
    st.tuples(st.just("collect"), st.none(), st.none()),
    st.tuples(st.just("trim"), st.integers(0, BOUND), st.none()),
)


class Program:
    """Handles and the bytes that each must go on seeing; every new lease is overwritten at once."""

    def __init__(self) -> None:
        self.pool = BufferPool(BOUND)
        self.alive: list[tuple[Any, bytes]] = []
        self.leases = 0

    def run(self, verb: str, what: Any, how: Any) -> None:
        if verb == "lease":
            lease = (self.pool.lease_aligned if how else self.pool.lease)(what)
            self.leases += 1
            data = pattern(self.leases, len(lease))
            lease[:] = data
            self.alive.append((lease, data))
        elif verb == "collect":
            gc.collect()
        elif verb == "trim":
            self.pool.trim(what)
            assert self.pool.stats().idle_bytes <= what
        elif self.alive:
            getattr(self, verb.replace(" ", "_"))(what % len(self.alive), how)

    def slice(self, which: int, part: tuple[int, int]) -> None:
        handle, expected = self.alive[which]
        start, end = part[0], sum(part)
        self.alive.append((handle[start:end], expected[start:end]))

    def see(self, which: int, kind: Any) -> None:
        handle, expected = self.alive[which]
        self.alive.append((np.frombuffer(handle, np.uint8) if kind is np.frombuffer else kind(handle), expected))

    def let_go(self, which: int, how: str) -> None:
        box: list[Any] = [self.alive.pop(which)]
        if how == "cycle":
            box.append(box)
        elif how == "thread":
            thread = threading.Thread(target=box.clear)
            thread.start()
            thread.join()

    def check(self) -> None:
        for handle, expected in self.alive:
            assert bytes(handle) == expected
        assert self.pool.stats().idle_bytes <= BOUND


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=60))
def test_random_lifetimes(steps: list[tuple[str, Any, Any]]) -> None:
    program = Program()
    for step in steps:
        program.run(*step)
        program.check()
    program.alive.clear()
    gc.collect()
    assert program.pool.stats().leased == 0
    assert program.pool.stats().idle_bytes <= BOUND


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

    run_in_threads(work, range(6))
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
