"""Epochs of torch's DataLoader, beside the Rust package's data sets and s3torchconnector's: ``python -m perf.loaders``.

Every epoch runs in a process of its own, against nginx; libraries take turns. The other libraries need an environment
with torch: ``--others PYTHON``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from perf.contenders import ROOT
from tests.servers.nginx import NginxServer

Job = dict[str, Any]
KIB, MIB = 1 << 10, 1 << 20
#: Buckets: how many objects, and how large.
BUCKETS = {"small": (5000, 128 * KIB), "large": (64, 32 * MIB)}
#: Rows: what is read, in batches of how many, by which workers.
ROWS: dict[str, Job] = {
    "small": {"bucket": "small", "batch": 32, "workers": 2},
    "large": {"bucket": "large", "batch": 1, "workers": 2},
    "large-unbatched": {"bucket": "large", "batch": None, "workers": 2},
    "small-alone": {"bucket": "small", "batch": 32, "workers": 0},
    "large-alone": {"bucket": "large", "batch": 1, "workers": 0},
}


def fill(server: NginxServer) -> None:
    """The objects: many names of one file, so that they fit in memory."""
    for bucket, (count, size) in BUCKETS.items():
        server.add_object(f"{bucket}/data/00000", os.urandom(size))
        first = server.root / bucket / "data/00000"
        for number in range(1, count):
            os.link(first, first.with_name(f"{number:05}"))
        server.list_bucket(bucket)


def epoch(python: str, library: str, kind: str, row: Job, server: NginxServer) -> dict[str, float] | str:
    """What an epoch cost, or why there is none."""
    job = row | {"library": library, "kind": kind, "uri": f"s3://{row['bucket']}/data/"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3DLIO_"))}
    environment |= server.env | {"PYTHONPATH": str(ROOT) if library == "s3dlio" else "", "OMP_NUM_THREADS": "1"}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
    script = str(ROOT / "perf/workers/torch_epoch.py")
    try:
        ran = subprocess.run(
            [python, script, json.dumps(job)], env=environment, capture_output=True, text=True, timeout=120, cwd="/"
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "hangs"
    if ran.returncode:
        return ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"ended with {ran.returncode}"
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def told(costs: Sequence[dict[str, float] | str], count: int, size: int) -> str:
    """A line on the rounds of one library."""
    ran = [cost for cost in costs if not isinstance(cost, str)]
    if not ran:
        return str(costs[0])
    wall, cpu = (statistics.median(cost[name] for cost in ran) for name in ("wall", "cpu"))
    extra = "" if ran[0]["samples"] == count else f"; {int(ran[0]['samples'])} samples for {count} objects"
    memory = f", {max(cost['memory'] for cost in ran) / MIB:.0f} MiB" if ran[0]["memory"] else ""
    return f"{wall:6.2f} s  {count * size / wall / 1e6:6.0f} MB/s  {cpu:6.2f} s CPU{memory}{extra}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--others", metavar="PYTHON", help="an interpreter that has torch and the other libraries")
    parser.add_argument("--only", nargs="*", default=["s3dlio", "reference", "s3torch"], help="these libraries")
    parser.add_argument("--kinds", nargs="*", default=["map", "iterable"], help="of data sets")
    parser.add_argument("--memory", action="store_true", help="also look at memory (which takes a little time)")
    options = parser.parse_args(arguments)
    with NginxServer() as server:
        fill(server)
        for name in options.rows or ROWS:
            row = ROWS[name] | {"memory": options.memory}
            count, size = BUCKETS[row["bucket"]]
            print(f"{name}: {count} objects of {size // KIB} KiB, batches of {row['batch']}, {row['workers']} workers")
            contenders = [
                (library, kind) for library in options.only for kind in options.kinds
                if library == "s3dlio" or options.others
            ]  # fmt: skip
            costs: dict[tuple[str, str], list[dict[str, float] | str]] = {each: [] for each in contenders}
            for _ in range(options.rounds):
                for library, kind in contenders:
                    if costs[library, kind] and isinstance(costs[library, kind][-1], str):
                        continue  # it does not work
                    python = sys.executable if library == "s3dlio" else options.others
                    costs[library, kind].append(epoch(python, library, kind, row, server))
            for (library, kind), found in costs.items():
                print(f"  {library:9} {kind:8}  {told(found, count, size)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
