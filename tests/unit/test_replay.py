"""The replay of op-logs: which operations, where, when, and what the report says; on a clock that the tests move."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest

import s3dlio
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import BatchError, ConfigError, CorruptDataError, UnsafeKeyError, UnsupportedOperationError
from s3dlio.oplog.replay.clock import Clock, quiet
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.dependencies import ClosedLoop
from s3dlio.oplog.replay.executor import OpExecutor
from s3dlio.oplog.replay.item import Item
from s3dlio.oplog.replay.operation import operation_of
from s3dlio.oplog.replay.plan import ReplayPlan
from s3dlio.oplog.replay.replaying import Replay, replay_op_log, replay_workload
from s3dlio.oplog.replay.report import ReplayReport
from s3dlio.oplog.replay.report_text import report_lines
from s3dlio.oplog.replay.retarget import Places
from s3dlio.oplog.replay.trace import Players, Trace
from s3dlio.rfc3339 import rfc3339

T = TypeVar("T")
ORIGIN = 1_700_000_000_000_000_000
MS = 1_000_000
COLUMNS = ("idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte",
           "end", "duration_ns")  # fmt: skip


class Row(dict[str, Any]):
    """One row, by what differs from a GET of ``s3://bucket/key`` that took a millisecond."""

    def __init__(self, op: str, start: float = 0, took: float = 1, name: str = "key", **more: Any) -> None:
        end = more.pop("end", start + took)
        super().__init__(
            thread=0, op=op, client_id="", n_objects=1, bytes=100, endpoint="s3://bucket", file=f"bucket/{name}",
            error="", start=_time(start), first_byte="", end=_time(end), duration_ns=max(0, int((end - start) * MS)),
        )  # fmt: skip
        self.update(more)


def _time(milliseconds: float) -> str:
    return _rfc3339(ORIGIN + int(milliseconds * MS))


