"""``mkdir`` and ``rmdir``."""

from __future__ import annotations

from s3dlio.cli.context import Context


def mkdir(context: Context) -> None:
    """With its parents; one that is there already is no error."""
    uri = context.args.uri
    context.client.mkdir(uri)
    context.out.result({"uri": uri, "created": True}, f"Successfully created or verified '{context.out.name(uri)}'.")


def rmdir(context: Context) -> None:
    """It must be empty, unless everything in it is to go too."""
    uri = context.args.uri
    context.client.rmdir(uri, recursive=context.args.recursive)
    context.out.result({"uri": uri, "deleted": True}, f"Successfully deleted '{context.out.name(uri)}'.")
