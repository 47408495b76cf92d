"""``ls``: what URIs select, as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from s3dlio.cli.commands.buckets import is_service, print_buckets
from s3dlio.cli.commands.versions import print_versions
from s3dlio.cli.context import Context
from s3dlio.cli.output import Output
from s3dlio.figures import size as human_size
from s3dlio.stores.base import ObjectStore
from s3dlio.types import ListPage

#: How the last line begins.
TOTAL = "Total objects:"


def run(context: Context) -> None:
    """One line for each entry unless only the count is wanted, then the count and the rate; without a URI, buckets."""
    args, out = context.args, context.out
    if args.count_only and (args.long or args.human_readable):
        context.refuse("-c/--count-only prints no entries: leave out -l and -H")
    if args.fan_out > 1 and not args.recursive:
        context.refuse("--fan-out lists sub-directories side by side: it needs -r")
    if args.versions and (args.count_only or args.fan_out > 1):
        context.refuse("--versions lists versions one after the other: leave out -c and --fan-out")
    with context.looking("LIST", prints=not args.count_only) as look:
        live = _Count(look)
        context.each(args.uris or ["s3://"], lambda uri: _list(context, uri, live))
    count, seconds = live.count, live.seconds
    (out.result if args.count_only else out.total)(
        {"operation": "LIST", "objects": count, "seconds": round(seconds, 6)},
        f"{TOTAL} {count} ({seconds:.3f}s, rate: {count / seconds:,.0f} objects/s)",
    )


def _list(context: Context, uri: str, live: _Count) -> None:
    args = context.args
    if is_service(context, uri):
        live.add(print_buckets(context, uri))
        return
    if args.versions:
        live.add(print_versions(context, uri))
        return
    store, _ = context.client.store_for(uri)
    before = live.count
    selection = context.client.select(uri, recursive=args.recursive, pattern=args.pattern, fan_out=args.fan_out)
    for _, page in selection:
        live.add(len(page.keys) + len(page.prefixes))
        if not args.count_only:
            _print_page(context, store, page)
    context.check_matched(uri, live.count - before, "LIST")


def _print_page(context: Context, store: ObjectStore, page: ListPage) -> None:
    args, out = context.args, context.out
    if out.as_json or args.long or args.human_readable:
        details = sorted(_details(store, page), key=itemgetter("uri")) if page.prefixes else list(_details(store, page))
        out.results(details, (_long_line(out, told, args.human_readable) for told in details), end=args.end)
    else:
        names = sorted([*page.keys, *page.prefixes]) if page.prefixes else page.keys
        out.results((), (out.name(store.uri(name)) for name in names), end=args.end)


def _details(store: ObjectStore, page: ListPage) -> Iterator[dict[str, Any]]:
    """What the listing tells of each entry: directories have a URI that ends in ``/`` and nothing else."""
    for prefix in page.prefixes:
        yield {"uri": store.uri(prefix)}
    for entry in page.entries:
        told = {"uri": store.uri(entry.key), "size": entry.size, "last_modified": entry.last_modified,
                "etag": entry.etag, "storage_class": entry.storage_class}  # fmt: skip
        yield {name: value for name, value in told.items() if value is not None}


def _long_line(out: Output, told: dict[str, Any], human: bool) -> str:
    size = told.get("size")
    shown = "DIR" if size is None else human_size(size) if human else str(size)
    return f"{shown:>14}  {out.name(told.get('last_modified', '')):<30}  {out.name(told['uri'])}"


class _Count:
    """How many entries there were, and for how long."""

    def __init__(self, look: Callable[[int], None]) -> None:
        self.count = 0
        self._look = look
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start, never 0."""
        return max(time.monotonic() - self._started, 1e-9)

    def add(self, count: int) -> None:
        self.count += count
        self._look(count)
