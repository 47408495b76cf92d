"""Observers run where operations end: one that takes long is told of in the log, now and then."""

from __future__ import annotations

import pytest

from s3dlio.stores import call
from s3dlio.stores.memory import MemoryStore
from s3dlio.types import Observation


class _Slow:
    """Each time it is called, so many seconds pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self._seconds = 1000.0, seconds
        monkeypatch.setattr(call.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(call, "_speaks_at", 0.0)

    def __call__(self, seen: Observation) -> None:
        self.now += self._seconds


def test_a_slow_observer_is_told_of_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = _Slow(monkeypatch, 0.12)
    store = MemoryStore("memory://b", (slow,))
    for _ in range(3):
        store.put("k", b"x")
    assert len(caplog.messages) == 1
    assert "the observer _Slow took 120 ms" in caplog.messages[0]
    slow.now += 60
    store.put("k", b"x")
    assert len(caplog.messages) == 2


def test_a_quick_observer_is_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore("memory://b", (_Slow(monkeypatch, 0.01),))
    store.put("k", b"x")
    assert not caplog.messages