def _rfc3339(epoch_ns: int) -> str:
    second, nanos = divmod(epoch_ns, 1_000_000_000)
    return f"{rfc3339(second * 1_000_000_000)[:19]}.{nanos:09}Z"


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """Writes a log of rows."""

    def write(*rows: Row, name: str = "ops.tsv") -> Path:
        lines = ["\t".join(COLUMNS)]
        lines += ["\t".join(str({"idx": n, **row}[column]) for column in COLUMNS) for n, row in enumerate(rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


class MovedClock(Clock):
    """A clock that moves when somebody waits, and by a little more than was asked for."""

    def __init__(self, late: int = 0) -> None:
        self.time = 1_000
        self.late = late

    def now(self) -> int:
        return self.time

    def sleep_until(self, due: int) -> None:
        self.time = max(self.time, due + self.late)

    def wait_for(self, queue: SimpleQueue[T], due: int | None) -> T | None:
        if not queue.empty() or due is None:
            return queue.get(timeout=30)
        self.sleep_until(due)
        return None


class Noting(OpExecutor):
    """Notes what it is asked to do, each of which takes a while of the clock."""

    def __init__(self, clock: MovedClock | None = None, takes: int = 0) -> None:
        self.done: list[tuple[str, str]] = []
        self.times: list[int] = []
        self._clock = clock
        self._takes = takes

    def _note(self, what: str, uri: str) -> None:
        self.done.append((what, uri))
        if self._clock is not None:
            self.times.append(self._clock.time)
            self._clock.time += self._takes

    def get(self, uri: str) -> None:
        self._note("get", uri)

    def put(self, uri: str, size: int) -> None:
        self._note(f"put {size}", uri)

    def delete(self, uri: str) -> None:
        self._note("delete", uri)

    def list(self, uri: str) -> None:
        self._note("list", uri)

    def stat(self, uri: str) -> None:
        self._note("stat", uri)


class InlineSession:
    """A session whose work is done at once, on the thread of the test."""

    executor = InlineExecutor()


def replay(path: Path, executor: OpExecutor, clock: Clock, **options: Any) -> ReplayReport:
    session: Any = InlineSession()
    return Replay(ReplayConfig(op_log_path=path, **options), session, executor, clock).run()


# -- when


def test_operations_begin_at_their_times_and_lateness_does_not_add_up(log: Callable[..., Path]) -> None:
    starts = [0.0, 1_000, 1_000.5, 2_500, 9_000]
    clock = MovedClock(late=MS // 10)
    noting = Noting(clock)
    report = replay(log(*(Row("GET", start) for start in starts)), noting, clock)
    offsets = [(at - noting.times[0]) / MS for at in noting.times]
    assert offsets == pytest.approx(starts, abs=1e-6)
    assert report.lateness.max == pytest.approx(MS // 10, rel=0.01)
    assert report.within(1 * MS) == 100
    assert report.recorded_span == 9_000 * MS


@pytest.mark.parametrize(("speed", "factor"), [(2, 0.5), (0.25, 4), (float("inf"), 0)])
def test_speed(log: Callable[..., Path], speed: float, factor: float) -> None:
    clock = MovedClock()
    noting = Noting(clock)
    replay(log(*(Row("GET", start) for start in (0, 100, 300))), noting, clock, speed=speed)
    assert [(at - noting.times[0]) / MS for at in noting.times] == pytest.approx([0, 100 * factor, 300 * factor])


def test_what_takes_too_long_makes_others_late_and_the_report_says_so(log: Callable[..., Path]) -> None:
    clock = MovedClock()
    report = replay(log(*(Row("GET", start) for start in range(4))), Noting(clock, takes=5 * MS), clock)
    assert [round(report.within(limit * MS)) for limit in (1, 2, 10)] == [25, 25, 75]  # 0, 4, 8, 12 ms
    assert report.lateness.max == pytest.approx(12 * MS, rel=0.01)
    assert report.to_dict()["within_percent"] == {"1ms": 25.0, "2ms": 25.0, "10ms": 75.0}
    kind = report.kinds["GET"]
    assert kind.latency.percentile(50) == pytest.approx(5 * MS, rel=0.01)
    assert kind.recorded.percentile(50) == pytest.approx(1 * MS, rel=0.01)


def test_rows_are_sorted_within_a_window(log: Callable[..., Path]) -> None:
    rows = [Row("GET", start, name=str(start)) for start in (2, 0, 1, 4, 3)]
    noting = Noting()
    replay(log(*rows), noting, MovedClock(), window=3)
    assert [uri for _, uri in noting.done] == [f"s3://bucket/{number}" for number in range(5)]


def test_a_log_that_is_further_out_of_order_is_refused_with_what_to_do(log: Callable[..., Path]) -> None:
    path = log(*(Row("GET", start) for start in (5, 6, 7, 8, 0)))
    with pytest.raises(CorruptDataError, match=r"not in order.*sort_op_log"):
        replay(path, Noting(), MovedClock(), window=2)
    s3dlio.sort_op_log(path)
    assert replay(path, Noting(), MovedClock(), window=2).attempted == 5


def test_a_clock_that_goes_backwards(log: Callable[..., Path]) -> None:
    path = log(Row("GET", 10, end=3), Row("GET", 4))
    report = replay(path, Noting(), MovedClock())
    assert report.attempted == 2
    assert any("clock went back" in note for note in report.notes)
    assert report.kinds["GET"].recorded.max == 1 * MS


def test_several_logs_are_one(log: Callable[..., Path]) -> None:
    one = log(Row("GET", 0, name="a"), Row("GET", 20, name="c"), name="one.tsv")
    two = log(Row("GET", 10, name="b"), Row("GET", 30, name="d", client_id="named"), name="two.tsv")
    noting = Noting()
    session: Any = InlineSession()
    report = Replay(ReplayConfig(op_log_path=[one, two]), session, noting, MovedClock()).run()
    assert [uri[-1] for _, uri in noting.done] == list("abcd")
    assert report.clients == {"one.tsv": 2, "two.tsv": 1, "named": 1}


def test_nothing_of_the_process_stays_changed() -> None:
    before = sys.getswitchinterval(), gc.get_freeze_count()
    with quiet():
        assert sys.getswitchinterval() < before[0]
        assert gc.get_freeze_count() > 0
    assert (sys.getswitchinterval(), gc.get_freeze_count()) == before


# -- which


def kept(path: Path, **options: Any) -> list[str]:
    return [f"{each.kind} {each.uri.rpartition('/')[2]}" for each in Trace(ReplayConfig(op_log_path=path, **options))]


def test_filters(log: Callable[..., Path]) -> None:
    path = log(
        Row("GET", 0, name="a", client_id="one"), Row("PUT", 1_000, name="b", bytes=10), Row("STAT", 2_000, name="c"),
        Row("LIST", 3_000, name="d.npz"), Row("DELETE", 4_000, name="e"), Row("GET_RANGE", 5_000, name="f"),
    )  # fmt: skip
    everything = ["GET a", "PUT b", "HEAD c", "LIST d.npz", "DELETE e", "GET_RANGE f"]
    assert kept(path) == everything
    assert kept(path, filter_ops=["get", "STAT"]) == ["GET a", "HEAD c"]
    assert kept(path, pattern="[ab]$") == ["GET a", "PUT b"]
    assert kept(path, pattern="*.npz") == ["LIST d.npz"]
    assert kept(path, min_size=11, filter_ops=["GET", "PUT"]) == ["GET a"]
    assert kept(path, max_size=10) == ["PUT b"]
    assert kept(path, clients=["one"]) == ["GET a"]
    assert kept(path, since=1, until="3s") == ["PUT b", "HEAD c"]
    assert kept(path, since="2023-11-14T22:13:24Z") == everything[4:]  # the origin is 22:13:20


def test_what_cannot_be_replayed_is_counted_or_refused(log: Callable[..., Path]) -> None:
    without_time = Row("GET")
    without_time.update(start="", end="")
    path = log(Row("GET", 0), Row("COPY", 1), Row("DELETE_BATCH", 2, name=""), Row("FROBNICATE", 3),
               Row("PUT", 4, error="it failed", bytes=0), without_time)  # fmt: skip
    report = replay(path, Noting(), MovedClock())
    assert report.attempted == 1
    reasons = " ".join(report.skipped)
    assert sum(report.skipped.values()) == 5
    for words in ("COPY: the log does not tell the source", "the keys", "'FROBNICATE'", "failed when", "no start time"):
        assert words in reasons
    with pytest.raises(CorruptDataError, match="cannot be replayed"):
        replay(path, Noting(), MovedClock(), strict=True)


def test_bad_logs_are_refused_before_anything_is_done(log: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "foreign").write_text("a\tb\n1\t2\n")
    noting = Noting()
    for name in ("empty", "foreign"):
        with pytest.raises(CorruptDataError):
            replay(tmp_path / name, noting, MovedClock())
    whole = log(Row("GET"), Row("GET", 1)).read_bytes()
    import zstandard

    (tmp_path / "cut.zst").write_bytes(zstandard.ZstdCompressor().compress(whole * 50)[:-20])
    with pytest.raises(CorruptDataError):
        replay(tmp_path / "cut.zst", noting, MovedClock())
    assert not noting.done
    assert replay(log(), noting, MovedClock()).attempted == 0


def test_logs_of_other_programs(tmp_path: Path) -> None:
    warp = ("idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start",
            "first_byte", "last_byte", "end", "duration_ns", "cat")  # fmt: skip
    moments = [f"2026-11-28T00:00:0{second}Z" for second in range(3)]
    row = ("0", "3", "STAT", "host-1", "1", "100", "http://host:9000", "dir/key", "", *moments, moments[2], "2", "0")
    (tmp_path / "warp.csv").write_text("\t".join(warp) + "\n" + "\t".join(row) + "\n")
    (found,) = Trace(ReplayConfig(op_log_path=tmp_path / "warp.csv"))
    assert (found.kind, found.uri, found.client, found.thread) == ("HEAD", "http://host:9000/dir/key", "host-1", 3)
    (tmp_path / "lines.jsonl").write_text(
        '{"op": "GET_RANGE", "file": "s3://b/k", "endpoint": "h:9000", "bytes": 100, "range": "500-599", '
        '"start": "2026-11-28T00:00:00Z", "duration_ns": 5}\n'
        '{"operation": "get", "file": "/data/f", "bytes": 7, "t_start_ns": 1795824000000000000}\n'
    )
    ranged, whole = Trace(ReplayConfig(op_log_path=tmp_path / "lines.jsonl"))
    assert (ranged.uri, ranged.place, ranged.offset, ranged.length) == ("s3://b/k", "s3://b", 500, 100)
    assert (whole.kind, whole.uri, whole.size) == ("GET", "file:///data/f", 7)


# -- where


def test_a_row_names_its_object_in_the_forms_of_several_programs() -> None:
    def named(endpoint: str, file: str) -> str:
        found = operation_of({"op": "GET", "start": 1, "endpoint": endpoint, "file": file}, "")
        assert found is not None
        return found.uri

    assert named("s3://bucket", "bucket/dir/key") == "s3://bucket/dir/key"
    assert named("file://", "/data/a") == "file:///data/a"
    assert named("az://account", "account/container/key") == "az://account/container/key"
    assert named("127.0.0.1:9000", "s3://bucket/key") == "s3://bucket/key"
    assert named("", "/data/a") == "file:///data/a"
    assert named("file:///tmp/", "data/a") == "file:///tmp/data/a"
    assert named("http://host:9000", "dir/key") == "http://host:9000/dir/key"
    assert named("host:9000", "/bucket/key") == "http://host:9000/bucket/key"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"target_uri": "s3://new/t/"}, "s3://new/t/dir/key"),
        ({"target_uri": "file:///tmp/replay"}, "file:///tmp/replay/dir/key"),
        ({"mapping": {"s3://bucket": "az://a/c"}}, "az://a/c/dir/key"),
        ({"mapping": {"s3://bucket": "az://a/c", "s3://bucket/dir/": "gs://b/x/"}}, "gs://b/x/key"),
        ({"mapping": {"s3://buck": "az://a/c"}, "target_uri": "s3://rest"}, "s3://rest/dir/key"),
        ({}, "s3://bucket/dir/key"),
    ],
)
def test_targets(options: dict[str, Any], expected: str) -> None:
    operation = operation_of({"op": "GET", "start": 1, "endpoint": "s3://bucket", "file": "bucket/dir/key"}, "")
    assert operation is not None
    assert Places(ReplayConfig(op_log_path="x", **options)).uri(operation) == expected


