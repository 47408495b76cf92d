"""torch.save and torch.load over opened objects, beside s3torchconnector's: ``python -m perf.torch_files``.

Both have a process of their own against one server in memory, and take turns. A line has the median of the rounds and,
in brackets, the quickest: rate, and CPU time for a GB. The first round of each warms up and does not count. The other
library needs an environment with torch and s3torchconnector: ``--s3torch PYTHON``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from perf.contenders import ROOT
from tests.servers.memory_s3 import MemoryS3

MIB = 1 << 20
#: A few large tensors, with and without torch's own CRC-32, and many small ones.
ROWS: dict[str, dict[str, Any]] = {
    "512 MiB in 32 tensors": {"bytes": 512 * MIB, "tensors": 32, "crc": True},
    "512 MiB in 32 tensors, no CRC-32": {"bytes": 512 * MIB, "tensors": 32, "crc": False},
    "128 MiB in 1,000 tensors": {"bytes": 128 * MIB, "tensors": 1000, "crc": True},
}


class Library:
    """One library's process."""

    def __init__(self, name: str, python: str, server: MemoryS3) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3DLIO_"))}
        environment |= server.env | {"PYTHONPATH": str(ROOT) if name == "s3dlio" else ""}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true"}
        self.name = name
        self._process = subprocess.Popen(
            [python, str(ROOT / "perf/workers/torch_file.py"), name],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def do(self, job: dict[str, Any]) -> Any:
        """Save and load once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with {self._process.wait()}")
        return line


def measure(libraries: list[Library], row: str, rounds: int) -> None:
    """Run one row and say what came."""
    size = ROWS[row]["bytes"]
    found: dict[str, list[Any]] = {library.name: [] for library in libraries}
    for turn in range(rounds + 1):
        for library in libraries:
            result = library.do({"uri": f"s3://bucket/{library.name}.pt", **ROWS[row]})
            if turn:
                found[library.name].append(result)
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
    arguments = parser.parse_args()
    pythons = {"s3dlio": sys.executable} | ({"s3torch": arguments.s3torch} if arguments.s3torch else {})
    with MemoryS3() as server:
        libraries = [Library(name, python, server) for name, python in pythons.items()]
        try:
            for row in ROWS:
                measure(libraries, row, arguments.rounds)
        finally:
            for library in libraries:
                library.close()


if __name__ == "__main__":
    main()
