"""``du``: how much is under prefixes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from s3dlio.cli.context import Context
from s3dlio.figures import size as human_size


def run(context: Context) -> None:
    """A line for each directory down to the wanted depth, then the total: bytes, objects, URI."""
    with context.looking("LIST", prints=False) as look:
        context.each(context.args.uris, lambda uri: _add_up(context, uri, look))


def _add_up(context: Context, uri: str, look: Callable[[int], None]) -> None:
    args = context.args
    store, _ = context.client.store_for(uri)
    sizes: defaultdict[str, int] = defaultdict(int)
    counts: defaultdict[str, int] = defaultdict(int)
    for base, page in context.client.select(uri, recursive=True, pattern=args.pattern):
        look(len(page.keys))
        for entry in page.entries:
            for directory in _directories(entry.key, len(base), args.depth):
                sizes[directory] += entry.size
                counts[directory] += 1
            sizes[""] += entry.size
            counts[""] += 1
    context.check_matched(uri, counts[""], "LIST")
    for directory in sorted(counts.keys() - {""}):
        _print(context, store.uri(directory), sizes[directory], counts[directory])
    _print(context, uri, sizes[""], counts[""])


def _directories(key: str, start: int, depth: int) -> list[str]:
    """The directories of ``key`` below position ``start``, at most ``depth`` of them."""
    found: list[str] = []
    while len(found) < depth and (slash := key.find("/", start)) >= 0:
        start = slash + 1
        found.append(key[:start])
    return found


def _print(context: Context, uri: str, size: int, count: int) -> None:
    shown = human_size(size) if context.args.human_readable else str(size)
    unit = "object " if count == 1 else "objects"
    text = f"{shown:>14}  {count:>9} {unit}  {context.out.name(uri)}"
    context.out.result({"uri": uri, "bytes": size, "objects": count}, text, end=context.args.end)