def test_keys_are_spread_over_several_targets_and_each_stays_where_it_is() -> None:
    places = Places(ReplayConfig(op_log_path="x", mapping={"http://h:1": ["s3://a", "s3://b"]}))
    found = {}
    for number in range(40):
        row = {"op": "GET", "start": 1, "endpoint": "h:1", "file": f"k{number}"}
        operation = operation_of(row, "")
        assert operation is not None
        found[number] = places.uri(operation)
        assert places.uri(operation) == found[number]
    assert {uri.rpartition("/")[0] for uri in found.values()} == {"s3://a", "s3://b"}


def test_a_name_of_the_log_never_leads_out_of_a_local_target() -> None:
    row = {"op": "PUT", "start": 1, "endpoint": "s3://bucket", "file": "bucket/../../etc/passwd"}
    operation = operation_of(row, "")
    assert operation is not None
    with pytest.raises(UnsafeKeyError):
        Places(ReplayConfig(op_log_path="x", target_uri="file:///tmp/replay")).uri(operation)


def test_a_log_without_buckets_needs_a_target(log: Callable[..., Path]) -> None:
    path = log(Row("GET", endpoint="http://host:9000", file="bucket/key"))
    noting = Noting()
    with pytest.raises(ConfigError, match=r"--map http://host:9000=s3://"):
        replay(path, noting, MovedClock())
    replay(path, noting, MovedClock(), mapping={"http://host:9000": "s3://"})
    assert noting.done == [("get", "s3://bucket/key")]


