"""Objects of a store as the source of a transfer, listed page by page while they are transferred."""

from __future__ import annotations

from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.plan import Filter, Item, Plan, Skipped
from s3dlio.transfer.selection import Selection
from s3dlio.types import ListEntry


def select_remote(
    store: ObjectStore, key: str, *, recursive: bool = True, pattern: str | None = None, keep: Filter | None = None
) -> Plan:
    """The objects that ``key`` selects in ``store``: see :mod:`s3dlio.transfer.selection`.

    Args:
        store: where to look.
        key: a directory (ends in ``/`` or is empty), a glob, or the name of an object or directory.
        recursive: everything beneath a directory, and not just the objects directly in it.
        pattern: a regular expression, found anywhere in the relative name.
        keep: which names are wanted.

    Raises:
        ConfigError, InvalidURIError: the pattern or the glob cannot be understood.
        S3dlioError: the listing failed; it is never silently short.
    """
    return _entries(Selection(store, key, recursive=recursive, pattern=pattern), store, keep or Filter())


def _entries(selection: Selection, store: ObjectStore, keep: Filter) -> Plan:
    for base, page in selection:
        for entry in page.entries:
            name = entry.key[len(base) :]
            if not name or name.endswith("/"):
                yield _marker(store, entry)
            elif keep(name):
                yield Item(name, entry.key, entry.size, entry.etag, entry.last_modified)
        for prefix in page.prefixes:
            yield Skipped(store.uri(prefix), "it is a directory; use -r / recursive=True to transfer it")


def _marker(store: ObjectStore, entry: ListEntry) -> Skipped:
    if entry.size:
        return Skipped(store.uri(entry.key), f"its key ends in '/', so it is a folder; its {entry.size} bytes stay")
    return Skipped(store.uri(entry.key), "it is a folder marker", expected=True)
