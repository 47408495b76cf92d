"""``presign``: a URL that carries its own permission."""

from __future__ import annotations

from s3dlio.cli.context import Context


def run(context: Context) -> None:
    """The URL alone, so that it can be piped."""
    args = context.args
    url = context.client.presign(args.uri, args.method, args.expires, version_id=args.version_id)
    record = {"uri": args.uri, "url": url, "method": args.method, "expires": args.expires}
    if args.version_id is not None:
        record["version_id"] = args.version_id
    context.out.result(record, url)
