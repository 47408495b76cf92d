"""The S3 transports of S3DLIO_BACKEND side by side: ``make perf-backends``, or ``python -m perf.backends``.

The same functions of this library, carried by its own exchange, by boto3 and by Arrow's object_store. Prints the
tables; a whole run also writes them into docs/performance/backends.md.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import replace

from perf import report
from perf.compare import DOCS
from perf.contenders import Contender
from perf.measure import Result, measure, say, servers
from perf.rows import FEW_KEYS, ROWS, Row
from perf.workers.protocol import Job

NATIVE = "native"
HTTP2 = "arrow, HTTP/2"
BACKENDS = {
    name: Contender(name, "with_s3dlio.py", variables=(("S3DLIO_BACKEND", name),))
    for name in (NATIVE, "boto3", "arrow")
}
OVER_TLS = BACKENDS | {
    HTTP2: Contender(HTTP2, "with_s3dlio.py", variables=(("S3DLIO_BACKEND", "arrow"), ("S3DLIO_HTTPS_H2", "1")))
}
BACKEND_ROWS = [
    *(row for row in ROWS if row.server == "http" and row.scheme == "s3" and row.job.verb != "list"),
    Row("list 10,000 keys", Job("list", count=FEW_KEYS), (), container="listed-few"),
    *(replace(row, server="h2") for row in ROWS if row.server == "tls"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every row (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: does everything run?")
    options = parser.parse_args(arguments)
    rounds, seconds = (2, 0.1) if options.quick else (options.rounds, 0.3)
    with servers() as where:
        results = [
            measure(row, [*(OVER_TLS if row.server == "h2" else BACKENDS).values()], where, rounds=rounds,
                    seconds=seconds)
            for row in BACKEND_ROWS
        ]  # fmt: skip
    say("")
    tables = {"Rates": report.rates(results), "CPU time": report.cpu(results), "Rates of native": _ratios(results)}
    for title, table in tables.items():
        print(f"== {title}\n{report.plain(table)}\n")
    if not options.quick:
        body = "\n".join(f"## {title}\n\n{report.markdown(table)}\n" for title, table in tables.items())
        text = (
            "# The transports of s3://\n\n"
            f"Written by `make perf-backends` on {datetime.date.today().isoformat()}; "
            "[method.md](method.md) says how it measures. `S3DLIO_BACKEND` chooses the transport.\n\n"
            f"- Machine: {report.machine()}. Server and clients share it.\n- Medians of {rounds} rounds.\n"
            "- Arrow's transport leaves stats and listings to boto3's. Over TLS it can speak HTTP/2 "
            f"(`S3DLIO_HTTPS_H2=1`); the others speak HTTP/1.1.\n\n{body}"
        )
        DOCS.mkdir(parents=True, exist_ok=True)
        (DOCS / "backends.md").write_text(text, encoding="utf-8")
    return 0


def _ratios(results: Sequence[Result]) -> report.Table:
    others = [name for name in OVER_TLS if name != NATIVE]
    table = [["", *(f"against {name}" for name in others)]]
    for result in results:
        ratios = [f"{result.rate_ratio(NATIVE, name):.2f}x" if name in result.costs else "" for name in others]
        table.append([result.row.name, *ratios])
    return table


if __name__ == "__main__":
    sys.exit(main())
