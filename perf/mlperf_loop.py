"""The loop of MLPerf Storage (``items().collect_batch``), beside the Rust package's: ``python -m perf.mlperf_loop``.

Each epoch runs in a process of its own, against nginx, and the two take turns. ``--reference PYTHON`` names an
environment that has the other package.
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
from tests.servers.nginx import NginxServer


def epoch(python: str, server: NginxServer, ours: bool, numbers: list[int]) -> dict[str, Any]:
    """What an epoch cost."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3DLIO_"))}
    environment |= server.env | {"PYTHONPATH": str(ROOT) if ours else "", "AWS_REGION": "us-east-1"}
    script = str(ROOT / "perf/workers/mlperf_loop.py")
    ran = subprocess.run(
        [python, script, *map(str, numbers)], env=environment, capture_output=True, text=True, cwd="/", check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def main() -> None:
    """Run the rounds and say what came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", metavar="PYTHON", help="of an environment with the Rust package")
    parser.add_argument("--mib", type=int, default=140)
    parser.add_argument("--objects", type=int, default=24)
    parser.add_argument("--prefetch", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pythons = {"s3dlio": sys.executable} | ({"reference": options.reference} if options.reference else {})
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    with NginxServer() as server:
        server.add_object("bench/0000", os.urandom(options.mib << 20))
        for number in range(1, options.objects):
            os.link(server.root / "bench/0000", server.root / f"bench/{number:04}")
        for _ in range(options.rounds):
            for name, python in pythons.items():
                numbers = [options.objects, options.prefetch, options.batch]
                found[name].append(epoch(python, server, name == "s3dlio", numbers))
    for name, results in found.items():
        wall, cpu = (statistics.median(result[what] for result in results) for what in ("wall", "cpu"))
        size, resident = results[0]["bytes"], max(result["rss"] for result in results)
        print(f"{name}: {size / wall / 1e6:.0f} MB/s, {cpu / size * 1e9:.2f} s/GB, {resident >> 20} MiB resident")


if __name__ == "__main__":
    main()
