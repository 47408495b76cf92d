"""``check`` and ``diff``: whether two directories hold the same."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.cli.output import counted
from s3dlio.errors import S3dlioError
from s3dlio.transfer.check import Checked, CheckSummary

#: As rclone's ``--combined`` has them, and one for what nobody can tell.
_MARKS = {
    "same": "=", "differs": "*", "missing_in_dst": "+", "missing_in_src": "-", "unchecked": "?", "failed": "!",
}  # fmt: skip


def check(context: Context) -> None:
    """By size, and by the checksums that the services keep; with ``--download`` by all bytes."""
    args = context.args
    if args.download and args.size_only:
        context.refuse("--download and --size-only are two ways to compare: leave one of them out")
    _compare(context, download=args.download, size_only=args.size_only)


def diff(context: Context) -> None:
    """By what the listings tell: names and sizes."""
    _compare(context, download=False, size_only=True)


def _compare(context: Context, *, download: bool, size_only: bool) -> None:
    args, out = context.args, context.out

    def tell(checked: Checked) -> None:
        look(1)
        if checked.verdict == "same" and not args.combined:
            return
        record = {name: value for name, value in checked._asdict().items() if value is not None}
        out.result(record, f"{_MARKS[checked.verdict]} {out.name(checked.name)}", end=args.end)

    with context.looking("CHECK", looked="compared", prints=False) as look:
        summary = context.client.check(
            args.source, args.dest, download=download, one_way=args.one_way, size_only=size_only, pattern=args.pattern,
            include=args.include, exclude=args.exclude, max_in_flight=args.jobs, on_checked=tell,
        )  # fmt: skip
    out.stdout.flush()
    counts = {name: getattr(summary, name) for name in CheckSummary._fields if name != "differences"}
    out.total({"operation": "CHECK", **counts}, _said(summary))
    if not summary.identical:
        context.failed = True
    for one in summary.differences:
        if one.verdict == "failed":
            context.tell(S3dlioError(one.reason))


def _said(summary: CheckSummary) -> str:
    """``3 objects are the same, 1 differs, ...``."""
    parts = [f"{counted(summary.same)} the same"]
    for number, what in (
        (summary.differing, "different"), (summary.missing_in_dst, "missing in the destination"),
        (summary.missing_in_src, "missing in the source"), (summary.failed, "could not be read"),
        (summary.unchecked, "of equal size without a checksum that both sides know (--download reads them)"),
    ):  # fmt: skip
        parts += [f"{number} {what}"] if number else []
    return ", ".join(parts)
