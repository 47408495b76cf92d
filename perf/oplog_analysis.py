"""How fast op-logs are read and added up, and in how much memory: ``python -m perf.oplog_analysis``.

A log of the given length is made once (zstd, 13 columns, 200 bytes a row). Then, each in a process of its own: our
reader alone, the same table by pyarrow and by polars where these are installed, and the whole analysis.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zstandard

START = 1_795_823_572_285_294_030
HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
COLUMNS = ["op", "client_id", "endpoint", "file", "error", "bytes", "thread", "start", "first_byte", "end"]
STEP = 50_000


def make(path: Path, rows: int, seed: int = 1) -> None:
    """Write a log of so many rows: 4 clients, 8 endpoints, 4 operations, 3 sizes."""
    chance = np.random.default_rng(seed)
    now = START
    with path.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as out:
        out.write(HEADER.encode())
        for first in range(0, rows, STEP):
            count = min(STEP, rows - first)
            starts = now + np.cumsum(chance.exponential(20_000, count)).astype(np.int64)
            now = int(starts[-1])
            took = (chance.lognormal(0, 0.5, count) * 3e6).astype(np.int64)
            ops = chance.choice(["GET", "PUT", "LIST", "HEAD"], count, p=[0.7, 0.2, 0.02, 0.08])
            moved = (ops == "GET") | (ops == "PUT")
            columns = (
                range(first, first + count), chance.integers(0, 32, count).tolist(), ops.tolist(),
                np.where(moved, chance.choice([4096, 1 << 20, 8 << 20], count), 0).tolist(),
                chance.integers(0, 8, count).tolist(), chance.integers(0, rows, count).tolist(),
                times(starts), times(starts + took * 7 // 10), times(starts + took), took.tolist(),
            )  # fmt: skip
            out.write("".join(
                f"{number}\t{thread}\t{op}\tclient-{thread % 4}\t1\t{size}\thttp://10.0.0.{server}:9000\t"
                f"bucket-train/dataset/shard-{name:08}/sample-{name:010}.npz\t\t{start}\t"
                f"{byte if op == 'GET' else ''}\t{end}\t{duration}\n"
                for number, thread, op, size, server, name, start, byte, end, duration in zip(*columns, strict=True)
            ).encode())  # fmt: skip


def times(epochs: np.ndarray) -> list[str]:
    """RFC 3339 with nanoseconds."""
    seconds = epochs // 1_000_000_000
    texts = seconds.astype("datetime64[s]").astype(str).tolist()
    nanos = (epochs - seconds * 1_000_000_000).tolist()
    return [f"{text}.{rest:09}Z" for text, rest in zip(texts, nanos, strict=True)]


def read_ours(path: str) -> int:
    from s3dlio.oplog.reader import LogReader

    return sum(map(len, LogReader(path, set(COLUMNS)).batches()))


def read_pyarrow(path: str) -> int:
    import pyarrow as pa
    from pyarrow import csv

    moment, few = pa.timestamp("ns", "UTC"), pa.dictionary(pa.int32(), pa.string())
    with zstandard.open(path, "rb") as file:
        reader = csv.open_csv(
            file,
            csv.ReadOptions(block_size=4 << 20),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(
                include_columns=COLUMNS,
                column_types={"start": moment, "first_byte": moment, "end": moment}
                | dict.fromkeys(("op", "client_id", "endpoint"), few),
            ),
        )
        return sum(batch.num_rows for batch in reader)


def read_polars(path: str) -> int:
    import polars

    table = polars.read_csv(path, separator="\t", quote_char=None, columns=COLUMNS, try_parse_dates=True)
    return int(table.height)


def analyze(path: str) -> int:
    from s3dlio.oplog.analysis import analyze_op_logs

    return int(analyze_op_logs(path).to_dict()["records"])


WAYS = {"reader": read_ours, "pyarrow": read_pyarrow, "polars": read_polars, "analyze": analyze}


def measure(way: str, path: str) -> None:
    """Do it once, and print what it took."""
    before, cpu = time.perf_counter(), time.process_time()
    try:
        rows = WAYS[way](path)
    except ImportError as error:
        print(f"{way:<8} {error}")
        return
    seconds, cpu = time.perf_counter() - before, time.process_time() - cpu
    both = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    memory = sum(one.ru_maxrss for one in both) / 1024
    cpu += both[1].ru_utime + both[1].ru_stime
    print(f"{way:<8} {rows / seconds / 1e6:6.2f} M rows/s {seconds:8.2f} s {cpu:8.2f} s CPU {memory:8.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--log", help="a log that is there")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one, args.log)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = args.log or f"{folder}/log.tsv.zst"
        if not args.log:
            make(Path(path), args.rows)
        for way in args.ways:
            subprocess.run([sys.executable, "-m", "perf.oplog_analysis", "--one", way, "--log", path], check=True)


if __name__ == "__main__":
    main()
