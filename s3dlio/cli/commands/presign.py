"""``presign`` and ``tags``: what only some stores can do with an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s3dlio.cli.context import Context
from s3dlio.stores.base import unsupported


def presign(context: Context) -> None:
    """A URL that carries its own permission."""
    args = context.args
    sign, key = _ability(context, "presign", "presign URLs")
    url = sign(key, args.method, args.expires)
    context.out.result({"uri": args.uri, "url": url, "method": args.method, "expires": args.expires}, url)


def tags(context: Context) -> None:
    """The tags of an object as they are, or as they are after the changes."""
    args, out = context.args, context.out
    get, key = _ability(context, "get_tags", "tag objects")
    found: dict[str, str] = get(key)
    if args.set or args.remove:
        wanted = {name: value for name, value in found.items() if name not in args.remove} | dict(args.set)
        put, _ = _ability(context, "put_tags", "tag objects")
        put(key, wanted)
        found = wanted
    out.result({"uri": args.uri, "tags": found})
    if not out.as_json:
        out.results((), (out.name(f"{name} = {value}") for name, value in sorted(found.items())))


def _ability(context: Context, verb: str, what: str) -> tuple[Callable[..., Any], str]:
    """The store's method of that name, and the key.

    Raises:
        UnsupportedOperationError: the store has none.
    """
    store, key = context.client.store_for(context.args.uri)
    method = getattr(store, verb, None)
    if method is None:
        raise unsupported(store, key, what)
    return method, key
