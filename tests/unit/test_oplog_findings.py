"""Sentences about what holds a run back: each on a run that is held back so, and none on one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dlio.oplog.analysis import Report, analyze
from tests.oplog_runs import START, Row, log, run


def report(tmp_path: Path, rows: list[Row]) -> Report:
    return analyze(log(tmp_path / "log.tsv", rows))


def facts(found: Report, kind: str) -> dict[str, Any]:
    (one,) = [one for one in found.findings if one.kind == kind]
    return one.facts


def kinds(found: Report) -> set[str]:
    return {one.kind for one in found.findings}


def test_store_bound(tmp_path: Path) -> None:
    found = report(tmp_path, run(1))
    assert kinds(found) == {"store-bound"}
    told = facts(found, "store-bound")
    assert told["workers"] == pytest.approx(16, rel=0.05)
    assert told["busy_share"] > 0.95
    assert told["in_flight"] == pytest.approx(told["ops_per_s"] * told["latency_ms"] / 1e3)
    assert "Little's law" in found.findings[0].text


@pytest.mark.parametrize(("wait", "words"), [(0.9, "the store's answer"), (0.1, "the transfer takes the time")])
def test_store_bound_by_answers_or_by_transfers(tmp_path: Path, wait: float, words: str) -> None:
    found = report(tmp_path, run(1, wait=wait))
    assert words in found.findings[0].text
    assert facts(found, "store-bound")["first_byte_share"] == pytest.approx(wait, abs=0.01)


def test_client_bound(tmp_path: Path) -> None:
    found = report(tmp_path, run(2, think=0.045))
    assert kinds(found) == {"client-bound"}
    told = facts(found, "client-bound")
    assert told["busy_share"] == pytest.approx(0.1, abs=0.03)
    assert told["idle_ms"] == pytest.approx(45, rel=0.1)


def test_one_operation_at_a_time(tmp_path: Path) -> None:
    assert kinds(report(tmp_path, run(3, workers=1, count=500))) == {"one-at-a-time"}


@pytest.mark.parametrize(("what", "column"), [("endpoint", "endpoint"), ("client", "client_id")])
def test_a_slow_endpoint_or_client(tmp_path: Path, what: str, column: str) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row[column] = f"http://s{chance.integers(4)}"
        row["bytes"] = int(chance.choice([4096, 8 << 20]))
        row["latency"] *= 4 if row["bytes"] > 4096 else 1
        row["latency"] *= 2 if row[column] == "http://s2" else 1

    found = report(tmp_path, run(4, change=change))
    assert kinds(found) - {"client-bound", "store-bound"} == {f"slow-{what}"}
    told = facts(found, f"slow-{what}")
    assert told["name"] == "http://s2"
    assert told["ratio"] == pytest.approx(2, rel=0.1)
    assert told["share"] == pytest.approx(0.25, abs=0.03)


def test_an_endpoint_with_larger_objects_is_not_slow(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row["endpoint"] = f"http://s{chance.integers(2)}"
        row["bytes"] = 8 << 20 if chance.random() < (0.8 if row["endpoint"] == "http://s1" else 0.2) else 4096
        row["latency"] *= 10 if row["bytes"] > 4096 else 1

    assert kinds(report(tmp_path, run(5, change=change))) == {"store-bound"}


def test_the_onset_of_throttling(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        if row["begin"] > 0.6 and chance.random() < 0.2:
            row["error"] = f"GET s3://b/{row['file']}: 503 SlowDown: reduce your request rate"

    found = report(tmp_path, run(6, change=change))
    assert kinds(found) == {"throttling", "store-bound"}
    assert found.findings[0].kind == "throttling"
    told = facts(found, "throttling")
    assert told["after_s"] == pytest.approx(0.6, abs=0.05)
    assert told["share"] == pytest.approx(0.2, abs=0.04)
    assert told["in_flight"] == pytest.approx(16, rel=0.1)
    assert told["ops_per_s"] == pytest.approx(16 / 0.00523, rel=0.15)
    figures = found.to_dict()
    assert figures["throttled"] == figures["failed"] == told["throttled"]
    assert len(figures["errors"]) == 1


def test_errors_that_are_no_throttling(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        if chance.random() < 0.02:
            row["error"] = f"Object not found: {row['file']}" if chance.random() < 0.9 else "connection reset"

    found = report(tmp_path, run(7, change=change))
    assert kinds(found) == {"errors", "store-bound"}
    assert facts(found, "errors")["share"] == pytest.approx(0.02, abs=0.008)


def test_errors_of_different_requests_are_of_one_kind(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row["error"] = f"GET s3://b/k: no such key (code NoSuchKey, request id {chance.bytes(12).hex().upper()}g)"

    figures = report(tmp_path, run(7, count=100, change=change)).to_dict()
    assert [(one["error"], one["count"]) for one in figures["errors"]] == [
        ("GET … no such key (code NoSuchKey, request id …)", 100)
    ]
    figures = report(tmp_path, run(7, count=100, error="it went on and on " * 20)).to_dict()
    assert figures["errors"][0]["error"].endswith("on and …")


def test_stragglers(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        if chance.random() < 0.01:
            row["latency"] *= 40

    found = report(tmp_path, run(8, change=change))
    assert "stragglers" in kinds(found)
    told = facts(found, "stragglers")
    assert told["share"] == pytest.approx(0.01, abs=0.004)
    assert told["time_share"] > 0.2


def test_the_tail_of_a_run(tmp_path: Path) -> None:
    rows = run(9, count=3_200)
    rows[-1]["latency"] += 0.4
    found = report(tmp_path, rows)
    assert "tail" in kinds(found)
    assert facts(found, "tail")["seconds"] == pytest.approx(0.4, abs=0.05)


def test_objects_that_are_read_again(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row["file"] = f"b/{chance.integers(1000)}"

    found = report(tmp_path, run(10, change=change))
    assert kinds(found) == {"repeated-reads", "store-bound"}
    told = facts(found, "repeated-reads")
    assert told["share"] == pytest.approx(0.75, abs=0.02)
    assert told["bytes"] == pytest.approx(4000 * told["share"] * (1 << 20))
    assert told["sample"] == 1


def test_reads_of_other_ranges_and_writes_are_not_read_again(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row["file"], row["op"] = "b/one", str(chance.choice(["GET_RANGE", "PUT", "HEAD"]))

    assert "repeated-reads" not in kinds(report(tmp_path, run(11, change=change)))


def test_a_log_that_is_given_twice(tmp_path: Path) -> None:
    rows = run(12)
    found = analyze([log(tmp_path / "a", rows), log(tmp_path / "b", rows[:1000])])
    assert facts(found, "duplicate-records") == {"records": 1000, "share": pytest.approx(0.2)}
    other = run(13)
    assert "duplicate-records" not in kinds(analyze([tmp_path / "a", log(tmp_path / "b", other)]))


def test_logs_of_different_times(tmp_path: Path) -> None:
    a = log(tmp_path / "a", run(14))
    b = log(tmp_path / "b", run(15), START + 7_200_000_000_000)
    found = analyze([a, b])
    assert facts(found, "no-overlap")["seconds"] == 0
    (one,) = [one for one in found.findings if one.kind == "no-overlap"]
    assert "begins +2 hours after" in one.text
    assert "no-overlap" not in kinds(analyze([a, b], clock_offsets={str(b): 7200.0}))
