"""Summaries of get and put tell how long operations took."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from s3dlio.transfer import times as times_module
from s3dlio.transfer.times import Times, told
from tests.e2e.conftest import Cli, cli  # noqa: F401 - a fixture


def test_percentiles_are_those_of_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    for many, few in ((1 << 16, 1 << 12), (10, 0)):
        monkeypatch.setattr(times_module, "_MANY", many)
        monkeypatch.setattr(times_module, "_FEW", few)
        times = Times()
        for number in range(1, 101):
            times.add(10**18 - number * 10**6, 10**18 - number * 10**6 + 5000 if number > 50 else 0)
        found = times.as_dict()
        assert found["latency_ns"]["p50"] == pytest.approx(50 * 10**6, rel=0.004)
        assert found["latency_ns"]["p99"] == pytest.approx(99 * 10**6, rel=0.004)
        assert found["latency_ns"]["max"] == 10**8
        assert found["first_byte_ns"]["max"] == 5000
    assert told(found).startswith("latency p50 ")
    assert told(found).endswith("; first byte p50 5 us, p90 5 us, p99 5 us, max 5 us")
    assert Times().as_dict() == {}


def test_a_clock_that_goes_backwards_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1000)
    times = Times()
    times.add(5000, 4000)
    assert times.as_dict()["latency_ns"] == {"p50": 0, "p90": 0, "p99": 0, "max": 0}


def test_those_of_other_processes_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1000)
    one, other = Times(), Times()
    one.add(900)
    other.add(500, 700)
    one.merge(pickle.loads(pickle.dumps(other)))
    assert one.as_dict()["latency_ns"] == {"p50": 100, "p90": 500, "p99": 500, "max": 500}
    assert one.as_dict()["first_byte_ns"]["max"] == 200


def test_get_and_put_tell_them(cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    (put,) = cli("put", f"file://{tmp_path}/x/", "-n", 5, "-s", 100, "--json").records
    assert 0 < put["latency_ns"]["p50"] <= put["latency_ns"]["max"]
    assert "first_byte_ns" not in put
    (get,) = cli("get", f"file://{tmp_path}/x/", "--json").records
    assert 0 < get["first_byte_ns"]["p50"] <= get["latency_ns"]["max"]
    assert "latency p50 " in cli("get", f"file://{tmp_path}/x/").err
