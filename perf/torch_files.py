"""Tensors saved and loaded, by torch over opened objects and as safetensors, beside s3torchconnector's files:
``python -m perf.torch_files``.

Both have a process of their own against one server in memory, and take turns. A line has the median of the rounds and,
in brackets, the quickest: rate, and CPU time for a GB. The first round of each warms up and does not count. The other
library needs an environment with torch and s3torchconnector: ``--s3torch PYTHON``.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from perf.library_process import LibraryProcess, libraries, rounds_of
from tests.servers.memory_s3 import MemoryS3

MIB = 1 << 20
#: A few large tensors, with and without torch's own CRC-32, and many small ones.
ROWS: dict[str, dict[str, Any]] = {
    "512 MiB in 32 tensors": {"bytes": 512 * MIB, "tensors": 32, "crc": True},
    "512 MiB in 32 tensors, no CRC-32": {"bytes": 512 * MIB, "tensors": 32, "crc": False},
    "128 MiB in 1,000 tensors": {"bytes": 128 * MIB, "tensors": 1000, "crc": True},
    "safetensors, 512 MiB in 32 tensors": {"bytes": 512 * MIB, "tensors": 32, "format": "safetensors"},
    "safetensors, 128 MiB in 1,000 tensors": {"bytes": 128 * MIB, "tensors": 1000, "format": "safetensors"},
}


def measure(processes: list[LibraryProcess], row: str, rounds: int) -> None:
    """Run one row and say what came."""
    size = ROWS[row]["bytes"]
    jobs = {process.name: {"uri": f"s3://bucket/{process.name}.safetensors", **ROWS[row]} for process in processes}
    found = rounds_of(processes, jobs, rounds)
    for operation in ("save", "load"):
        for name, results in found.items():
            walls = [result[operation]["wall"] for result in results]
            cpu = statistics.median(result[operation]["cpu"] for result in results)
            usual, best = (size / 1e6 / wall for wall in (statistics.median(walls), min(walls)))
            print(f"{row}, {operation}, {name}: {usual:.0f} MB/s ({best:.0f}), {cpu / size * 1e9:.2f} s/GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--s3torch", metavar="PYTHON", help="an interpreter that has torch and s3torchconnector")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows with this text in their names")
    arguments = parser.parse_args()
    with MemoryS3() as server, libraries({"s3torch": arguments.s3torch}, "torch_file.py", server) as processes:
        for row in ROWS:
            if arguments.only in row:
                measure(processes, row, arguments.rounds)


if __name__ == "__main__":
    main()
