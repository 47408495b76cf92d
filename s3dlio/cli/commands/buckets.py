"""``list-buckets``, ``create-bucket`` (``mb``), ``delete-bucket`` (``rb``), and buckets as ``ls`` lists them."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.errors import InvalidURIError
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.selection import pattern_finder
from s3dlio.uri import LOCAL_SCHEMES, parse_container


def list_buckets(context: Context) -> None:
    """Every bucket that the credentials can see, as a table."""
    out, uri = context.out, context.args.uri
    containers = context.client.list_containers(uri)
    if out.as_json:
        out.results(containers, ())
        return
    out.note(f"Listing containers for '{uri}'...\n")
    if not containers:
        out.note("No containers found.")
        return
    out.note(f"Found {len(containers)} container(s):\n{'Name':<40} {'URI':<30} Creation Date\n{'-' * 90}")
    rows = []
    for found in containers:
        name, uri = out.name(str(found["name"])), out.name(str(found["uri"]))
        rows.append(f"{name:<40} {uri:<30} {out.name(found['creation_date'] or '-')}")
    out.results((), rows)


def is_service(context: Context, uri: str) -> bool:
    """Whether a URI names a service and no bucket: ``s3://``, ``s3://host:9000``, ``gs://``, ``az://account``."""
    try:
        location = parse_container(uri, azure_account=context.client.settings.azure.default_account)
    except InvalidURIError:
        return False
    return "://" in uri and not location.container and location.scheme not in LOCAL_SCHEMES


def print_buckets(context: Context, uri: str) -> int:
    """One line for each bucket of a service; how many there are."""
    args, out = context.args, context.out
    if args.recursive:
        context.refuse("-r lists what is in a bucket: name one")
    wanted = pattern_finder(args.pattern or "")
    containers = [found for found in context.client.list_containers(uri) if wanted(str(found["name"]))]
    for found in () if args.count_only else containers:
        record = {**found, "uri": f"{found['uri']}/"}
        text = out.name(f"{found['uri']}/")
        if args.long or args.human_readable:
            text = f"{'BUCKET':>14}  {out.name(found['creation_date'] or ''):<30}  {text}"
        out.result(record, text, end=args.end)
    return len(containers)


def create_bucket(context: Context) -> None:
    """One that is there already is no error."""
    context.each(context.args.uris, lambda uri: _create(context, uri))


def _create(context: Context, uri: str) -> None:
    if context.args.dry_run:
        context.would({"uri": uri, "created": True}, f"create {uri}")
        return
    context.client.create_bucket(uri)
    context.out.done({"uri": uri, "created": True}, f"Successfully created or verified '{uri}'.")


def delete_bucket(context: Context) -> None:
    """It must be empty, unless everything in it is to go too."""
    context.each(context.args.uris, lambda uri: _delete(context, uri))


def _delete(context: Context, uri: str) -> None:
    if context.args.dry_run:
        if context.args.force:
            _would_empty(context, uri)
        context.would({"uri": uri, "deleted": True}, f"delete {uri}")
        return
    if context.args.force:
        context.client.delete(as_directory(uri), recursive=True)
    context.client.delete_bucket(uri)
    context.out.done({"uri": uri, "deleted": True}, f"Successfully deleted '{uri}'.")


def _would_empty(context: Context, uri: str) -> None:
    from s3dlio.transfer.delete import delete

    def would(one: str) -> None:
        context.would({"uri": one, "deleted": True}, f"delete {one}")

    delete(context.client, as_directory(uri), recursive=True, dry_run=True, on_key=would)