@pytest.mark.parametrize("op", ["PUT", "DELETE"])
def test_what_is_stored_there_is_left_alone_unless_that_is_asked_for(log: Callable[..., Path], op: str) -> None:
    path = log(*(Row("GET", number) for number in range(5)), Row(op, 6))
    noting = Noting()
    for options in ({}, {"target_uri": "s3://bucket"}, {"mapping": {"s3://bucket": "s3://bucket/"}}):
        with pytest.raises(ConfigError, match="--in-place"):
            replay(path, noting, MovedClock(), **options)
    assert not noting.done  # not even the reads before it
    assert replay(path, noting, MovedClock(), filter_ops=["GET"]).attempted == 5
    assert replay(path, noting, MovedClock(), in_place=True).attempted == 6
    assert replay(path, noting, MovedClock(), target_uri="s3://other").attempted == 6


# -- what fails


class Failing(Noting):
    """Reads fail."""

    def get(self, uri: str) -> None:
        super().get(uri)
        raise FileNotFoundError(uri)


def test_an_error_stops_the_replay_or_is_counted(log: Callable[..., Path]) -> None:
    path = log(*(Row("GET" if number % 2 else "STAT", number) for number in range(10)))
    session: Any = InlineSession()
    failing = Failing()
    with pytest.raises(BatchError, match="failed=1") as caught:
        replay_workload(ReplayConfig(op_log_path=path, speed=100), failing, session=session)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert len(failing.done) == 2
    report = replay_op_log(path, Failing(), session=session, speed=100, continue_on_error=True)
    assert (report.attempted, report.failed) == (10, 5)
    assert not report.stopped
    report = replay_op_log(path, Failing(), session=session, speed=100, continue_on_error=True, max_errors=2)
    assert report.failed == 3
    assert "more than 2" in report.stopped


