"""What an analysis counts: held against the rows one by one, in any order, of any form, and in bounded memory."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio import errors
from s3dlio.oplog import log_text
from s3dlio.oplog.analysis import Report, analyze, compare, write_trace
from s3dlio.oplog.analysis.counts import BUCKETS, columns_of, percentiles
from s3dlio.oplog.analysis.repeats import Sample
from tests.oplog_runs import START, Row, log, run, text


def mixed(row: Row, chance: np.random.Generator) -> None:
    row["op"] = str(chance.choice(["GET", "PUT", "HEAD", "LIST"], p=[0.6, 0.2, 0.1, 0.1]))
    row["bytes"] = int(chance.choice([4096, 100_000, 8 << 20])) if row["op"] in ("GET", "PUT") else 0
    row["endpoint"] = f"http://s{chance.integers(3)}"
    row["client_id"] = f"c{row['thread'] % 2}"
    row["latency"] *= 1 + row["bytes"] / (4 << 20)
    if chance.random() < 0.02:
        row["error"] = "timed out"


def exact(values: list[int], percent: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, -(-round(percent * len(ordered) * 10) // 1000) - 1)] / 1e6


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    path = log(tmp_path / "log.tsv", run(1, change=mixed))
    rows = list(s3dlio.read_op_log(path))
    found = analyze(path).to_dict()
    good = [row for row in rows if not row["error"]]
    assert (found["records"], found["count"], found["failed"]) == (len(rows), len(good), len(rows) - len(good))
    assert found["bytes"] == sum(row["bytes"] for row in good)
    begin, end = min(row["start"] for row in rows), max(row["end"] for row in rows)
    assert (found["begin_ns"], found["end_ns"]) == (begin, end)
    assert found["in_flight"] == pytest.approx(sum(row["duration_ns"] for row in rows) / (end - begin))
    assert {one["op"] for one in found["operations"]} == {"GET", "PUT", "HEAD", "LIST"}
    for one in found["operations"]:
        mine = [row for row in good if row["op"] == one["op"]]
        took = [row["duration_ns"] for row in mine]
        assert one["count"] == len(mine)
        assert one["latency_ms"]["mean"] == pytest.approx(sum(took) / len(took) / 1e6)
        assert (one["latency_ms"]["min"], one["latency_ms"]["max"]) == (min(took) / 1e6, max(took) / 1e6)
        for name, percent in (("p50", 50), ("p90", 90), ("p99", 99), ("p99_9", 99.9)):
            assert one["latency_ms"][name] == pytest.approx(exact(took, percent), rel=0.01)
        if one["op"] == "GET":
            waits = [row["first_byte"] - row["start"] for row in mine]
            assert one["first_byte_ms"]["p90"] == pytest.approx(exact(waits, 90), rel=0.01)
            assert sum(part["count"] for part in one["sizes"]) == len(mine)
            assert [part["size"] for part in one["sizes"]] == ["1 B - 8 KiB", "64 - 512 KiB", "4 - 32 MiB"]
        else:
            assert one["first_byte_ms"] is None
    for key, column in (("endpoints", "endpoint"), ("clients", "client_id")):
        counts = Counter(row[column] for row in good)
        assert {one["name"]: one["count"] for one in found[key]} == counts
    assert found["errors"] == [{"error": "timed out", "count": len(rows) - len(good), "example": "timed out"}]


def test_the_size_that_a_head_tells_is_no_traffic(tmp_path: Path) -> None:
    rows = [*run(3, count=20, bytes=100), *run(4, count=20, op="HEAD"), *run(5, count=20, op="STAT")]
    found = analyze(log(tmp_path / "log.tsv", rows)).to_dict()
    assert found["bytes"] == 2_000
    told = {one["op"]: (one["count"], one["bytes"]) for one in found["operations"]}
    assert told == {"GET": (20, 2_000), "HEAD": (40, 0)}
    assert sum(found["timeline"]["operations"]["HEAD"]["bytes_per_s"]) == 0


def test_the_timeline_adds_up(tmp_path: Path) -> None:
    rows = run(2, change=mixed)
    found = analyze(log(tmp_path / "log.tsv", rows)).to_dict()
    timeline = found["timeline"]
    step = timeline["window_s"]
    assert 100 < timeline["windows"] <= 257
    series = timeline["operations"]
    assert sum(sum(one["bytes_per_s"]) for one in series.values()) * step == pytest.approx(found["bytes"])
    assert sum(sum(one["ops_per_s"]) for one in series.values()) * step == pytest.approx(found["count"])
    assert sum(sum(one["failed_per_s"]) for one in series.values()) * step == pytest.approx(found["failed"])
    flying = sum(sum(one["in_flight"]) for one in series.values()) * step
    assert flying == pytest.approx(found["in_flight"] * found["seconds"])
    middle = timeline["windows"] // 2
    assert sum(one["in_flight"][middle] for one in series.values()) == pytest.approx(16, abs=0.5)
    blocks = series["GET"]["p50_ms"]
    assert len(blocks) == timeline["blocks"]
    assert all(one is None or one > 0 for one in blocks)


def test_rows_in_any_order_and_logs_of_parts_give_the_same(tmp_path: Path) -> None:
    rows = run(3, change=mixed)
    whole = comparable(analyze(log(tmp_path / "log.tsv", rows)))
    random.Random(1).shuffle(rows)
    assert comparable(analyze(log(tmp_path / "shuffled.tsv", rows))) == whole
    parts = [log(tmp_path / f"part-{part}.tsv", rows[part::3]) for part in range(3)]
    assert comparable(analyze(parts)) == whole


def comparable(report: Report) -> Any:
    found = dict(report.to_dict())
    for key in ("logs", "notes", "overlap", "findings", "errors", "threads"):
        del found[key]
    return json.loads(json.dumps(found), parse_float=lambda number: f"{round(float(number), 4) + 0.0:.6g}")


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run(31, count=17_000, workers=32, change=mixed)
    lines = text(rows).splitlines(keepends=True)
    lines[7_000] = "half a row\n"
    path = tmp_path / "log.tsv"
    path.write_text("".join(lines)[:-50])
    assert path.stat().st_size > 2 * log_text.BLOCK
    one = analyze(path, processes=1, skip_warmup=0.1)
    several = analyze(path, processes=3, skip_warmup=0.1)
    assert comparable(several) == comparable(one)
    assert {one.kind for one in several.findings} == {one.kind for one in one.findings}
    assert noted(several) == noted(one) == {"bad-row": (7_001, 1), "truncated": (17_001, 1)}
    assert several.to_dict()["logs"] == one.to_dict()["logs"]
    assert several.to_dict()["threads"] == one.to_dict()["threads"]
    monkeypatch.setattr("sys.executable", "/nowhere/python")  # what cannot be started is done here
    assert comparable(analyze(path, processes=2, skip_warmup=0.1)) == comparable(one)


@pytest.mark.parametrize("kind", ["lognormal", "pareto", "steps"])
def test_percentiles_are_within_one_percent_of_exact(kind: str) -> None:
    chance = np.random.default_rng(4)
    values = {
        "lognormal": chance.lognormal(15, 1.5, 100_000), "pareto": (chance.pareto(1.2, 100_000) + 1) * 1e5,
        "steps": chance.choice([1e3, 7e6, 3e9], 100_000, p=[0.5, 0.45, 0.05]),
    }[kind].astype(np.int64)  # fmt: skip
    percents = [1, 10, 50, 90, 95, 99, 99.9, 99.99]
    found = percentiles(np.bincount(columns_of(values), minlength=BUCKETS), percents)
    ordered = np.sort(values)
    for percent, value in zip(percents, found, strict=True):
        assert value == pytest.approx(ordered[int(np.ceil(percent / 100 * values.size - 1e-9)) - 1], rel=0.01)


def test_warm_up_is_left_out(tmp_path: Path) -> None:
    rows = run(5)
    found = analyze(log(tmp_path / "log.tsv", rows), skip_warmup=0.5).to_dict()
    late = [row for row in rows if row["begin"] >= 0.5]
    assert (found["records"], found["logs"][0]["skipped"]) == (len(late), len(rows) - len(late))
    with pytest.raises(errors.CorruptDataError, match="all 4000 operations are in the warm-up"):
        analyze(tmp_path / "log.tsv", skip_warmup=60)


def test_clock_offsets_are_taken_off(tmp_path: Path) -> None:
    a = log(tmp_path / "a", run(6, client_id="a"))
    b = log(tmp_path / "b", run(7, client_id="b"), START + 40_000_000_000)
    for offsets in ({str(b): 40.0}, [0, 40.0]):
        found = analyze([a, b], clock_offsets=offsets).to_dict()  # type: ignore[arg-type]
        assert found["seconds"] < 3
        assert found["overlap"]["share_of_shortest"] > 0.95
        assert found["logs"][1]["clock_offset_s"] == 40
    assert analyze([a, b]).to_dict()["seconds"] > 40
    with pytest.raises(errors.ConfigError, match="none of the logs"):
        analyze([a, b], clock_offsets={"c": 1.0})
    with pytest.raises(errors.ConfigError, match="2 logs and 1 clock offsets"):
        analyze([a, b], clock_offsets=[1.0])


def noted(found: Report) -> dict[str, tuple[int, int]]:
    return {note.kind: (note.line, note.times) for note in found.notes}


def test_what_is_odd_about_a_log_is_noted_and_the_rest_counted(tmp_path: Path) -> None:
    lines = text(run(8, count=500)).splitlines()
    fields = [line.split("\t") for line in lines]
    fields[10][9] = fields[10][9].replace("2026", "1999")  # a clock that was never set
    fields[20][11] = fields[20][9].replace("T23:52:52", "T23:52:51")  # it went back during the operation
    fields[30][5] = "many"
    fields[40] = fields[40][:4]
    fields[50][11] = ""
    fields[50][12] = ""
    lines = ["\t".join(one) for one in fields]
    path = tmp_path / "log.tsv"
    path.write_text("\n".join([*lines[:-1], lines[-1][:-40]]))
    found = analyze(path)
    assert noted(found) == {
        "bad-row": (31, 2), "truncated": (501, 1), "no-duration": (51, 1), "implausible-time": (11, 1),
        "negative-duration": (21, 1),
    }  # fmt: skip
    assert found.to_dict()["records"] == 500 - 5
    assert found.to_dict()["count"] == 500 - 6


@pytest.mark.parametrize("order", ["begin", "end"])
def test_a_clock_that_goes_backwards(tmp_path: Path, order: str) -> None:
    rows = run(9, count=1_000, workers=4)
    if order == "begin":
        rows.sort(key=lambda row: float(row["begin"]))
    path = log(tmp_path / "log.tsv", rows)
    assert noted(analyze(path)) == {}
    for row in rows[600:]:
        row["begin"] -= 0.4
    assert noted(analyze(log(path, rows))) == {"clock-backwards": (602, 1)}


def test_clients_with_different_clocks_in_one_log_are_no_clock_that_goes_backwards(tmp_path: Path) -> None:
    rows = [row for pair in zip(run(10, count=300), run(11, count=300, client_id="c1"), strict=True) for row in pair]
    for row in rows[1::2]:
        row["begin"] += 5
    assert noted(analyze(log(tmp_path / "log", rows))) == {}


def test_a_log_that_is_cut_in_the_middle_of_its_frame(tmp_path: Path) -> None:
    data = zstandard.ZstdCompressor().compress(text(run(12)).encode())
    path = tmp_path / "log.tsv.zst"
    path.write_bytes(data[: len(data) // 2])
    found = analyze(path)
    assert noted(found).keys() == {"truncated"}
    assert found.to_dict()["records"] > 500


def test_logs_that_cannot_be_analyzed(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("date,level,message\n2026-01-01,info,hello\n")
    with pytest.raises(errors.CorruptDataError, match="no op-log"):
        analyze(tmp_path / "foreign")
    with pytest.raises(errors.ObjectNotFoundError):
        analyze(tmp_path / "missing")
    with pytest.raises(errors.CorruptDataError, match="nothing to analyze"):
        analyze(log(tmp_path / "empty", []))
    with pytest.raises(errors.ConfigError, match="no log"):
        analyze([])


def test_a_sample_is_exact_up_to_its_limit_and_fair_beyond() -> None:
    chance = np.random.default_rng(13)
    keys = chance.integers(0, 2**63, 20_000).astype(np.uint64)
    seen = keys[chance.integers(0, keys.size, 60_000)]
    exact_counts = Counter(seen.tolist())
    for limit in (1 << 16, 1 << 10):
        sample = Sample(limit)
        for part in np.array_split(seen, 37):
            sample.add(part, np.full(part.size, 10), np.zeros(part.size, np.int64))
        sample.merge()
        assert sample.keys.size <= limit
        assert (sample.amounts == sample.counts * 10).all()
        if limit == 1 << 16:
            assert sample.share == 1
            assert sorted(sample.counts.tolist()) == sorted(exact_counts.values())
        else:
            assert sample.counts.sum() / sample.share == pytest.approx(60_000, rel=0.15)
            twice = np.mean([count > 1 for count in exact_counts.values()])
            assert (sample.counts > 1).mean() == pytest.approx(twice, abs=0.08)


def verdicts(a: list[Row], b: list[Row], tmp_path: Path) -> dict[str, str]:
    found = compare(analyze(log(tmp_path / "a", a)), analyze(log(tmp_path / "b", b)))
    return {one.figure: one.verdict for one in found.differences if not one.size}


def test_what_is_slower_is_said_to_be(tmp_path: Path) -> None:
    found = verdicts(run(14), run(15, latency=0.0055), tmp_path)
    assert found == dict.fromkeys(("ops_per_s", "bytes_per_s", "mean", "p50", "p90", "p99"), "slower")
    found = verdicts(run(14), run(15, latency=0.0045), tmp_path)
    assert set(found.values()) == {"faster"}


def test_only_the_tail_is_slower(tmp_path: Path) -> None:
    def change(row: Row, chance: np.random.Generator) -> None:
        row["latency"] *= 3 if chance.random() < 0.015 else 1

    found = verdicts(run(16), run(17, change=change), tmp_path)
    assert (found["p50"], found["p90"], found["p99"]) == ("same", "same", "slower")


def test_runs_of_the_same_kind_are_the_same(tmp_path: Path) -> None:
    said = Counter[str]()
    for seed in range(5):
        said.update(verdicts(run(20 + seed, count=1_000), run(50 + seed, count=1_000), tmp_path).values())
    assert said["same"] >= 29  # of 30, each with 99 %


def test_the_rates_that_are_compared_are_those_of_the_reports(tmp_path: Path) -> None:
    """Also of operations that take as long as the run, whose bytes come long after they have begun."""
    runs = [run(seed, count=64, workers=64, sigma=0.01) for seed in (30, 31)]
    reports = [analyze(log(tmp_path / str(number), rows)) for number, rows in enumerate(runs)]
    told = [report.to_dict()["operations"][0] for report in reports]
    found = {one.figure: one for one in compare(*reports).differences if not one.size}
    for figure in ("ops_per_s", "bytes_per_s"):
        one = found[figure]
        assert (one.a, one.b) == pytest.approx((told[0][figure], told[1][figure]))
        assert one.verdict == "same"


def test_intervals_hold_what_was_changed(tmp_path: Path) -> None:
    a, b = analyze(log(tmp_path / "a", run(18))), analyze(log(tmp_path / "b", run(19, latency=0.006)))
    for one in compare(a, b, confidence=0.999).differences:
        if one.figure in ("mean", "p50", "p90"):
            assert one.low < 0.2 < one.high
    again = compare(a, b, seed=1).to_dict()
    assert again == compare(a, b, seed=1).to_dict()
    assert json.loads(json.dumps(again, allow_nan=False))["schema"] == "s3dlio-compare/1"
    with pytest.raises(errors.ConfigError, match="confidence"):
        compare(a, b, confidence=1)
    with pytest.raises(errors.ConfigError, match="nothing to compare"):
        compare(a, analyze(log(tmp_path / "c", run(1, op="PUT", count=100))))


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_trace_events(tmp_path: Path, name: str) -> None:
    rows = run(30, change=mixed, count=600)
    path = log(tmp_path / "log.tsv", rows)
    events = write_trace(tmp_path / name, path)
    data = (tmp_path / name).read_bytes()
    found = json.loads(gzip.decompress(data) if name.endswith("gz") else data)["traceEvents"]
    assert len(found) == events
    spans = [event for event in found if event["ph"] == "X"]
    assert len(spans) == len(rows)
    assert sum(event["args"]["bytes"] for event in spans) == sum(row["bytes"] for row in rows if not row["error"])
    assert {event["cat"] for event in spans} == {"storage", "failed"}
    ends: dict[tuple[int, int], float] = {}
    for event in sorted(spans, key=lambda one: one["ts"]):  # events of a track never overlap
        track = event["pid"], event["tid"]
        assert event["ts"] >= ends.get(track, 0) - 1e-3
        ends[track] = event["ts"] + event["dur"]
    assert len(ends) <= 20
    assert {event["args"]["name"] for event in found if event["name"] == "process_name"} == {"c0", "c1"}
    with pytest.raises(errors.S3dlioError):
        write_trace(tmp_path / "no" / "where", path)
