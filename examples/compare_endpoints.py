"""Benchmark two endpoints with the same load, in turns, and say which one is faster.

Shows: `s3-cli bench` as a building block: its JSON, and histograms of several rounds merged into one.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/compare_endpoints.py          # or: --a http://10.0.0.1:9000 --b http://10.0.0.2:9000
"""

import argparse
import json
import os
import subprocess
import sys

import s3dlio
from s3dlio.histogram import Histogram


def bench(endpoint: str, args: argparse.Namespace) -> dict:
    """One run of `s3-cli bench get`: the figures of its reads."""
    command = [sys.executable, "-m", "s3dlio", "--endpoint", endpoint, "bench", "get", args.bucket + "/bench/"]
    command += ["--json", "--size", args.size, "--objects", "64", "--concurrent", str(args.concurrent)]
    command += ["--warm-up", "0.1s", "--duration", args.duration]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["runs"][0]["operations"]["GET"]


def main() -> None:
    here = os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", default=here, metavar="URL")
    parser.add_argument("--b", default=here, metavar="URL")
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--size", default="64KiB")
    parser.add_argument("--concurrent", type=int, default=8)
    parser.add_argument("--duration", default="2s", help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    rates: dict[str, list[float]] = {"a": [], "b": []}
    latencies = {"a": Histogram(), "b": Histogram()}
    for name in rates:
        s3dlio.Client(endpoint_url=getattr(args, name)).create_bucket(args.bucket)
    for number in range(args.rounds):
        for name in ("ab", "ba")[number % 2]:  # in turns: what changes on the network meets both
            figures = bench(getattr(args, name), args)
            rates[name].append(figures["bytes_per_second"] / 1e6)
            latencies[name].merge(Histogram.from_dict(figures["latency_ns"]["histogram"]))
    for name, found in rates.items():
        p50, p99 = (latencies[name].percentile(q) / 1e6 for q in (50, 99))
        rounds = ", ".join(f"{rate:.0f}" for rate in found)
        print(f"{name} {getattr(args, name)}: {rounds} MB/s; latency p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    ratios = sorted(b / a for a, b in zip(rates["a"], rates["b"], strict=True))
    told = "no clear difference" if ratios[0] <= 1 <= ratios[-1] else ("b" if ratios[0] > 1 else "a") + " is faster"
    print(f"b/a by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}: {told}")


if __name__ == "__main__":
    main()