def test_what_failed_when_it_was_recorded_may_fail_again(log: Callable[..., Path]) -> None:
    report = replay(log(Row("GET", error="not there", bytes=0), Row("STAT", 1)), Failing(), MovedClock())
    assert (report.attempted, report.failed, report.stopped) == (2, 0, "")
    assert report.kinds["GET"].failed_as_recorded == 1


def test_an_interrupt_leaves_a_report(log: Callable[..., Path]) -> None:
    class Interrupted(MovedClock):
        def sleep_until(self, due: int) -> None:
            if due > 1_000 + 500 * MS:
                raise KeyboardInterrupt
            super().sleep_until(due)

        def wait_for(self, queue: SimpleQueue[T], due: int | None) -> T | None:
            return super().wait_for(queue, due)

    session: Any = InlineSession()
    config = ReplayConfig(op_log_path=log(*(Row("GET", 10 * number) for number in range(100))))
    made = Replay(config, session, Noting(), Interrupted())
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert made.report.stopped == "interrupted"
    assert 45 < made.report.attempted < 55


def test_configurations_that_cannot_be(log: Callable[..., Path]) -> None:
    wrong: list[dict[str, Any]] = [
        {"speed": 0}, {"speed": float("nan")}, {"speed": "2"}, {"max_in_flight": 0}, {"filter_ops": ["COPY"]},
        {"filter_ops": "GET"}, {"target_uri": "/tmp/x"}, {"mapping": {"s3://a": "b"}}, {"share": (2, 2)},
        {"think_time": True}, {"no_such_option": 1}, {"since": "yesterday-ish"}, {"remap_clients": 0},
    ]  # fmt: skip
    for options in wrong:
        with pytest.raises(ConfigError):
            replay_op_log(log(Row("GET")), Noting(), session=InlineSession(), **options)  # type: ignore[arg-type]


# -- closed loop


def loop(path: Path, clock: MovedClock | None = None, **options: Any) -> ClosedLoop:
    config = ReplayConfig(op_log_path=path, closed_loop=True, **options)
    made = ClosedLoop(Trace(config), config.speed, clock or MovedClock(), config.window, think_time=config.think_time)
    made.open()
    made.begin(10_000)
    while made.fill():
        pass
    return made


def ready(schedule: ClosedLoop) -> list[Item]:
    found = []
    while schedule.due() is not None:
        found.append(schedule.take())
    return found


def end(schedule: ClosedLoop, item: Item, at: int = 20_000) -> list[str]:
    """End an operation: the keys that may begin then."""
    item.ended, item.over = at, True
    schedule.ended(item)
    begun = ready(schedule)
    begun_items.extend(begun)
    return keys(begun)


begun_items: list[Item] = []


def keys(items: Sequence[Item]) -> list[str]:
    return [item.operation.uri.rpartition("/")[2] for item in items]


