"""The retry policy: which failures, how long, how often."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.config.sections import RetrySettings
from s3dlio.net.faults import ConnectionDropped, final_error, opening_fault
from s3dlio.net.response import Response
from s3dlio.net.retry import RetryBudget, RetryPolicy, retry_after

SETTINGS = RetrySettings(max_attempts=5, base_delay=0.1, max_delay=1.0, retry_after_cap=10.0)


def answer(status: int, body: bytes = b"", **fields: str) -> Response:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {status} X\r\n{lines}".encode("latin-1")
    response = Response(status, head, head.lower())
    response.body = body
    return response


@given(st.integers(1, 4), st.floats(0.001, 10), st.floats(0.001, 60))
def test_pauses_have_full_jitter_within_their_bounds(attempt: int, base: float, most: float) -> None:
    policy = RetryPolicy(RetrySettings(max_attempts=5, base_delay=base, max_delay=most))
    ceiling = min(most, base * 2 ** (attempt - 1))
    delays = [policy.after_response(answer(503), attempt, 0.0) for _ in range(20)]
    assert all(delay is not None and 0 <= delay <= ceiling for delay in delays)
    assert len(set(delays)) > 1


def test_pauses_are_spread_over_the_whole_range() -> None:
    policy = RetryPolicy(SETTINGS)
    policy.budget.tokens = 10**9
    delays = sorted(policy.after_response(answer(500), 3, 0.0) or 0.0 for _ in range(500))
    assert delays[0] < 0.1
    assert delays[-1] > 0.3
    assert math.isclose(sum(delays) / 500, 0.2, rel_tol=0.2)


def test_the_bucket_empties_and_fills_again() -> None:
    policy = RetryPolicy(SETTINGS)
    granted = sum(policy.after_response(answer(500), 1, 0.0) is not None for _ in range(200))
    assert granted == 100
    assert policy.budget.tokens == 0
    for _ in range(5):
        policy.budget.earn()
    assert policy.after_response(answer(500), 1, 0.0) is not None
    assert policy.after_response(answer(500), 1, 0.0) is None


def test_a_time_out_costs_more() -> None:
    policy = RetryPolicy(SETTINGS)
    policy.after_drop(ConnectionDropped("late", timed_out=True), 1, 0.0)
    assert policy.budget.tokens == 490
    policy.after_drop(ConnectionDropped("cut"), 1, 0.0)
    assert policy.budget.tokens == 485


def test_a_full_bucket_takes_no_more() -> None:
    budget = RetryBudget()
    budget.earn()
    assert budget.tokens == 500


def test_attempts_are_counted() -> None:
    policy = RetryPolicy(SETTINGS)
    assert policy.after_response(answer(500), 4, 0.0) is not None
    assert policy.after_response(answer(500), 5, 0.0) is None


def test_what_may_have_been_done_is_not_repeated() -> None:
    policy = RetryPolicy(SETTINGS)
    assert policy.after_drop(ConnectionDropped("cut"), 1, 0.0, False) is None
    assert policy.after_drop(ConnectionDropped("closed", never_sent=True), 1, 0.0, False) is not None
    assert policy.after_response(answer(500), 1, 0.0, False) is None
    assert policy.after_response(answer(503), 1, 0.0, False) is not None


def test_codes_of_a_service_are_transient_whatever_the_status() -> None:
    policy = RetryPolicy(SETTINGS, transient_codes=frozenset({b"SlowDown", b"InternalError"}))
    assert policy.is_transient(answer(200, b"<Error><Code>InternalError</Code></Error>"))
    assert policy.is_transient(answer(400, b"<Error><Code>SlowDown</Code></Error>"))
    assert not policy.is_transient(answer(400, b"<Error><Code>Slow</Code></Error>"))
    assert not policy.is_transient(answer(403, b"no xml"))


def test_no_pause_goes_beyond_the_deadline() -> None:
    policy = RetryPolicy(SETTINGS, total_timeout=5.0)
    now = time.monotonic()
    assert policy.after_response(answer(503), 1, now) is not None
    assert policy.after_response(answer(503, Retry_After="8"), 1, now) is None
    assert policy.after_response(answer(503), 1, now - 6) is None


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "-7"}, None),
        ({"Retry_After": "7.5"}, None),
        ({"Retry_After": "\xb2"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "Fri, 32 Foo 2026 00:00:00 GMT"}, None),
        ({"Retry_After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"x_ms_retry_after_ms": "1500"}, 1.5),
        ({"x_ms_retry_after_ms": "x"}, None),
        ({"retry_after": "Mon, 01 Jan 2020 00:00:00 +" + "9" * 30}, None),
        ({"retry_after": "Mon, 01 Jan 0001 00:00:00 -0000"}, 0.0),
        ({"retry_after": "9" * 5000}, math.inf),
    ],
)
def test_what_retry_after_says(fields: dict[str, str], seconds: float | None) -> None:
    assert retry_after(answer(503, **fields)) == seconds


def test_retry_after_is_a_least_pause_up_to_the_cap() -> None:
    policy = RetryPolicy(SETTINGS)
    assert 7.0 <= (policy.after_response(answer(503, Retry_After="7"), 1, 0.0) or 0.0) <= 7.1
    assert 10.0 <= (policy.after_response(answer(503, Retry_After="99"), 1, 0.0) or 0.0) <= 10.1


def test_those_that_are_told_to_come_later_do_not_come_together() -> None:
    policy = RetryPolicy(SETTINGS)
    delays = {policy.after_response(answer(503, Retry_After="7"), 3, 0.0) for _ in range(20)}
    assert len(delays) > 10
    assert max(delay or 0.0 for delay in delays) - min(delay or 0.0 for delay in delays) > 0.05


def test_faults_say_what_the_system_said() -> None:
    fault = opening_fault(ConnectionRefusedError(111, "Connection refused"), "http://host")
    assert str(fault) == "cannot connect to http://host: Connection refused"
    assert isinstance(fault, ConnectionDropped)
    final = final_error(fault, "http://host", 5)
    assert final.attempts == 5
    assert "http://host is up" in str(final)
