"""``analyze``: what op-logs show, as text, JSON, a page or trace events."""

from __future__ import annotations

import os
from glob import glob

from s3dlio.cli.context import Context
from s3dlio.cli.streams import write_report
from s3dlio.oplog.analysis import Report, analyze, compare, write_trace
from s3dlio.oplog.analysis.html import report_page
from s3dlio.oplog.analysis.html_comparison import comparison_page
from s3dlio.oplog.analysis.text import comparison_text, report_text


def run(context: Context) -> None:
    """The report on standard output, and the files that are asked for."""
    args = context.args
    if bool(args.logs) == bool(args.compare):
        context.refuse("name the logs to analyze, or two with --compare")
    if args.compare:
        if args.perfetto:
            context.refuse("--perfetto takes the logs of one run: leave --compare out")
        found = compare(*(_report(context, _logs([name])) for name in args.compare), confidence=args.confidence)
        context.out.result(found.to_dict(), _safe(context, comparison_text(found)))
        if args.html:
            write_report(args.html, comparison_page(found))
        return
    logs = _logs(args.logs)
    report = _report(context, logs)
    context.out.result(report.to_dict(), _safe(context, report_text(report)))
    if args.html:
        write_report(args.html, report_page(report))
    if args.perfetto:
        events = write_trace(args.perfetto, logs, clock_offsets=_offsets(context, logs))
        context.out.note(f"{args.perfetto}: {events:,} events")


def _safe(context: Context, text: str) -> str:
    """Lines whose names cannot move the cursor of a terminal."""
    return "\n".join(map(context.out.name, text.split("\n")))


def _report(context: Context, logs: list[str]) -> Report:
    args = context.args
    offsets = _offsets(context, logs)
    return analyze(logs, skip_warmup=args.skip_warmup, clock_offsets=offsets, processes=args.procs)


def _logs(names: list[str]) -> list[str]:
    """The files that are meant: a glob that the shell left, since it was quoted, is all that it matches."""
    return [path for name in names for path in (sorted(glob(name)) if not os.path.lexists(name) else []) or [name]]


def _offsets(context: Context, logs: list[str]) -> dict[str, float]:
    """The clock offsets of these logs.

    Raises:
        UsageError: one is of a log that is not named.
    """
    given = dict(context.args.clock_offset)
    every = logs if context.args.logs else _logs(context.args.compare)
    for path in given:
        if path not in every:
            context.refuse(f"--clock-offset names {path!r}, which is none of the logs")
    return {path: offset for path, offset in given.items() if path in logs}
