"""The op-log: what it records, that nothing is lost, what ends it, and what reads it."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

import s3dlio
from s3dlio import errors
from s3dlio.config import environment
from s3dlio.oplog import control, forms, log_file, options, rows, sorting
from s3dlio.oplog.identity import identity
from s3dlio.types import Observation

HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns"


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    yield
    with contextlib.suppress(errors.S3dlioError):  # a test that broke its log has looked at that
        s3dlio.finalize_op_log()
    identity.current = "", 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ops.tsv.zst"


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    return f"file://{tmp_path}/data"


def recorded(path: Path) -> list[dict[str, Any]]:
    s3dlio.finalize_op_log()
    return list(s3dlio.read_op_log(path))


def plain(path: Path) -> str:
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().decode()


def observation(uri: str = "s3://bucket/key", start: int = 1_000_000_000_000_000_000) -> Observation:
    seen = Observation("GET", uri, start)
    seen.first_byte_ns, seen.end_ns, seen.bytes = start + 5, start + 12, 3
    return seen


def ended(count: int) -> None:
    recorder = control._recorder
    assert recorder is not None
    for number in range(count):
        recorder(observation(start=1_000_000_000_000_000_000 + number))


def test_the_columns_of_a_row(path: Path, data: str) -> None:
    before = time.time_ns()
    s3dlio.init_op_log(path)
    s3dlio.put_bytes(f"{data}/a.bin", b"0123456789")
    s3dlio.get_range(f"{data}/a.bin", 2, 3)
    with pytest.raises(errors.ObjectNotFoundError) as caught:
        s3dlio.get(f"{data}/nope")
    put, part, failed = recorded(path)
    name = data.removeprefix("file://")
    assert (put["idx"], put["op"], put["n_objects"], put["bytes"]) == (0, "PUT", 1, 10)
    assert (put["endpoint"], put["file"], put["error"]) == ("file://", f"{name}/a.bin", "")
    assert (part["idx"], part["op"], part["bytes"]) == (1, "GET_RANGE", 3)
    assert (failed["op"], failed["bytes"], failed["error"]) == ("GET", 0, str(caught.value))
    assert before <= part["start"] <= part["first_byte"] <= part["end"] <= time.time_ns()
    assert part["duration_ns"] == part["end"] - part["start"]
    assert put["first_byte"] is None
    lines = plain(path).split("\n")
    assert lines[0] == HEADER
    assert all(line.count("\t") == 12 for line in lines[:-1])
    assert lines[-1] == ""


def test_a_cloud_row_has_its_bucket_as_endpoint(path: Path) -> None:
    s3dlio.init_op_log(path)
    assert control._recorder is not None
    control._recorder(observation("s3://bucket/dir/key"))
    fields = dict(zip(HEADER.split("\t"), plain_rows(path)[0].split("\t"), strict=True))
    assert fields["endpoint"] == "s3://bucket"
    assert fields["file"] == "bucket/dir/key"
    assert fields["start"] == "2001-09-09T01:46:40.000000000Z"
    assert fields["first_byte"] == "2001-09-09T01:46:40.000000005Z"
    assert fields["duration_ns"] == "12"


def plain_rows(path: Path) -> list[str]:
    s3dlio.finalize_op_log()
    return plain(path).split("\n")[1:-1]


def test_every_way_to_an_object_is_recorded_once(path: Path, data: str, tmp_path: Path) -> None:
    client = s3dlio.Client()
    client.exists(f"{data}/before")  # its store is there before the log
    s3dlio.init_op_log(path)
    uris = [f"{data}/{number}" for number in range(3)]
    client.put_bytes(uris[0], b"a")
    s3dlio.put_many([(uri, b"ab") for uri in uris])
    s3dlio.get_many(uris)
    client.stat_many(uris)
    with s3dlio.create_stream_writer(f"{data}/stream") as writer:
        writer.write(b"abc")
        writer.write(b"def")
    s3dlio.CheckpointStore(f"{data}/checkpoints").save(step=1, epoch=0, framework="test", data=b"state")
    s3dlio.delete_many(uris)
    found = [(row["op"], row["file"].rpartition("/data/")[2], row["bytes"]) for row in recorded(path)]
    assert found.count(("PUT", "0", 1)) == 1
    assert [found.count(("PUT", str(number), 2)) for number in range(3)] == [1, 1, 1]
    assert [found.count(("GET", str(number), 2)) for number in range(3)] == [1, 1, 1]
    assert sum(op == "HEAD" and name in "012" for op, name, _ in found) == 3
    assert found.count(("PUT", "stream", 6)) == 1
    assert sum(op == "PUT" and name.startswith("checkpoints/shards/") for op, name, _ in found) == 1
    assert sum(op.startswith("DELETE") for op, _, _ in found) in (1, 3)
    assert not any(name.startswith("ops") for _, name, _ in found)  # its own file is none of it


def test_worker_processes_are_recorded(path: Path, data: str) -> None:
    uris = [f"{data}/{number}" for number in range(8)]
    s3dlio.put_many([(uri, b"ab") for uri in uris])
    s3dlio.init_op_log(path)
    with s3dlio.Client() as client:
        client.get_many(uris, procs=2)
    assert sorted(f"file://{row['file']}" for row in recorded(path) if row["op"] == "GET") == uris


def test_names_and_texts_never_break_a_row(path: Path, data: str) -> None:
    s3dlio.set_client_id("one\ttwo")
    s3dlio.init_op_log(path)
    s3dlio.put_bytes(f"{data}/a\tb\nc\r\\t\u2028é", b"x")
    assert control._recorder is not None
    seen = observation()
    seen.error = ValueError("first\nsecond\tthird")
    control._recorder(seen)
    control._recorder(observation("file:///data/\udcff\ud800"))
    for line in plain_rows(path)[:2]:
        assert line.count("\t") == 12
    put, failed, odd = list(s3dlio.read_op_log(path))
    assert put["file"].endswith("/a\tb\nc\r\\t\u2028é")
    assert put["client_id"] == "one\ttwo"
    assert failed["error"] == "first\nsecond\tthird"
    assert odd["op"] == "GET"
    assert s3dlio.op_log_stats()["normalized_error_text"] == 1  # type: ignore[index]


def test_no_credentials(path: Path) -> None:
    s3dlio.init_op_log(path)
    assert control._recorder is not None
    control._recorder(observation("s3://bucket/key?X-Amz-Signature=0123456789abcdef0123456789abcdef"))
    assert "0123456789abcdef" not in plain_rows(path)[0]


def test_threads_have_small_numbers(path: Path, data: str) -> None:
    s3dlio.put_bytes(f"{data}/a", b"x")
    s3dlio.init_op_log(path)
    for _ in range(2):
        thread = threading.Thread(target=s3dlio.get, args=(f"{data}/a",))
        thread.start()
        thread.join()
    one, other = (row["thread"] for row in recorded(path))
    assert one != other
    assert 0 <= min(one, other) <= max(one, other) < 100_000


def test_client_id_and_clock_offset(path: Path) -> None:
    assert (s3dlio.get_client_id(), s3dlio.get_clock_offset()) == ("", 0)
    s3dlio.init_op_log(path)
    ended(1)
    s3dlio.set_client_id("agent-1")
    s3dlio.set_clock_offset(1_000)
    ended(1)
    assert (s3dlio.get_client_id(), s3dlio.get_clock_offset()) == ("agent-1", 1_000)
    first, second = recorded(path)
    assert (first["client_id"], second["client_id"]) == ("", "agent-1")
    assert [first[name] - second[name] for name in ("start", "first_byte", "end")] == [1_000] * 3
    assert first["duration_ns"] == second["duration_ns"]
    for wrong in (None, 5):
        with pytest.raises(errors.ConfigError):
            s3dlio.set_client_id(wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError):
        s3dlio.set_clock_offset(0.5)  # type: ignore[arg-type]


def test_a_clock_that_goes_backwards(path: Path) -> None:
    s3dlio.init_op_log(path)
    assert control._recorder is not None
    seen = observation()
    seen.end_ns = seen.start_ns - 100
    control._recorder(seen)
    (row,) = recorded(path)
    assert row["duration_ns"] == 0


class _Gate:
    """Holds the writer thread up, in its first write of rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        write = log_file.LogFile.write

        def gated(file: log_file.LogFile, text: bytes) -> None:
            if not text.startswith(b"idx"):
                assert self.open.wait(30)
            write(file, text)

        monkeypatch.setattr(log_file.LogFile, "write", gated)


