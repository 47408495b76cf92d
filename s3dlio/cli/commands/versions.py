"""``versions``: older versions of objects: listed (as ``ls --versions`` does), restored, deleted."""

from __future__ import annotations

from typing import Any

from s3dlio.cli.context import Context
from s3dlio.cli.output import counted
from s3dlio.cli.summary import finish_failed
from s3dlio.errors import BatchError
from s3dlio.figures import size as human_size
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.delete import check_one
from s3dlio.transfer.history import select_versions, versions_of
from s3dlio.types import Conditions, VersionEntry, VersionPage
from s3dlio.uri import is_directory_like
from s3dlio.verbs.history import version_to_restore


def ls(context: Context) -> None:
    """One line for each version of what every URI selects."""
    context.each(context.args.uris, lambda uri: print_versions(context, uri))


def print_versions(context: Context, uri: str) -> int:
    """One line for each version, and each sub-directory that is not looked into; how many there are."""
    args, out = context.args, context.out
    store, key = context.client.store_for(uri)
    count = 0
    for page in select_versions(store, key, recursive=args.recursive, pattern=args.pattern):
        out.results(_records(store, page), _lines(context, store, page), end=args.end)
        count += len(page.versions) + len(page.prefixes)
    context.check_matched(uri, count, "LIST_VERSIONS")
    return count


def _records(store: ObjectStore, page: VersionPage) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{"uri": store.uri(prefix)} for prefix in page.prefixes]
    return records + [version_record(store, entry) for entry in page.versions]


def version_record(store: ObjectStore, entry: VersionEntry) -> dict[str, Any]:
    """A version as JSON; fields that the store does not fill in are left out."""
    told = {"uri": store.uri(entry.key), **entry._asdict()}
    del told["key"]
    return {name: value for name, value in told.items() if value is not None}


def _lines(context: Context, store: ObjectStore, page: VersionPage) -> list[str]:
    out = context.out
    lines = [f"{'DIR':>14}  {'':<26} {'':<34} {out.name(store.uri(prefix))}" for prefix in page.prefixes]
    for entry in page.versions:
        size = human_size(entry.size) if context.args.human_readable else str(entry.size)
        shown = "DELETED" if entry.is_delete_marker else size
        mark = "*" if entry.is_latest else " "
        time, version = out.name(entry.last_modified or ""), out.name(entry.version_id)
        lines.append(f"{shown:>14}  {time:<24} {mark} {version:<34} {out.name(store.uri(entry.key))}")
    return lines


def restore(context: Context) -> None:
    """An older version becomes the latest one."""
    args, out = context.args, context.out
    if args.dry_run:
        store, key = context.client.store_for(args.uri)
        version = args.version_id
        named = Conditions(version_id=version)
        found = store.head(key, conditions=named) if version else version_to_restore(store, key)
        context.would({"uri": args.uri, "restored": found.version_id or version}, f"restore {args.uri}")
        return
    version = context.client.restore_version(args.uri, args.version_id)
    record = {"uri": args.uri, "restored": args.version_id, "version_id": version}
    text = f"Restored {out.name(args.uri)}" + (f" from version {args.version_id}" if args.version_id else "")
    out.done({name: value for name, value in record.items() if value is not None}, text)


def rm(context: Context) -> None:
    """One version, or with ``--all`` every one of what a URI selects."""
    args = context.args
    if (args.version_id is None) == (not args.all):
        context.refuse("name a version with --version-id, or delete all of them with --all")
    if args.version_id is not None:
        if args.recursive or args.pattern or len(args.uris) > 1:
            context.refuse("--version-id names one version of one object")
        delete_one(context, args.uris[0], args.version_id)
    else:
        context.each(args.uris, lambda uri: delete_all(context, uri))


def delete_one(context: Context, uri: str, version_id: str) -> None:
    """One version of one object."""
    if context.args.dry_run:
        context.out.result({"uri": uri, "version_id": version_id, "dry_run": True}, context.out.name(uri))
        return
    context.client.delete(uri, version_id=version_id)
    context.out.done({"uri": uri, "version_id": version_id, "deleted": True},
                     f"Deleted version {version_id} of {context.out.name(uri)}")  # fmt: skip


def delete_all(context: Context, uri: str) -> None:
    """Every version of what a URI selects, markers of deletions included."""
    args, out = context.args, context.out
    store, key = context.client.store_for(uri)
    if args.pattern and not args.recursive:
        context.refuse("-p/--pattern selects below a prefix: give -r too")
    if args.dry_run:
        entries = _selected(store, key, args.recursive, args.pattern)
        out.results(
            ({**version_record(store, entry), "dry_run": True} for entry in entries),
            (f"{out.name(store.uri(entry.key))} {entry.version_id}" for entry in entries),
        )
        out.note(f"{_versions(len(entries))} would be deleted")
        return
    try:
        summary = context.client.delete_versions(uri, args.recursive, args.pattern, max_in_flight=args.jobs)
    except BatchError as error:
        finish_failed(out, "DELETE", error)
    counts = {"attempted": summary.attempted, "succeeded": summary.succeeded, "failed": summary.failed}
    out.done({"operation": "DELETE", "uri": uri, **counts, "seconds": round(summary.seconds, 6)},
             f"Deleted {_versions(summary.attempted)} of {out.name(uri)}")  # fmt: skip
    if not is_directory_like(key):
        context.check_matched(uri, summary.attempted, "DELETE")


def _selected(store: ObjectStore, key: str, recursive: bool, pattern: str | None) -> list[VersionEntry]:
    if not recursive:
        return versions_of(store, check_one(store, key))
    pages = select_versions(store, key, recursive=True, pattern=pattern)
    return [entry for page in pages for entry in page.versions]


def _versions(count: int) -> str:
    return counted(count).replace("object", "version")
