"""What a start costs: CPU time of ``s3-cli --help`` and the like, each in fresh processes (``python -m perf.start``).

``--check`` exits with 1 where one takes more than its bound. Processes take turns, and the least of each counts: what
else the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

#: What is run, and milliseconds of CPU that it may take; None: no bound.
STARTS: dict[str, tuple[list[str], float | None]] = {
    "python": (["-c", "pass"], None),
    "import s3dlio": (["-c", "import s3dlio"], None),
    "s3-cli --help": (["-m", "s3dlio", "--help"], 60.0),
    "s3-cli --version": (["-m", "s3dlio", "--version"], 60.0),
    "s3-cli ls --help": (["-m", "s3dlio", "ls", "--help"], 60.0),
    "s3-cli ls file:///proc/self/fd/": (["-m", "s3dlio", "ls", "file:///proc/self/fd/"], None),
}


def cpu_ms(words: list[str]) -> float:
    """CPU time of one process, its system calls included."""
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return (usage.ru_utime + usage.ru_stime) * 1000


def main() -> int:
    options = argparse.ArgumentParser(description="What a start costs.")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--check", action="store_true", help="exit 1 where a bound is exceeded")
    args = options.parse_args()
    costs: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(args.rounds):
        for name, (words, _bound) in STARTS.items():
            costs[name].append(cpu_ms(words))
    over = False
    for name, (_, bound) in STARTS.items():
        least, middle = min(costs[name]), sorted(costs[name])[args.rounds // 2]
        exceeded = bound is not None and least > bound
        over |= exceeded
        told = f"   bound {bound:.0f} ms{': EXCEEDED' if exceeded else ''}" if bound is not None else ""
        print(f"{name:<34} {least:6.1f} ms, median {middle:6.1f}{told}")
    return 1 if args.check and over else 0


if __name__ == "__main__":
    sys.exit(main())
