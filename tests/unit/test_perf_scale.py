"""The prediction of perf.scale, and how it shares the CPUs."""

from __future__ import annotations

import pytest

from perf.scale import ROWS, split
from perf.scale_model import Work
from perf.workers.protocol import Cost


def _cost(cpu: float, user: float) -> Cost:
    return Cost(wall=cpu, cpu=cpu, operations=10, bytes=1000, user=user)


def test_one_cpu_does_what_it_did() -> None:
    work = Work.of([_cost(2.0, 0.5), _cost(2.0, 0.5)], by_bytes=True)
    assert work.rate(1) == pytest.approx(500)
    assert Work.of([_cost(2.0, 0.5)], by_bytes=False).rate(1) == pytest.approx(5)


def test_the_lock_is_the_limit_of_threads_and_none_of_processes() -> None:
    work = Work.of([_cost(2.0, 0.5)], by_bytes=True)
    rates = [work.rate(cpus) for cpus in (1, 2, 4, 8, 1_000_000)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(1000 / 0.5, rel=1e-3)
    assert work.rate(8, processes=True) == pytest.approx(8 * 500)


def test_the_cipher_holds_no_lock() -> None:
    tls, plain = [_cost(4.0, 3.0)], [_cost(1.0, 0.25)]
    assert Work.of(tls, by_bytes=True, plain=plain).locked == pytest.approx(0.25 / 1000)


def test_client_and_server_have_cpus_of_their_own() -> None:
    assert split([3]) == ([3], [3])
    assert split([0, 1]) == ([0], [1])
    assert split(range(16)) == (list(range(8)), list(range(8, 16)))


def test_rows_over_tls_have_one_without() -> None:
    plain = {row.job for row in ROWS if not row.tls}
    assert all(row.job in plain for row in ROWS if row.tls)
