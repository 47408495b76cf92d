"""``tags``: the tags of one object."""

from __future__ import annotations

from s3dlio.cli.context import Context


def run(context: Context) -> None:
    """The tags of an object as they are, or as they are after the changes."""
    args, out = context.args, context.out
    found = context.client.get_tags(args.uri)
    if args.set or args.remove:
        found = {name: value for name, value in found.items() if name not in args.remove} | dict(args.set)
        if not args.dry_run:
            context.client.put_tags(args.uri, found)
    out.result({"uri": args.uri, "tags": found} | ({"dry_run": True} if args.dry_run else {}))
    if not out.as_json:
        out.results((), (out.name(f"{name} = {value}") for name, value in sorted(found.items())))