def test_an_operation_of_a_thread_waits_for_the_one_before(log: Callable[..., Path]) -> None:
    schedule = loop(log(Row("GET", 0, name="a"), Row("GET", 2, name="b"), Row("GET", 4, name="c"),
                        Row("GET", 1, name="x", thread=1), Row("GET", 3, name="y", client_id="other")))  # fmt: skip
    a, x, y = ready(schedule)
    assert keys([a, x, y]) == ["a", "x", "y"]
    assert end(schedule, x) == []
    assert end(schedule, a) == ["b"]


def test_what_overlapped_on_one_thread_does_so_again(log: Callable[..., Path]) -> None:
    """A batch with two requests in flight, as a thread's rows show it: a, b; c when a ended, d when b ended."""
    schedule = loop(log(Row("GET", 0, 10, name="a"), Row("GET", 1, 14, name="b"), Row("GET", 11, 20, name="c"),
                        Row("GET", 16, 5, name="d")))  # fmt: skip
    a, b = ready(schedule)
    assert end(schedule, b) == ["d"]
    assert end(schedule, a) == ["c"]


def test_a_read_waits_for_the_write_of_its_object_and_a_delete_for_the_reads(log: Callable[..., Path]) -> None:
    schedule = loop(log(
        Row("PUT", 0, 5, name="a"), Row("GET", 3, name="b", thread=1), Row("GET", 6, name="a", thread=2),
        Row("GET", 6, name="a", thread=3), Row("DELETE", 9, name="a", thread=4), Row("GET", 2, 1, name="a", thread=5),
    ))  # fmt: skip
    put, early, other = ready(schedule)
    assert (put.operation.kind, keys([early, other])) == ("PUT", ["a", "b"])  # one read it while it was written
    begun_items.clear()
    assert end(schedule, put) == ["a", "a"]
    first, second = begun_items
    assert end(schedule, first) == []
    assert end(schedule, second) == []
    assert end(schedule, early) == ["a"]
    assert begun_items[-1].operation.kind == "DELETE"


def test_pauses_are_kept_where_that_is_asked_for(log: Callable[..., Path]) -> None:
    rows = [Row("GET", 0, 1, name="a"), Row("GET", 5, 1, name="b"), Row("GET", 8, name="x", thread=1)]
    schedule = loop(log(*rows), think_time=True, speed=2)
    first, other = ready(schedule)
    assert (first.due, other.due) == (10_000, 10_000 + 4 * MS)  # a thread begins at its time
    begun_items.clear()
    end(schedule, first, at=50 * MS)
    assert begun_items[0].due == 52 * MS  # 4 ms between the end of one and the start of the other
    schedule = loop(log(*rows))
    assert [item.due for item in ready(schedule)] == [1_000, 1_000]  # at once


def test_a_closed_loop_forgets_what_is_over(log: Callable[..., Path]) -> None:
    path = log(*(Row("PUT", 2 * number, name=str(number % 7)) for number in range(500)))
    config = ReplayConfig(op_log_path=path, closed_loop=True, window=10)
    schedule = ClosedLoop(Trace(config), 1, MovedClock(), 10, think_time=False)
    schedule.open()
    count = 0
    while True:
        while schedule.fill():
            pass
        if schedule.due() is None:
            break
        item = schedule.take()
        item.over = True
        schedule.ended(item)
        count += 1
        assert sum(map(len, schedule._of_object.values())) <= 11
    assert count == 500


def test_a_closed_loop_on_threads_never_reads_before_it_has_written(log: Callable[..., Path]) -> None:
    class Store(OpExecutor):
        def __init__(self) -> None:
            self.stored: set[str] = set()
            self.lock = threading.Lock()

        def put(self, uri: str, size: int) -> None:
            with self.lock:
                self.stored.add(uri)

        def get(self, uri: str) -> None:
            if uri not in self.stored:
                raise FileNotFoundError(uri)

        def delete(self, uri: str) -> None:
            self.stored.remove(uri)

    rows = [
        row
        for number in range(60)
        for row in (
            Row("PUT", 10 * number, 2, name=str(number), thread=number % 5),
            Row("GET", 10 * number + 3, 2, name=str(number), thread=5 + number % 3),
            Row("DELETE", 10 * number + 6, 2, name=str(number), thread=9),
        )
    ]
    store = Store()
    with s3dlio.Client() as client:
        report = replay_op_log(log(*rows), store, session=client, closed_loop=True, in_place=True)
    assert (report.attempted, report.failed) == (180, 0)
    assert not store.stored


