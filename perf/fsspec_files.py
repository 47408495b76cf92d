"""File systems of fsspec beside s3fs: ``python -m perf.fsspec_files --s3fs PYTHON``.

Both have a process of their own against one server in memory, and take turns. A line has the medians of the rounds, and
in brackets the quickest. The first round of each warms up and does not count. The other library needs an environment
with s3fs, pandas and pyarrow.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet

from perf.library_process import LibraryProcess, libraries, rounds_of
from s3dlio.client import Client
from tests.servers.memory_s3 import MemoryS3

MIB = 1 << 20


def table() -> bytes:
    """256 MiB of Parquet: 16 columns of doubles."""
    rows, columns = 2 * MIB, 16
    values = numpy.random.default_rng(1)
    made = pyarrow.table({f"c{n}": values.random(rows) for n in range(columns)})
    file = io.BytesIO()
    pyarrow.parquet.write_table(made, file, compression="none", use_dictionary=False, row_group_size=rows // 8)
    return file.getvalue()


def text() -> bytes:
    """256 MiB of CSV."""
    values = numpy.random.default_rng(1)
    numbers = values.integers(0, 10**9, (16384, 6))
    lines = "".join("{},{},{},{},{},{}\n".format(*row) for row in numbers).encode()
    return b"a,b,c,d,e,f\n" + lines * (256 * MIB // len(lines))


def rows(client: Client) -> dict[str, dict[str, Any]]:
    """What is measured, on objects that are put here."""
    made, lines = table(), text()
    client.put_bytes("s3://bucket/table.parquet", made)
    client.put_bytes("s3://bucket/table.csv", lines)
    small = [f"bucket/small/{n}" for n in range(2000)]
    client.put_many((f"s3://{path}", bytes(65536)) for path in small)
    return {
        "pyarrow reads a Parquet file": {"kind": "parquet", "paths": ["bucket/table.parquet"], "bytes": len(made)},
        "pandas reads a CSV file": {"kind": "csv", "paths": ["bucket/table.csv"], "bytes": len(lines)},
        "read, 1 MiB at a time": {"kind": "read", "paths": ["bucket/table.parquet"], "bytes": len(made)},
        "write, 1 MiB at a time": {"kind": "write", "paths": ["bucket/written"], "bytes": 256 * MIB},
        "cat of 2,000 files of 64 KiB": {"kind": "cat", "paths": small, "bytes": 2000 * 65536},
        "cat_ranges of 4,000 times 4 KiB": {
            "kind": "ranges", "paths": ["bucket/table.parquet"], "ranges": 4000, "step": 61440, "bytes": 4000 << 12,
        },
    }  # fmt: skip


def measure(processes: list[LibraryProcess], row: str, job: dict[str, Any], rounds: int) -> None:
    """Run one row and say what came."""
    found = rounds_of(processes, {process.name: job for process in processes}, rounds)
    for name, results in found.items():
        walls = [result["wall"] for result in results]
        cpu = statistics.median(result["cpu"] for result in results)
        usual = statistics.median(walls)
        rate = job["bytes"] / 1e6 / usual
        print(f"{row}, {name}: {usual:.2f} s ({min(walls):.2f}), {rate:.0f} MB/s, {cpu:.2f} s of CPU", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--s3fs", metavar="PYTHON", help="an interpreter that has s3fs, pandas and pyarrow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows with this text in their names")
    arguments = parser.parse_args()
    with MemoryS3() as server:
        os.environ.update(server.env)
        with Client() as client:
            jobs = rows(client)
        with libraries({"s3fs": arguments.s3fs}, "fsspec_file.py", server) as processes:
            for row, job in jobs.items():
                if arguments.only in row:
                    measure(processes, row, job, arguments.rounds)


if __name__ == "__main__":
    main()
