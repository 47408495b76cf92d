"""One library's file system of fsspec, asked for work by lines of JSON: ``fsspec_file.py LIBRARY``."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import fsspec
import pandas as pd
import pyarrow.parquet


def file_system(library: str) -> Any:
    """The file system of ``s3://``."""
    if library == "s3dlio":
        import s3dlio.fsspec

        s3dlio.fsspec.register("s3")
        return fsspec.filesystem("s3")
    return fsspec.filesystem("s3", client_kwargs={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]})


def parquet(fs: Any, job: dict[str, Any]) -> int:
    """A whole table."""
    return int(pyarrow.parquet.read_table(job["paths"][0], filesystem=fs).num_rows)


def csv(fs: Any, job: dict[str, Any]) -> int:
    """A whole table of text, by the URI."""
    options = {} if "s3dlio" in sys.modules else {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}
    return len(pd.read_csv(f"s3://{job['paths'][0]}", storage_options=options))


def read(fs: Any, job: dict[str, Any]) -> int:
    """One file from its beginning to its end, 1 MiB at a time."""
    total = 0
    with fs.open(job["paths"][0], "rb") as file:
        while piece := file.read(1 << 20):
            total += len(piece)
    return total


def whole(fs: Any, job: dict[str, Any]) -> int:
    """Many small files."""
    return sum(map(len, fs.cat(job["paths"]).values()))


def ranges(fs: Any, job: dict[str, Any]) -> int:
    """Many small ranges."""
    paths = job["paths"]
    starts = [(n // len(paths)) * job["step"] for n in range(job["ranges"])]
    names = [paths[n % len(paths)] for n in range(job["ranges"])]
    return sum(map(len, fs.cat_ranges(names, starts, [start + 4096 for start in starts])))


def write(fs: Any, job: dict[str, Any]) -> int:
    """One file, 1 MiB at a time."""
    piece = bytes(1 << 20)
    with fs.open(job["paths"][0], "wb") as file:
        for _ in range(job["bytes"] >> 20):
            file.write(piece)
    return int(job["bytes"])


KINDS: dict[str, Callable[[Any, dict[str, Any]], int]] = {
    "parquet": parquet, "csv": csv, "read": read, "cat": whole, "ranges": ranges, "write": write,
}  # fmt: skip


def used() -> float:
    """CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    fs = file_system(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        cpu, begun = used(), time.perf_counter()
        got = KINDS[job["kind"]](fs, job)
        print(json.dumps({"wall": time.perf_counter() - begun, "cpu": used() - cpu, "got": got}), flush=True)


if __name__ == "__main__":
    main()
