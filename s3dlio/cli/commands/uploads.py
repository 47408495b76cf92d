"""``uploads``: uploads in parts that were neither completed nor aborted, listed and removed."""

from __future__ import annotations

from typing import Any

from s3dlio.cli.context import Context
from s3dlio.verbs.history import IncompleteUpload


def ls(context: Context) -> None:
    """One line for each: when it was begun, its id, the URI of the object."""
    context.each(context.args.uris, lambda uri: _list(context, uri))


def _list(context: Context, uri: str) -> None:
    found = context.client.list_uploads(uri, older_than=context.args.older_than)
    _print(context, found)
    context.out.note(f"{_counted(len(found))} open")


def rm(context: Context) -> None:
    """They are given up, and their parts dropped."""
    context.each(context.args.uris, lambda uri: _remove(context, uri))


def _remove(context: Context, uri: str) -> None:
    args = context.args
    if args.dry_run:
        found = context.client.list_uploads(uri, older_than=args.older_than)
        _print(context, found, dry_run=True)
        context.out.note(f"{_counted(len(found))} would be removed")
        return
    removed = context.client.abort_uploads(uri, older_than=args.older_than, max_in_flight=args.jobs)
    _print(context, removed)
    context.out.note(f"{_counted(len(removed))} removed")


def _print(context: Context, found: list[IncompleteUpload], *, dry_run: bool = False) -> None:
    out = context.out
    out.results((_record(upload, dry_run) for upload in found), (_line(context, upload) for upload in found))


def _record(upload: IncompleteUpload, dry_run: bool) -> dict[str, Any]:
    record = {name: value for name, value in upload._asdict().items() if value is not None}
    return {**record, "dry_run": True} if dry_run else record


def _line(context: Context, upload: IncompleteUpload) -> str:
    out = context.out
    return f"{out.name(upload.initiated or ''):<24}  {out.name(upload.upload_id)}  {out.name(upload.uri)}"


def _counted(count: int) -> str:
    return f"{count} upload{'' if count == 1 else 's'}"
