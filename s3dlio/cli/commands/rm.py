"""``rm``: delete objects, or everything below prefixes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from s3dlio.cli.commands import versions
from s3dlio.cli.context import Context
from s3dlio.cli.output import counted
from s3dlio.cli.summary import finish_failed
from s3dlio.errors import BatchError, TransferCancelledError
from s3dlio.transfer.delete import check_one, delete, delete_many
from s3dlio.transfer.glob import is_glob
from s3dlio.transfer.history import select_versions
from s3dlio.transfer.limits import limits
from s3dlio.transfer.summary import TransferSummary
from s3dlio.uri import parse

_LIMITS = ("min_size", "max_size", "min_age", "max_age")
#: What only selects below prefixes.
_SELECTING = ("pattern", "include", "exclude", "include_from", "exclude_from", *_LIMITS)
#: More objects than this are asked for on a terminal.
ASK_ABOVE = 100
#: So many are counted for the question; more take too long.
COUNT_TO = 100_000


def run(context: Context) -> None:
    """What is done is said on stderr; with ``--json`` on stdout."""
    args = context.args
    if not args.recursive and (given := [name for name in _SELECTING if getattr(args, name)]):
        context.refuse(f"--{given[0].replace('_', '-')} selects below a prefix: give -r too")
    if args.versions and (given := [name for name in _SELECTING[1:] if getattr(args, name)]):
        context.refuse(f"--versions selects by -p/--pattern only, not by --{given[0].replace('_', '-')}")
    if args.version_id is not None:
        if args.recursive or args.versions or len(args.uris) > 1:
            context.refuse("--version-id names one version of one object")
        versions.delete_one(context, args.uris[0], args.version_id)
        return
    if args.recursive and not (args.yes or args.force or args.dry_run):
        _ask(context)
    if args.versions:
        context.each(args.uris, lambda uri: versions.delete_all(context, uri))
    elif len(args.uris) > 1 and not args.recursive:
        _delete_objects(context)
    else:
        context.each(args.uris, lambda uri: _delete(context, uri))


def _selected(context: Context) -> dict[str, Any]:
    """What of it is wanted."""
    args = vars(context.args)
    names = ("pattern", "include", "exclude", "include_from", "exclude_from")
    bounds = limits(**{name: args[name] for name in _LIMITS})
    return {name: args[name] for name in names} | {"limits": bounds}


def _delete(context: Context, uri: str) -> None:
    """What one operand names."""
    args = context.args
    try:
        summary = delete(
            context.client,
            uri,
            recursive=args.recursive,
            **_selected(context),
            dry_run=args.dry_run,
            max_in_flight=args.jobs,
            progress=context.bar("DELETE", by_objects=True) if args.recursive else None,
            on_key=(lambda one: _would_delete(context, one)) if args.dry_run else None,
        )
    except BatchError as error:
        finish_failed(context.out, "DELETE", error)
    _report(context, uri, summary)
    if args.recursive and not args.force and is_glob(context.client.store_for(uri)[1]):
        context.check_matched(uri, summary.attempted, "DELETE")


def _delete_objects(context: Context) -> None:
    """Several objects, in as few requests as the services allow. All names are checked before the first is deleted."""
    args, client = context.args, context.client
    for uri in args.uris:
        check_one(*client.store_for(uri))
    if args.dry_run:
        for uri in args.uris:
            _would_delete(context, uri)
        context.out.note(f"{counted(len(args.uris))} would be deleted")
        return
    try:
        summary = delete_many(client, args.uris, max_in_flight=args.jobs)
    except BatchError as error:
        finish_failed(context.out, "DELETE", error)
    context.out.done(_counts(summary), f"Sent delete requests for {counted(summary.attempted)}")


def _would_delete(context: Context, uri: str) -> None:
    context.out.result({"uri": uri, "dry_run": True}, context.out.name(uri))


def _counts(summary: TransferSummary) -> dict[str, object]:
    counts = {"attempted": summary.attempted, "succeeded": summary.succeeded, "failed": summary.failed}
    return {"operation": "DELETE", **counts, "seconds": round(summary.seconds, 6)}


def _report(context: Context, uri: str, summary: TransferSummary) -> None:
    args, out = context.args, context.out
    if args.dry_run:
        out.result({"operation": "DELETE", "uri": uri, "dry_run": True, "attempted": summary.attempted})
        out.note(f"{counted(summary.attempted)} would be deleted")
    elif args.recursive:
        out.done({**_counts(summary), "uri": uri}, _below_prefix(out.name(uri), args.pattern, summary.attempted))
    else:
        out.done({**_counts(summary), "uri": uri}, _single(uri, out.name(uri)))


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
    if set(uri) & set("?[{"):
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
    with context.looking("LIST", prints=False) as look:
        for uri in args.uris:
            count += _count(context, uri, look)
    if count <= ASK_ABOVE:
        return
    number = f"{count:,}" if count <= COUNT_TO else f"more than {COUNT_TO:,}"
    places = ", ".join(out.name(uri) for uri in args.uris[:3]) + (" and others" if len(args.uris) > 3 else "")
    what = "versions of objects" if args.versions else "objects"
    print(f"Delete {number} {what} under {places}? [y/N] ", end="", file=out.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TransferCancelledError("nothing was deleted", uri=args.uris[0], hint="answer y, or give --yes")


def _count(context: Context, uri: str, look: Callable[[int], None]) -> int:
    """How many objects would be deleted; of very many, only that they are."""
    args, count = context.args, 0
    if any(getattr(args, name) for name in _SELECTING if name != "pattern"):
        return delete(context.client, uri, recursive=True, **_selected(context), dry_run=True).attempted
    store, key = context.client.store_for(uri)
    selected = context.client.select(uri, recursive=True, pattern=args.pattern)
    pages: Iterable[int] = (len(page.keys) for _, page in selected)
    if args.versions:
        pages = (len(page.versions) for page in select_versions(store, key, recursive=True, pattern=args.pattern))
    for found in pages:
        count += found
        look(found)
        if count > COUNT_TO:
            break
    return count
