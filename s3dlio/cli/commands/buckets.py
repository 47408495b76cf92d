"""``list-buckets``, ``create-bucket``, ``delete-bucket``."""

from __future__ import annotations

from s3dlio.cli.context import Context


def list_buckets(context: Context) -> None:
    """Every bucket that the credentials can see, as a table."""
    out, uri = context.out, context.args.uri
    containers = context.client.list_containers(uri)
    if out.as_json:
        out.results(containers, ())
        return
    rows = [f"Listing containers for '{uri}'..."]
    if containers:
        rows += ["", f"Found {len(containers)} container(s):"]
        rows += [f"{'Name':<40} {'URI':<30} Creation Date", "-" * 90]
        for found in containers:
            name, uri = out.name(str(found["name"])), out.name(str(found["uri"]))
            rows.append(f"{name:<40} {uri:<30} {out.name(found['creation_date'] or '-')}")
    else:
        rows.append("No containers found.")
    out.results((), rows)


def create_bucket(context: Context) -> None:
    """One that is there already is no error."""
    uri = context.args.uri
    context.client.create_bucket(uri)
    context.out.result({"uri": uri, "created": True}, f"Successfully created or verified '{uri}'.")


def delete_bucket(context: Context) -> None:
    """It must be empty."""
    uri = context.args.uri
    context.client.delete_bucket(uri)
    context.out.result({"uri": uri, "deleted": True}, f"Successfully deleted '{uri}'.")
