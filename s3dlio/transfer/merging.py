"""Two directories side by side: both are listed in the order of their names, and merged."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

from s3dlio.errors import ObjectNotFoundError, ProtocolError
from s3dlio.records import Record
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.places import as_directory
from s3dlio.transfer.plan import Filter, Item, Plan
from s3dlio.transfer.select_local import Root, select_local
from s3dlio.transfer.select_remote import select_remote
from s3dlio.transfer.stream_entry import Entry
from s3dlio.uri import LOCAL_SCHEMES

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


class Directory(Record):
    """A directory that can be listed in the order of its names."""

    store: ObjectStore
    key: str
    keep: Filter
    operation: str

    @classmethod
    def at(cls, session: Session, uri: str, keep: Filter, operation: str = "SYNC") -> Directory:
        """The directory of a URI; a ``/`` is added if it ends in none. ``operation`` is what errors call it."""
        store, key = session.store_for(uri)
        return cls(store, as_directory(key), keep, operation)

    @property
    def uri(self) -> str:
        return self.store.uri(self.key)

    def check_exists(self) -> None:
        """Refuse a local directory that is not there.

        Raises:
            ObjectNotFoundError: it is not.
        """
        if self.store.scheme in LOCAL_SCHEMES and not os.path.isdir(self.key):
            path = self.key.rstrip("/")
            what = "it is no directory" if os.path.lexists(path) else "there is no such directory"
            hint = "to copy one file use copy (s3-cli cp)" if os.path.isfile(path) else None
            raise ObjectNotFoundError(f"{what}; nothing was changed", uri=self.uri, operation=self.operation, hint=hint)

    def plan(self, into_links: bool = True) -> Plan:
        """What is there; ``into_links`` as of :func:`s3dlio.transfer.select_local.walk`.

        Raises:
            ProtocolError: the order is not that of the names: merging would go wrong silently.
        """
        if self.store.scheme in LOCAL_SCHEMES:
            if not os.path.isdir(self.key):
                return iter(())
            root = Root(self.key.rstrip("/") or "/", "", True)
            plan = select_local([root], recursive=True, keep=self.keep, into_links=into_links)
        else:
            plan = select_remote(self.store, self.key, recursive=True, keep=self.keep)
        return self._ordered(plan)

    def _ordered(self, plan: Plan) -> Plan:
        last = ""
        for entry in plan:
            if isinstance(entry, Item):
                if entry.name < last:
                    raise ProtocolError(
                        f"the listing is not sorted ('{entry.name}' after '{last}'), so it cannot be compared",
                        uri=self.uri, operation=self.operation, hint="copy the whole directory instead",
                    )  # fmt: skip
                last = entry.name
            yield entry


def merge(
    here: Directory, there: Directory, *, into_links: bool = True
) -> Generator[tuple[Entry | None, Item | None], None, None]:
    """Pairs of what has one name on both sides; None where it is missing. What is no item here comes alone.

    Without ``into_links`` nothing is ``there`` behind a link to a directory.
    """
    others = (entry for entry in there.plan(into_links) if isinstance(entry, Item))
    other = next(others, None)
    for entry in here.plan():
        if not isinstance(entry, Item):
            yield entry, None
            continue
        while other is not None and other.name < entry.name:
            yield None, other
            other = next(others, None)
        if other is not None and other.name == entry.name:
            yield entry, other
            other = next(others, None)
        else:
            yield entry, None
    while other is not None:
        yield None, other
        other = next(others, None)
