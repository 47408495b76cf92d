"""``tags``: the tags of one object."""

from __future__ import annotations

from s3dlio.cli.context import Context


def run(context: Context) -> None:
    """The tags of an object as they are, or as they are after the changes."""
    args, out = context.args, context.out
    get, key = context.ability("get_tags", "tag objects")
    found: dict[str, str] = get(key)
    if args.set or args.remove:
        wanted = {name: value for name, value in found.items() if name not in args.remove} | dict(args.set)
        put, _ = context.ability("put_tags", "tag objects")
        put(key, wanted)
        found = wanted
    out.result({"uri": args.uri, "tags": found})
    if not out.as_json:
        out.results((), (out.name(f"{name} = {value}") for name, value in sorted(found.items())))
