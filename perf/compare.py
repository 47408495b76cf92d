"""Side by side with other libraries: ``make perf-compare``, or ``python -m perf.compare``.

Every library runs in a process and a virtual environment of its own (made at the first run, in the user's cache
folder) against the same local servers, and they take turns. Prints the tables; a whole run also writes them, and a
plot, into docs/performance.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perf import report
from perf.contenders import CONTENDERS, OURS, ROOT, ContenderError, python_with
from perf.measure import Result, measure, say, servers
from perf.rows import ROWS, Row

DOCS = ROOT / "docs/performance"
PLOTTER = "matplotlib==3.11.2"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code: 1 when a contender failed."""
    options = _parser().parse_args(arguments)
    rounds = 2 if options.quick else options.rounds
    seconds = 0.1 if options.quick else options.seconds
    rows = _chosen(options.only or [])
    results, failures = [], []
    with servers() as where:
        for row in rows:
            names = [name for name in row.contenders if not options.contenders or name in options.contenders]
            if names:
                try:
                    contenders = [CONTENDERS[name] for name in names]
                    if options.before and OURS in contenders:
                        contenders.append(replace(OURS, name="before", checkout=str(options.before.resolve())))
                    results.append(measure(row, contenders, where, rounds=rounds, seconds=seconds))
                except ContenderError as error:
                    failures.append(f"{row.name}: {error}")
                    say(failures[-1])
    _show(results)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    folder = options.output
    if folder is None and not failures and not (options.quick or options.only or options.contenders or options.before):
        folder = DOCS
    if folder is not None and results:
        _write(folder, results, rounds)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every row (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one job, about (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: does everything run?")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows with this in their name; may be repeated")
    parser.add_argument("--contenders", type=lambda text: text.split(","), metavar="NAME,...",
                        help=f"only these of {'; '.join(CONTENDERS)}")  # fmt: skip
    parser.add_argument("--before", type=Path, metavar="DIR", help="an older checkout takes part, as 'before'")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write page and plot here")
    return parser


def _chosen(parts: Sequence[str]) -> list[Row]:
    """The rows whose names have one of *parts*.

    Raises:
        SystemExit: a part that no row has.
    """
    for part in parts:
        if not any(part.lower() in row.name.lower() for row in ROWS):
            raise SystemExit(f"no row has '{part}' in its name; there are: {'; '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if not parts or any(part.lower() in row.name.lower() for part in parts)]


def _show(results: Sequence[Result]) -> None:
    say("")
    print(report.machine())
    for title, table in (
        ("rates", report.rates(results)),
        ("CPU time", report.cpu(results)),
        ("to be reached", report.goals(results)),
    ):
        print(f"\n== {title}\n{report.plain(table)}")


def _write(folder: Path, results: Sequence[Result], rounds: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(report.page(results, rounds), encoding="utf-8")
    data = folder / "results.json"
    data.write_text(json.dumps(report.data(results, rounds), indent=1) + "\n", encoding="utf-8")
    plot = [python_with(PLOTTER), str(ROOT / "perf/plot.py"), str(data), str(folder / "comparison.png")]
    subprocess.run(plot, check=True)
    print(f"\nwritten to {folder}")


if __name__ == "__main__":
    sys.exit(main())
