"""``rm``: delete one object, or everything below a prefix."""

from __future__ import annotations

import sys

from s3dlio.cli.context import Context
from s3dlio.cli.output import counted
from s3dlio.cli.summary import finish_failed
from s3dlio.errors import BatchError, TransferCancelledError
from s3dlio.transfer.delete import delete
from s3dlio.transfer.summary import TransferSummary
from s3dlio.uri import parse

#: More objects than this are asked for on a terminal.
ASK_ABOVE = 100


def run(context: Context) -> None:
    """What is done is said on stderr; with ``--json`` on stdout."""
    args = context.args
    if args.pattern and not args.recursive:
        context.refuse("-p/--pattern selects below a prefix: give -r too")
    if args.recursive and not (args.yes or args.dry_run):
        _ask(context)
    try:
        summary = delete(
            context.client,
            args.uri,
            recursive=args.recursive,
            pattern=args.pattern,
            dry_run=args.dry_run,
            max_in_flight=args.jobs,
            progress=context.bar("DELETE", by_objects=True) if args.recursive else None,
            on_key=(lambda uri: _would_delete(context, uri)) if args.dry_run else None,
        )
    except BatchError as error:
        finish_failed(context.out, "DELETE", error)
    _report(context, summary)
    if args.recursive:
        context.check_matched(args.uri, summary.attempted, "DELETE")


def _would_delete(context: Context, uri: str) -> None:
    context.out.result({"uri": uri, "dry_run": True}, context.out.name(uri))


def _report(context: Context, summary: TransferSummary) -> None:
    args, out = context.args, context.out
    if args.dry_run:
        out.result({"operation": "DELETE", "uri": args.uri, "dry_run": True, "attempted": summary.attempted})
        out.note(f"{counted(summary.attempted)} would be deleted")
        return
    if out.as_json:
        counts = {"attempted": summary.attempted, "succeeded": summary.succeeded, "failed": summary.failed}
        out.result({"operation": "DELETE", "uri": args.uri, **counts, "seconds": round(summary.seconds, 6)})
    elif args.recursive:
        out.note(_below_prefix(out.name(args.uri), args.pattern, summary.attempted))
    else:
        out.note(_single(args.uri, out.name(args.uri)))


def _below_prefix(uri: str, pattern: str | None, count: int) -> str:
    if not count and pattern:
        return f"No objects under prefix {uri} match pattern '{pattern}'"
    if not count:
        return f"No objects found under prefix: {uri}"
    if pattern:
        return (
            f"Sent delete requests for {counted(count)} selected under prefix {uri} by pattern '{pattern}' "
            f"({count} selected; 0 reported errors)"
        )
    return f"Sent delete requests for {counted(count)} found under prefix {uri} ({count} listed; 0 reported errors)"


def _single(uri: str, shown: str) -> str:
    backend = "S3" if parse(uri).scheme == "s3" else "this backend"
    more = ""
    if uri.endswith("/"):
        more = "not what is under it (use -r to delete everything under a prefix)"
    elif set(uri) & set("?[{"):
        more = "not what matches it as a glob (use -r to delete that)"
    if more:
        more = f"; only the object named by this exact URI was targeted, {more}"
    return f"Delete request succeeded: {shown} ({backend} does not report whether the object existed{more})"


def _ask(context: Context) -> None:
    """Where a person is there to answer, ask before many objects are deleted.

    Raises:
        TransferCancelledError: the answer was not yes.
    """
    args, out = context.args, context.out
    if not (sys.stdin is not None and sys.stdin.isatty() and out.stderr.isatty()):
        return
    count = 0
    for _, page in context.client.select(args.uri, recursive=True, pattern=args.pattern):
        count += len(page.keys)
        if count > ASK_ABOVE:
            break
    else:
        return
    question = f"Delete more than {ASK_ABOVE} objects under {out.name(args.uri)}? [y/N] "
    print(question, end="", file=out.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TransferCancelledError("nothing was deleted", uri=args.uri, hint="answer y, or give --yes")
