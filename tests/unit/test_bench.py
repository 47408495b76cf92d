"""What a benchmark is told, draws, adds up and shows, without a store."""

from __future__ import annotations

import json
import random
import re
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from s3dlio.bench.environment import environment, lines
from s3dlio.bench.payloads import Payloads
from s3dlio.bench.plan import Plan, Share
from s3dlio.bench.plot import plot
from s3dlio.bench.recorder import CODES, Recorder, pack
from s3dlio.bench.report import table
from s3dlio.bench.result import Result
from s3dlio.bench.sizes import Sizes
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError

SECOND = 1_000_000_000


# -- sizes


@pytest.mark.parametrize(("text", "low", "high"), [
    ("1MiB", 1 << 20, 1 << 20), ("0", 0, 0), ("4KiB-1MiB", 4096, 1 << 20), ("4KiB:70,1MiB:30", 4096, 1 << 20),
    ("1k-2k:1, 8m:0.5", 1000, 8_000_000),
])  # fmt: skip
def test_sizes_are_drawn_from_what_is_written(text: str, low: int, high: int) -> None:
    for logarithmic in (False, True):
        sizes = Sizes.parse(text, logarithmic=logarithmic)
        drawn = sizes.draw(np.random.default_rng(1), 2000)
        assert low <= drawn.min() <= drawn.max() <= high == sizes.largest
        assert Sizes.parse(str(sizes), logarithmic=logarithmic) == sizes


def test_weights_and_the_kind_of_a_range_are_kept() -> None:
    random = np.random.default_rng(2)
    weighted = Sizes.parse("4KiB:70,1MiB:30").draw(random, 10_000)
    assert 0.68 < (weighted == 4096).mean() < 0.72
    uniform = Sizes.parse("1KiB-1MiB").draw(random, 10_000)
    assert 0.48 < (uniform < 512 << 10).mean() < 0.52
    by_powers = Sizes.parse("1KiB-1MiB", logarithmic=True).draw(random, 10_000)
    assert 0.48 < (by_powers < 32 << 10).mean() < 0.52


@pytest.mark.parametrize("text", ["", "x", "1MiB-", "2MiB-1MiB", "4KiB:", "4KiB:0", "1-2-3", "4KiB:-1", "1MiB,,2MiB"])
def test_what_tells_no_sizes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Sizes.parse(text)


# -- the plan


def plan(**values: Any) -> Plan:
    return Plan(**{"operation": "get", "uri": "memory://bench/", "sizes": Sizes.parse("1KiB"), **values})


@pytest.mark.parametrize("values", [
    {"operation": "copy"}, {"count": 5}, {"seconds": None}, {"seconds": 0}, {"objects": 0}, {"concurrent": ()},
    {"concurrent": (4, 0)}, {"concurrent": (2,), "procs": 4}, {"prepare": False},
    {"operation": "delete", "prepare": False, "prefix": "a"}, {"prefix": "a/b"}, {"prefix": ".."}, {"prefix": ""},
    {"operation": "mixed", "mix": {"get": 0, "put": 0}}, {"mix": {"copy": 1}}, {"range_size": 0},
])  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        plan(**values)


def test_shares_divide_everything() -> None:
    for whole in (1, 7, 32):
        assert sum(Share(number, 5).part(whole) for number in range(5)) == whole


# -- data


def test_objects_have_other_bytes_and_the_same_again_with_a_seed() -> None:
    for fresh in (False, True):
        first, again = (Payloads(3 << 20, 1, 1, 7, fresh=fresh) for _ in range(2))
        small = {bytes(first.source(4096, number).read(0, 4096)) for number in range(50)}
        assert len(small) == 50
        large = first.source(3 << 20, 5)
        assert large.size == 3 << 20
        assert b"".join(large.stretches()) == b"".join(again.source(3 << 20, 5).stretches())


def test_an_object_larger_than_the_buffer_is_whole() -> None:
    payloads = Payloads(130 << 20, 1, 1, 7, fresh=False)
    source = payloads.source((130 << 20) + 5, 1)
    assert sum(map(len, source.stretches())) == source.size == (130 << 20) + 5


# -- what is measured


def add(recorder: Recorder, operation: str, start: int, end: int, first_ns: int, size: int) -> None:
    recorder.add(pack(start, end - start, first_ns, size, 1, CODES[operation]))


