"""file:// and direct:// side by side with the Rust package of the same name: ``python -m perf.compare_local``.

Both libraries run this file as a program, in processes of their own that take turns, so that what else the machine does
falls on both. The table has the medians: the rate, the CPU time (user and system) it took, and ours against theirs.
The reference lives in a virtual environment of its own: --reference or S3DLIO_REFERENCE_PYTHON names its interpreter,
or it is made in the user's cache folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REFERENCE = "s3dlio==0.10.0"
ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20
LARGE = 64 * MIB
SMALL = 4096

#: What must be reached: (rate against the reference's, CPU time for the same work against the reference's).
TARGETS: dict[str, tuple[float, float | None]] = {
    "file get 64 MiB": (2.5, None),
    "file get_many 64 MiB": (1.5, None),
    "file get 4 KiB": (8.0, None),
    "file get_many 4 KiB": (3.0, None),
    "file put 64 MiB": (1.3, None),
    "file list": (2.0, None),
    "file list recursive": (2.0, None),
    "direct get 64 MiB": (1.0, 0.3),
    "direct put 64 MiB": (1.0, 0.5),
    "direct put 64 MiB aligned": (1.0, 0.5),
}

Work = Callable[[], int]  # does it once; returns the bytes or objects done


def make_tree(folder: Path) -> None:
    """What both read: 8 large files, 5,000 small ones, and 20,000 empty ones in 20 directories."""
    (folder / "large").mkdir()
    for number in range(8):
        (folder / f"large/{number}").write_bytes(os.urandom(LARGE))
    (folder / "small").mkdir()
    for number in range(5000):
        (folder / f"small/{number:05}").write_bytes(os.urandom(SMALL))
    for directory in range(20):
        (folder / f"tree/{directory:02}").mkdir(parents=True)
        for number in range(1000):
            (folder / f"tree/{directory:02}/{number:04}").touch()
    os.sync()


def works(s3dlio: Any, folder: Path) -> dict[str, tuple[Work, str]]:
    """Each measurement and its unit, with functions that both libraries have."""
    large = [f"{folder}/large/{number}" for number in range(8)]
    small = [f"file://{folder}/small/{number:05}" for number in range(5000)]
    payload = os.urandom(LARGE)
    tiny = os.urandom(SMALL)

    def get_each(uris: list[str]) -> int:
        return sum(len(s3dlio.get(uri)) for uri in uris)

    def get_many(uris: list[str]) -> int:
        return sum(len(data) for _, data in s3dlio.get_many(uris))

    def put_each(uris: list[str], data: Any) -> int:
        for uri in uris:
            s3dlio.put_bytes(uri, data)
        return len(uris) * len(data)

    file, direct = [f"file://{path}" for path in large], [f"direct://{path}" for path in large]
    written = [f"file://{folder}/written/{number}" for number in range(4)]
    past_cache = [f"direct://{folder}/written-direct/{number}" for number in range(4)]
    many = [(f"file://{folder}/written/small-{number}", tiny) for number in range(1000)]
    aligned = s3dlio.get(file[0])

    def put_many() -> int:
        s3dlio.put_many(many)
        return len(many)

    return {
        "file get 64 MiB": (lambda: get_each(file), "GB/s"),
        "file get_many 64 MiB": (lambda: get_many(file), "GB/s"),
        "file get 4 KiB": (lambda: get_each(small) // SMALL, "/s"),
        "file get_many 4 KiB": (lambda: get_many(small) // SMALL, "/s"),
        "file put 64 MiB": (lambda: put_each(written, payload), "GB/s"),
        "file put 4 KiB": (lambda: put_each([uri for uri, _ in many], tiny) // SMALL, "/s"),
        "file put_many 4 KiB": (put_many, "/s"),
        "file list": (lambda: len(s3dlio.list(f"file://{folder}/small/")), "/s"),
        "file list recursive": (lambda: len(s3dlio.list(f"file://{folder}/tree/", recursive=True)), "/s"),
        "direct get 64 MiB": (lambda: get_each(direct), "GB/s"),
        "direct put 64 MiB": (lambda: put_each(past_cache, payload), "GB/s"),
        "direct put 64 MiB aligned": (lambda: put_each(past_cache, aligned), "GB/s"),
    }


def measure(folder: Path, chosen: list[str]) -> dict[str, list[float]]:
    """In a process of one library: seconds and CPU seconds for one unit of each work, after a run to warm up."""
    import s3dlio

    result = {}
    for name, (work, _) in works(s3dlio, folder).items():
        if chosen and not any(part in name for part in chosen):
            continue
        for _ in range(2):  # to warm up: a virtual machine's memory costs the more the first time it is touched
            work()
        cpu, wall = time.process_time(), time.perf_counter()
        done = work()
        result[name] = [(time.perf_counter() - wall) / done, (time.process_time() - cpu) / done]
    return result


def reference_python(given: str | None) -> str:
    """The interpreter that has the reference; its environment is made the first time."""
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    venv = cache / "s3dlio-perf" / REFERENCE.replace("==", "-")
    python = venv / "bin/python"
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", REFERENCE], check=True)
        (venv / "ready").touch()
    return str(python)


def run(python: str, folder: Path, chosen: list[str], *, ours: bool) -> dict[str, list[float]]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if ours:
        env["PYTHONPATH"] = str(ROOT)
    command = [python, __file__, "--measure", str(folder), *chosen]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, cwd=folder)
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def median(runs: list[dict[str, list[float]]], name: str, index: int) -> float:
    return statistics.median(one[name][index] for one in runs)


def table(ours: list[dict[str, list[float]]], theirs: list[dict[str, list[float]]]) -> None:
    print(f"{'':27}{'ours':>12}{'reference':>12}{'rate':>8}{'wanted':>8}{'CPU':>8}{'wanted':>8}")
    for name in ours[0]:
        rates = [1 / median(runs, name, 0) for runs in (ours, theirs)]
        rate = rates[0] / rates[1]
        cpu = median(ours, name, 1) / median(theirs, name, 1)
        wanted, wanted_cpu = TARGETS.get(name, (None, None))
        shown = [f"{value / 1e9:.2f} GB/s" if "64 MiB" in name else f"{value:,.0f}/s" for value in rates]
        goal, goal_cpu = (f"{value}" if value else "" for value in (wanted, wanted_cpu))
        print(f"{name:27}{shown[0]:>12}{shown[1]:>12}{rate:>8.2f}{goal:>8}{cpu:>8.2f}{goal_cpu:>8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="parts of the names of the measurements to make")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where; 2 GB, on a real disk")
    parser.add_argument("--reference", default=os.environ.get("S3DLIO_REFERENCE_PYTHON"), metavar="PYTHON")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.only)), flush=True)
        os._exit(0)  # the reference's threads may not end
    reference = reference_python(options.reference)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="s3dlio-compare-") as name:
        folder = Path(name)
        make_tree(folder)
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(run(sys.executable, folder, options.only, ours=True))
            theirs.append(run(reference, folder, options.only, ours=False))
    table(ours, theirs)


if __name__ == "__main__":
    main()
