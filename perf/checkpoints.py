"""Checkpoints of one rank, beside the Rust package's: ``python -m perf.checkpoints [disk] [memory] [S3]``.

Each library runs in a process of its own, and they take turns: on files (of the folder for temporary files, and in
memory) and on one S3 server in memory. Ours are on the disk when a save returns; the Rust package's are in the page
cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perf.contenders import ROOT
from tests.servers.memory_s3 import MemoryS3

WORKER = ROOT / "perf/workers/checkpoint_process.py"
MIB = 1 << 20


class Library:
    """One library's process, waiting for jobs."""

    def __init__(self, name: str, python: str, environment: dict[str, str]) -> None:
        self.name = name
        path = {"PYTHONPATH": str(ROOT)} if name == "s3dlio" else {}
        self._process = subprocess.Popen(
            [python, str(WORKER)], env=environment | path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, **job: Any) -> dict[str, float]:
        """Do a job; what it took."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def row(title: str, libraries: Sequence[Library], root: str, size: int, rounds: int) -> None:
    """Save and load a checkpoint, ``rounds`` times, the libraries in turn; the first round warms up."""
    took: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds + 1):
        for library in libraries:
            uri = f"{root}/{library.name}-{number}"
            for verb in ("save", "load"):
                found = library.do(do=verb, uri=uri, size=size)
                if number:
                    took.setdefault((library.name, verb), []).append(found)
            if root.startswith("file://"):
                shutil.rmtree(uri.removeprefix("file://"))
    for (name, verb), results in took.items():
        seconds = [each["seconds"] for each in results]
        print(f"{title:8} {name:9} {verb}: best {min(seconds):.3f} s, "
              f"median {statistics.median(seconds):.3f} s, CPU {statistics.median(e['cpu'] for e in results):.2f} s, "
              f"peak +{max(each['added'] for each in results) / MIB:.0f} MiB")  # fmt: skip
    if len(libraries) > 1:
        for verb in ("save", "load"):
            ours, theirs = (statistics.median(e["seconds"] for e in took[lib.name, verb]) for lib in libraries)
            print(f"{title:8} {verb}: {theirs / ours:.2f} times as fast as the Rust package")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="disk, memory, S3 (default: all)")
    parser.add_argument("--mib", type=int, default=512, help="size of a checkpoint (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--reference", metavar="PYTHON", help="an interpreter that has the Rust package")
    options = parser.parse_args(arguments)
    with MemoryS3() as server, tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3DLIO_"))}
        environment |= server.env | {"AWS_EC2_METADATA_DISABLED": "true"}
        libraries = [Library("s3dlio", sys.executable, environment)]
        if options.reference:
            libraries.append(Library("reference", options.reference, environment))
        try:
            roots = {"disk": f"file://{folder}", "S3": "s3://bucket"}
            if Path("/dev/shm").is_dir():
                roots["memory"] = f"file:///dev/shm/{Path(folder).name}"
            for title in options.rows or roots:
                row(title, libraries, roots[title], options.mib * MIB, options.rounds)
        finally:
            for library in libraries:
                library.close()
            shutil.rmtree(f"/dev/shm/{Path(folder).name}", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