def test_operations_count_in_the_slices_in_which_they_ran() -> None:
    result = Result(2)
    begin = time.perf_counter_ns()
    first_byte = time.time_ns() - begin  # of this clock, at the other one
    recorder = Recorder(result, begin, begin + 4 * SECOND)
    at = [begin + int(place * SECOND) for place in (-1, -0.5, 0.25, 0.5, 0.75, 2.75, 3.5, 5.5)]
    add(recorder, "GET", at[0], at[1], 0, 50)  # of the warm-up
    add(recorder, "GET", at[1], at[3], 0, 100)  # half of it
    add(recorder, "GET", at[2], at[3], at[2] + first_byte + 1000, 200)
    add(recorder, "GET", at[4], at[5], 0, 800)  # 1/8, 1/2, 3/8
    add(recorder, "GET", at[6], at[7], 0, 400)  # a quarter, before the clock stops
    recorder.finish()
    measured = result.of("GET")
    assert (measured.operations, measured.bytes) == (3, 1400)
    assert measured.bytes_over_time.values == pytest.approx([50 + 200 + 100, 400, 300, 100])
    assert measured.operations_over_time.values == pytest.approx([0.5 + 1 + 0.125, 0.5, 0.375, 0.25])
    assert (measured.latency.min, measured.latency.max) == (SECOND // 4, 2 * SECOND)
    assert measured.first_byte.count == 1
    assert abs(measured.first_byte.max - 1000) < SECOND // 100  # the clocks are read one after the other


def test_what_many_records_add_up_to_is_what_few_at_a_time_do(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(3)
    records = [(drawn.randrange(10**10), drawn.randrange(1, 3 * 10**9), drawn.randrange(10**6)) for _ in range(3000)]

    def measured(rotate: bool) -> dict[str, Any]:
        result = Result(1)
        recorder = Recorder(result, 1, None)
        for start, took, size in records:
            add(recorder, "PUT", start + 1, start + 1 + took, 0, size)
            if rotate:
                recorder.rotate()
        recorder.finish()
        assert recorder.last == max(start + 1 + took for start, took, _ in records)
        return result.of("PUT").as_dict(10.0)

    at_once = measured(False)
    monkeypatch.setattr("s3dlio.bench.recorder._MANY", 100)
    in_pieces = measured(True)
    for name in ("operations", "bytes", "objects", "latency_ns"):
        assert at_once[name] == in_pieces[name]
    assert in_pieces["bytes_per_second"] == pytest.approx(at_once["bytes_per_second"])
    assert at_once["bytes_per_second"] * 10 == pytest.approx(at_once["bytes"])


def run(concurrent: int, rates: list[int]) -> Result:
    result = Result(concurrent)
    begin = time.perf_counter_ns()
    recorder = Recorder(result, begin, begin + len(rates) * SECOND)
    for second, count in enumerate(rates):
        for number in range(count):
            start = begin + second * SECOND + number * SECOND // count
            add(recorder, "GET", start, start + SECOND // count - 1, 0, 1 << 20)
    recorder.finish()
    result.seconds = len(rates)
    result.began_ns = time.time_ns()
    return result


def test_runs_of_several_processes_are_merged() -> None:
    one, other = run(4, [10, 20, 30]), run(3, [5, 5, 5])
    other.fail("GET", "ThrottledError", "slow down")
    other.cpu_seconds = 2.0
    one.merge(other)
    told = one.as_dict()
    assert (told["concurrent"], told["seconds"], told["client_cpu_seconds"]) == (7, 3, 2.0)
    assert (told["total"]["operations"], told["total"]["errors"]) == (75, 1)
    assert told["slices"]["operations_per_second"] == pytest.approx([15, 25, 35], rel=1e-3)
    scale = 1 << 20
    assert [told["slices"][name] / scale for name in ("fastest", "median", "slowest")] == pytest.approx(
        [35, 25, 15], rel=1e-3
    )
    assert told["failures"] == [{"operation": "GET", "type": "ThrottledError", "count": 1, "first": "slow down"}]
    assert json.loads(json.dumps(told)) == told


def report(*runs: Result) -> dict[str, Any]:
    return {"benchmark": "get", "options": {"uri": "s3://<bucket>/"}, "runs": [one.as_dict() for one in runs]}


def test_a_picture_is_an_svg_that_needs_nothing_else() -> None:
    found = report(run(1, [10, 20]), run(2, [20, 30]), run(8, [50, 40]))
    drawn = ElementTree.fromstring(plot(found))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    text = " ".join(drawn.itertext())
    assert all(part in text for part in ("Throughput over time", "MiB/s", "Latency", "8 in flight", "p99.9"))
    paths = [path for path in drawn.iter("{http://www.w3.org/2000/svg}path") if path.get("class") == "line"]
    lines = [re.findall(r"[\d.-]+", path.get("d", "")) for path in paths]
    assert len(lines) == 3 + 1 + 4
    assert all(0 <= float(place) <= 1040 for line in lines for place in line)
    page = plot(found, html=True)
    assert "s3://&lt;bucket&gt;/" in page
    assert "http:" not in page
    assert "https:" not in page
    ElementTree.fromstring(plot(report(Result(1))))  # nothing was measured
    ElementTree.fromstring(plot(report()))
    ElementTree.fromstring(plot(report(run(4, [10]), run(4, [20]))))  # one width, twice


def test_a_table_has_a_row_for_each_operation() -> None:
    one = run(4, [10, 10])
    one.of("HEAD").merge(run(1, [5]).of("GET"))
    one.fail("PUT", "QuotaError", "full")
    told = table(report(one))
    assert [line.split()[1] for line in told[1:5]] == ["GET", "HEAD", "PUT", "all"]
    assert any("1 PUT failed: QuotaError: full" in line for line in told)
    assert table(report()) == ["nothing was measured"]


# -- the environment


def test_the_environment_of_a_figure_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, "hidden")
    settings = Settings.resolve(http={"max_connections": 7})
    found = environment(settings)
    assert "hidden" not in json.dumps(found)
    assert found["settings"]["http.max_connections"] == {"value": "7", "origin": "argument"}
    assert found["settings"]["s3.secret_access_key"]["value"] == "***"
    assert "retry.max_attempts" not in found["settings"]
    assert found["machine"]["usable_cpus"] >= 1
    assert found["versions"]["python"]
    assert found["fast_paths"]["tls"] in ("ssl", "direct")
    assert any(line.startswith("versions: s3dlio ") for line in lines(found))