# -- clients


def test_fewer_clients_take_whole_ones_and_more_take_threads() -> None:
    fewer = Players(2, dict.fromkeys("abcd"))
    assert [fewer.player(client, thread) for client in "abcd" for thread in (0, 1)] == [0, 0, 1, 1, 0, 0, 1, 1]
    more = Players(5, dict.fromkeys("ab"))
    assert [more.player("a", thread) for thread in (7, 8, 9, 7)] == [0, 2, 4, 0]
    assert [more.player("b", thread) for thread in (7, 8, 9, 7)] == [1, 3, 1, 1]
    assert more.player("late", 0) in range(5)


def test_ranks_share_the_operations_and_one_time(log: Callable[..., Path]) -> None:
    rows = [Row("GET", number, name=str(number), client_id=f"c{number % 3}", thread=number % 4) for number in range(24)]
    path = log(*rows)
    parts = []
    for rank in range(2):
        clock = MovedClock()
        noting = Noting(clock)
        began: list[int] = []
        session: Any = InlineSession()
        made = Replay(ReplayConfig(op_log_path=path, share=(rank, 2)), session, noting, clock)
        made.run(together=lambda began=began, clock=clock: began.append(clock.time))
        assert began == [1_000]
        for (_, uri), at in zip(noting.done, noting.times, strict=True):
            assert (at - noting.times[0]) / MS == int(uri[12:]) - int(noting.done[0][1][12:])
        parts.append(made.report)
    assert sum(part.attempted for part in parts) == 24
    parts[0].merge(pickle.loads(pickle.dumps(parts[1])))
    assert parts[0].attempted == parts[0].lateness.count == 24
    assert parts[0].clients == {"client-0": 16, "client-1": 8}


# -- the plan and the report


def test_a_plan_does_nothing(log: Callable[..., Path]) -> None:
    path = log(Row("PUT", 0, bytes=10), Row("GET", 1_000, thread=1), Row("COPY", 2_000))
    plan = ReplayPlan(ReplayConfig(op_log_path=path, target_uri="s3://new", speed=2))
    assert (dict(plan.counts), dict(plan.sizes), plan.threads) == ({"PUT": 1, "GET": 1}, {"PUT": 10, "GET": 100}, 2)
    assert plan.span == 500 * MS
    assert plan.examples[0] == ("PUT", "s3://bucket/key", "s3://new/key")
    assert list(plan.skipped.values()) == [1]


@pytest.mark.parametrize("row", [Row("PUT", 0), Row("PUT", 0, endpoint="http://host:9000")])
def test_a_plan_of_what_would_be_refused_says_so(log: Callable[..., Path], row: Row) -> None:
    plan = ReplayPlan(ReplayConfig(op_log_path=log(row, Row("GET", 1))))
    assert (dict(plan.counts), len(plan.examples)) == ({"PUT": 1, "GET": 1}, 2)
    assert "--target" in plan.refusal
    assert plan.to_dict()["refusal"] == plan.refusal
    assert not ReplayPlan(ReplayConfig(op_log_path=log(row), target_uri="s3://other")).refusal


def test_the_report_in_words(log: Callable[..., Path]) -> None:
    clock = MovedClock()
    report = replay(log(Row("GET", 0), Row("GET", 10), Row("COPY", 20)), Noting(clock, takes=2 * MS), clock)
    text = "\n".join(report_lines(report))
    assert "2 operations in 0.012 s (recorded: 0.010 s; speed 1): 0 failed" in text
    assert "within 1 ms 100.00 %, 2 ms 100.00 %, 10 ms 100.00 %" in text
    assert "GET: 2, 200 bytes" in text
    assert "left out: 1 (COPY: the log does not tell the source)" in text


def test_what_an_executor_does_not_say_is_a_typed_error() -> None:
    with pytest.raises(UnsupportedOperationError, match="executor") as caught:
        OpExecutor().put("s3://b/k", 1)
    assert (caught.value.uri, caught.value.operation) == ("s3://b/k", "PUT")
