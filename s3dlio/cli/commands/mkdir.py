"""``mkdir`` and ``rmdir``."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.uri import LOCAL_SCHEMES, parse

_NONE = "object stores have no directories"


def mkdir(context: Context) -> None:
    """With its parents; one that is there already is no error."""
    uri, shown = context.args.uri, context.out.name(context.args.uri)
    context.client.mkdir(uri)
    local = _is_local(uri)
    text = f"Successfully created or verified '{shown}'." if local else f"Nothing to create for '{shown}': {_NONE}."
    context.out.result({"uri": uri, "created": local}, text)


def rmdir(context: Context) -> None:
    """It must be empty, unless everything in it is to go too."""
    uri, shown = context.args.uri, context.out.name(context.args.uri)
    recursive = context.args.recursive
    context.client.rmdir(uri, recursive=recursive)
    done = recursive or _is_local(uri)
    text = f"Successfully deleted '{shown}'." if done else f"Nothing to delete for '{shown}': {_NONE} (see -r)."
    context.out.result({"uri": uri, "deleted": done}, text)


def _is_local(uri: str) -> bool:
    return parse(uri).scheme in LOCAL_SCHEMES