def test_a_full_buffer_holds_operations_up_and_loses_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate(monkeypatch)
    s3dlio.init_op_log(path, buffer=64)
    worker = threading.Thread(target=ended, args=(1_000,))
    worker.start()
    stats = s3dlio.op_log_stats()
    while stats is None or stats["accepted"] < 64:
        stats = s3dlio.op_log_stats()
    assert worker.is_alive()
    assert stats["accepted"] <= 64 + 64  # what waits, and what the writer has in its hands
    gate.open.set()
    worker.join()
    assert len(recorded(path)) == 1_000
    stats = s3dlio.op_log_stats()
    assert stats is not None
    assert (stats["accepted"], stats["written"], stats["dropped_full"]) == (1_000, 1_000, 0)
    assert stats["lossless"] is True


def test_a_lossy_log_drops_and_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate(monkeypatch)
    s3dlio.init_op_log(path, buffer=64, lossless=False)
    ended(1_000)
    gate.open.set()
    written = len(recorded(path))
    stats = s3dlio.op_log_stats()
    assert stats is not None
    assert 64 <= written < 1_000
    assert (stats["written"], stats["dropped_full"], stats["lossless"]) == (written, 1_000 - written, False)


def test_many_threads(path: Path) -> None:
    s3dlio.init_op_log(path, buffer=64)
    threads = [threading.Thread(target=ended, args=(500,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = recorded(path)
    assert [row["idx"] for row in found] == list(range(4_000))


def test_an_operation_within_the_writer_thread_does_not_wait_for_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = log_file.LogFile.write
    more = [200]

    def calls_back(file: log_file.LogFile, text: bytes) -> None:
        write(file, text)
        if not text.startswith(b"idx"):
            count, more[0] = more[0], 0
            ended(count)  # as a finaliser may that the collector runs here

    monkeypatch.setattr(log_file.LogFile, "write", calls_back)
    s3dlio.init_op_log(path, buffer=64)
    ended(1)
    while (s3dlio.op_log_stats() or {})["written"] < 201:
        time.sleep(0.001)
    assert len(recorded(path)) == 201


def test_no_error_is_kept(path: Path, data: str) -> None:
    class Body:
        pass

    s3dlio.init_op_log(path)
    assert control._recorder is not None
    seen = observation()
    seen.error = errors.S3dlioError("lost")
    control._recorder(seen)
    error = seen.error
    del seen
    gc.collect()
    assert not any(isinstance(one, Observation) for one in gc.get_referrers(error))


def test_one_log_after_another(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not s3dlio.is_op_log_active()
    s3dlio.init_op_log(path)
    s3dlio.init_op_log(str(path))
    assert not caplog.records
    s3dlio.init_op_log(tmp_path / "other")
    assert "not in" in caplog.text
    assert not (tmp_path / "other").exists()
    ended(1)
    assert s3dlio.is_op_log_active()
    recorder = control._recorder
    s3dlio.finalize_op_log()
    s3dlio.finalize_op_log()
    assert not s3dlio.is_op_log_active()
    assert recorder is not None
    recorder(observation())  # an operation that ended a little late
    assert (s3dlio.op_log_stats() or {})["rejected_closed"] == 1
    s3dlio.init_op_log(f"file://{tmp_path}/second.zst")
    ended(2)
    assert len(recorded(tmp_path / "second.zst")) == 2
    assert len(list(s3dlio.read_op_log(path))) == 1


def test_stores_are_told_no_more(path: Path, data: str) -> None:
    client = s3dlio.Client()
    own: list[Observation] = []
    client.add_observer(own.append)  # beside which the log is an observer like any other
    s3dlio.init_op_log(path)
    client.put_bytes(f"{data}/a", b"x")
    client.remove_observer(own.append)
    client.add_observer(own.append)
    s3dlio.finalize_op_log()
    store, _ = client.store_for(f"{data}/a")
    assert store.observers == (own.append,)
    client.get(f"{data}/a")
    assert [seen.operation for seen in own] == ["PUT", "GET"]
    assert len(list(s3dlio.read_op_log(path))) == 1


@pytest.mark.parametrize("wrong", ["s3://bucket/ops", "az://a/b/c", "", b"bytes", "a\0b"])
def test_paths_that_are_none(wrong: Any) -> None:
    with pytest.raises(errors.ConfigError):
        s3dlio.init_op_log(wrong)
    assert not s3dlio.is_op_log_active()


def test_a_file_that_cannot_be_created(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="failed to create op-log file"):
        s3dlio.init_op_log(tmp_path / "missing" / "ops")
    with pytest.raises(IsADirectoryError):
        s3dlio.init_op_log(tmp_path)
    assert not s3dlio.is_op_log_active()


def test_a_full_disk_ends_the_log_and_nothing_else(
    path: Path, data: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: log_file.LogFile) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    s3dlio.init_op_log(path, buffer=64)
    monkeypatch.setattr(log_file.LogFile, "_write_out", full)
    ended(10_000)
    s3dlio.put_bytes(f"{data}/a", b"x")
    with pytest.raises(errors.StorageFullError, match="the log has"):
        s3dlio.finalize_op_log()
    stats = s3dlio.op_log_stats()
    assert stats is not None
    assert stats["writer_failed"]
    assert "No space left" in stats["writer_error"]
    assert caplog.text.count("ends here") == 1
    s3dlio.init_op_log(path)


def test_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("S3DLIO_LOAD_DOTENV", raising=False)
    (tmp_path / ".env").write_text("S3DLIO_OPLOG_BUF=100\nS3DLIO_OPLOG_LEVEL=5\n")
    monkeypatch.setenv("S3DLIO_OPLOG_BUF", "1Ki")
    monkeypatch.setenv("S3DLIO_OPLOG_WBUFCAP", "4096")
    monkeypatch.setenv("S3DLIO_OPLOG_LOSSLESS", "0")
    monkeypatch.setenv("S3DLIO_OPLOG_SORT", "true")
    monkeypatch.setenv("S3DLIO_OPLOG_FORMAT", "Warp")
    assert options.resolve() == options.OpLogOptions(1024, 4096, 5, False, True, "warp")
    assert set(options._VARIABLES.values()) == environment.OPLOG_VARIABLES
    assert options.resolve(buffer=64, lossless=True, sort=False, format="tsv") == options.OpLogOptions(
        64, 4096, 5, True, False
    )
    for name, value in (("LEVEL", "23"), ("BUF", "1"), ("SORT", "maybe"), ("FORMAT", "csv")):
        monkeypatch.setenv(f"S3DLIO_OPLOG_{name}", value)
        with pytest.raises(errors.ConfigError, match=f"S3DLIO_OPLOG_{name}"):
            options.resolve()
        monkeypatch.delenv(f"S3DLIO_OPLOG_{name}")


def test_sorted_by_start(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "_RUN", 10)
    starts = [(number * 37) % 101 for number in range(101)]
    s3dlio.init_op_log(path)
    assert control._recorder is not None
    for start in starts:
        control._recorder(observation(start=start))
    assert [row["start"] for row in recorded(path)] == starts
    s3dlio.sort_op_log(path, tmp_path / "sorted.zst")
    assert [row["start"] for row in s3dlio.read_op_log(tmp_path / "sorted.zst")] == sorted(starts)
    assert [row["start"] for row in s3dlio.read_op_log(path)] == starts
    before = {row["idx"]: row for row in s3dlio.read_op_log(path)}
    s3dlio.sort_op_log(path)
    assert {row["idx"]: row for row in s3dlio.read_op_log(path)} == before
    assert sorted(os.listdir(tmp_path)) == ["ops.tsv.zst", "sorted.zst"]
    s3dlio.init_op_log(path, sort=True)
    for start in starts:
        control._recorder(observation(start=start))
    assert [row["start"] for row in recorded(path)] == sorted(starts)


@pytest.mark.parametrize("text", [
    "operation,object,t_start_us,duration_ms\r\nGET,\"a,b\",{}000,1\r\nPUT,c,{},2\r\nHEAD,d,{}00,2\r\n",
    "op\tfile\tend\tduration_ns\nGET\ta\t{}000\t1\nPUT\tc\t{}\t2\nHEAD\td\t{}00\t2\n",
    "op\tfile\tstart\tend\nGET\ta\t{}000\t\nPUT\tc\t{}\t\nHEAD\td\t{}00\t\n",
    '{{"verb": "GET", "ts": {}000}}\n{{"verb": "PUT", "ts": {}}}\n{{"ts": {}00, "verb": "HEAD"}}\n',
])  # fmt: skip
def test_logs_of_others_are_sorted(tmp_path: Path, text: str) -> None:
    log = tmp_path / "log"
    log.write_text(text.format(10**12, 10**12, 10**12))
    s3dlio.sort_op_log(log, tmp_path / "sorted")
    assert [row["op"] for row in s3dlio.read_op_log(tmp_path / "sorted")] == ["PUT", "HEAD", "GET"]
    rows = {row["op"]: row for row in s3dlio.read_op_log(log)}
    assert {row["op"]: row for row in s3dlio.read_op_log(tmp_path / "sorted")} == rows


def test_reading_other_logs(tmp_path: Path) -> None:
    text = "op\tfile\tstart\tend\tbytes\tmore\nGET\ta\t2026-01-01T01:00:00+01:00\t2026-01-01T00:00:00.5Z\t\tx\n"
    (tmp_path / "plain.tsv").write_text(text)
    (row,) = s3dlio.read_op_log(tmp_path / "plain.tsv")
    assert row["end"] - row["start"] == 500_000_000
    assert (row["bytes"], row["more"]) == (None, "x")
    frames = zstandard.ZstdCompressor()
    head, rest = text[:40].encode(), text[40:].encode()
    (tmp_path / "frames.zst").write_bytes(frames.compress(head) + frames.compress(rest))
    assert list(s3dlio.read_op_log(tmp_path / "frames.zst")) == [row]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"a\tb\n", "no column 'op'"),
        (b"\x28\xb5\x2f\xfdxxxxxxx", "damaged|middle"),
        (f"{HEADER}\n1\t2\n".encode(), "2 columns instead of 13"),
        (b"op\tfile\tstart\tend\nGET\ta\tnow\tlater\n", "no RFC 3339 time"),
        (b"x" * (3 << 20), "no op-log"),
    ],
)
def test_files_that_are_no_log(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(errors.CorruptDataError, match=reason):
        list(s3dlio.read_op_log(tmp_path / "log"))
    if reason not in ("2 columns instead of 13", "no RFC 3339 time"):
        with pytest.raises(errors.CorruptDataError):
            s3dlio.sort_op_log(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        list(s3dlio.read_op_log(tmp_path / "missing"))


def test_a_log_that_ends_in_the_middle(path: Path) -> None:
    s3dlio.init_op_log(path)
    ended(5_000)
    s3dlio.finalize_op_log()
    path.write_bytes(path.read_bytes()[:-200])
    read: list[dict[str, Any]] = []
    with pytest.raises(errors.CorruptDataError, match="in the middle"):
        read.extend(iter_into(read, path))
    whole = list(s3dlio.read_op_log(path, allow_truncated=True))
    assert 0 < len(whole) < 5_000
    assert read == whole
    assert [row["idx"] for row in whole] == list(range(len(whole)))
    path.write_bytes(path.read_bytes()[:10])
    assert list(s3dlio.read_op_log(path, allow_truncated=True)) == []


def iter_into(read: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    for row in s3dlio.read_op_log(path):
        read.append(row)
    return []


def test_times() -> None:
    assert rows.parse_time("1970-01-01T00:00:01Z") == 1_000_000_000
    assert rows.parse_time("1970-01-01T01:00:00.123456789012+01:00") == 123_456_789
    form = forms.TsvForm()
    for epoch in (0, 999_999_999, 1_795_823_572_285_294_030, 1_000_000_000):
        assert rows.parse_time(form.time(epoch)) == epoch


_PROGRAM = """
import os, sys, s3dlio
path, data, how = sys.argv[1:]
s3dlio.init_op_log(path)
s3dlio.put_bytes(f"{data}/a", b"x")
if how == "kill":
    import time
    while not s3dlio.op_log_stats()["written"]: time.sleep(0.01)
    time.sleep(0.3)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_the_end_of_the_interpreter(path: Path, data: str, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, path, data, how], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr == ""
    assert [row["op"] for row in s3dlio.read_op_log(path, allow_truncated=how == "kill")] == ["PUT"]


def _child(uri: str) -> None:
    for _ in range(3):
        s3dlio.get(uri)


@pytest.mark.parametrize("through", ["multiprocessing", "fork"])
def test_forked_children_write_beside(path: Path, data: str, through: str) -> None:
    uri = f"{data}/a"
    s3dlio.init_op_log(path)
    s3dlio.put_bytes(uri, b"x")
    if through == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=_child, args=(uri,))
        child.start()
        child.join()
        pid = child.pid
    elif (pid := os.fork()) == 0:
        try:
            _child(uri)
            s3dlio.finalize_op_log()
        finally:
            os._exit(0)
    else:
        os.waitpid(pid, 0)
    s3dlio.get(uri)
    assert [row["op"] for row in recorded(path)] == ["PUT", "GET"]
    beside = path.with_name(f"ops.{pid}.tsv.zst")
    assert [(row["idx"], row["op"]) for row in s3dlio.read_op_log(beside)] == [(0, "GET"), (1, "GET"), (2, "GET")]
    assert len(os.listdir(path.parent)) == 3  # data, and one log each


def test_loaders_are_recorded(path: Path, data: str) -> None:
    s3dlio.put_many([(f"{data}/{number}", np.arange(8, dtype=np.uint8).tobytes()) for number in range(6)])
    s3dlio.init_op_log(path)
    loader = s3dlio.create_async_loader(f"{data}/", {"batch_size": 2})
    assert sum(1 for _ in loader) >= 3
    found = [row["file"].rpartition("/")[2] for row in recorded(path) if row["op"] == "GET"]
    assert sorted(found) == [str(number) for number in range(6)]


def test_the_command(path: Path, data: str) -> None:
    from s3dlio.cli.main import main

    s3dlio.put_bytes(f"{data}/a", b"x")
    assert main(["--op-log", str(path), "stat", f"{data}/a"]) == 0
    assert next(iter(s3dlio.read_op_log(path)))["op"] == "HEAD"
    assert main(["--op-log", str(path), "--op-log-format", "jsonl", "stat", f"{data}/a"]) == 0
    assert plain(path).startswith('{"idx": 0')
    assert main(["stat", f"{data}/nope", "--op-log", str(path)]) == 1
    (row,) = s3dlio.read_op_log(path)
    assert "nope" in row["error"]
    assert main(["--op-log", f"{path}/nowhere/ops", "stat", f"{data}/a"]) == 1


def test_a_flushed_log_is_read_while_it_is_written(path: Path) -> None:
    s3dlio.init_op_log(path)
    ended(3)
    for _ in range(3_000):
        if len(found := list(s3dlio.read_op_log(path, allow_truncated=True))) == 3:
            break
        time.sleep(0.01)
    assert [row["idx"] for row in found] == [0, 1, 2]
    assert io.BytesIO(path.read_bytes()).read(4) == b"\x28\xb5\x2f\xfd"
