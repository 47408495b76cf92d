"""``mkdir`` and ``rmdir``."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.errors import IsDirectoryError
from s3dlio.transfer.places import as_directory
from s3dlio.uri import LOCAL_SCHEMES, parse

_NONE = "object stores have no directories"


def mkdir(context: Context) -> None:
    """With its parents; one that is there already is no error."""
    uri, shown = context.args.uri, context.out.name(context.args.uri)
    local = _is_local(uri)
    if context.args.dry_run:
        context.would({"uri": uri, "created": local}, f"create {uri}")
        return
    context.client.mkdir(uri)
    text = f"Successfully created or verified '{shown}'." if local else f"Nothing to create for '{shown}': {_NONE}."
    context.out.done({"uri": uri, "created": local}, text)


def rmdir(context: Context) -> None:
    """It must be empty, unless everything in it is to go too."""
    uri, shown = context.args.uri, context.out.name(context.args.uri)
    recursive = context.args.recursive
    done = recursive or _is_local(uri)
    if not done:
        _check_empty(context, uri)
    if context.args.dry_run:
        context.would({"uri": uri, "deleted": done}, f"delete {uri}")
        return
    context.client.rmdir(uri, recursive=recursive)
    text = f"Successfully deleted '{shown}'." if done else f"Nothing to delete for '{shown}': {_NONE}."
    context.out.done({"uri": uri, "deleted": done}, text)


def _check_empty(context: Context, uri: str) -> None:
    """Refuse a prefix that has something beneath it: on object stores, that is what a directory is.

    Raises:
        IsDirectoryError: it has.
    """
    store, key = context.client.store_for(uri)
    beneath = as_directory(key)
    if any(page.keys or page.prefixes for page in store.list(beneath, recursive=False)):
        raise IsDirectoryError("the directory is not empty", uri=uri, operation="RMDIR", hint="use -r")


def _is_local(uri: str) -> bool:
    return parse(uri).scheme in LOCAL_SCHEMES
