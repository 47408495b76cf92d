"""A transfer that several processes do together: rank 0 looks for what is to be done, each does its part, and all get
the counts of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from s3dlio.engine.group import Group
from s3dlio.records import replace
from s3dlio.transfer.plan import Item, Plan
from s3dlio.transfer.stream_entry import Entry
from s3dlio.transfer.summary import Tally, TransferSummary

if TYPE_CHECKING:
    from s3dlio.transfer.journal import Journal

#: What a small object takes besides its bytes, as so many of them.
_EACH = 256 << 10


class DoneItem(Item):
    """One that the journal of some rank has as done."""

    __slots__ = ()


def weight(entry: Entry) -> int:
    """How much work an entry is; what is no object is only to be told, by rank 0."""
    return _EACH + max(0, entry.size) if isinstance(entry, Item) else -1


def dealt(group: Group, plan: Plan, journal: Journal | None = None) -> Plan:
    """The part of a plan that is this rank's."""
    if group.size == 1:
        return plan
    return group.deal(plan if journal is None else _marked(plan, journal), weight)


def _marked(plan: Plan, journal: Journal) -> Iterator[Entry]:
    for entry in plan:
        yield DoneItem(*entry) if isinstance(entry, Item) and journal.has(entry) else entry


def merged(group: Group, tally: Tally) -> Tally:
    """The counts of all ranks, at every rank; the failures at rank 0, and of those of others the first elsewhere. What
    each has done is in ``tally.ranks``."""
    if group.size == 1:
        return tally
    part = tally.summary(), tally.cancelled, tally.stopped_at
    found = group.gather(part)
    whole = Tally()
    if found:
        for summary, cancelled, stopped_at in found:
            whole.add(summary, cancelled, stopped_at)
        whole.ranks = group.describe([_counts(summary) for summary, _, _ in found])
    counts, cancelled, stopped_at, ranks = group.share(
        (_brief(whole.summary()), whole.cancelled, whole.stopped_at, whole.ranks)
    )
    if group.rank:
        whole.add(counts, cancelled, stopped_at)
        whole.ranks = ranks
    whole.began(tally)
    return whole


def _counts(summary: TransferSummary) -> dict[str, Any]:
    names = ("attempted", "succeeded", "failed", "skipped", "bytes")
    return {name: getattr(summary, name) for name in names} | {"seconds": round(summary.seconds, 6)}


def _brief(summary: TransferSummary) -> TransferSummary:
    return replace(summary, failures=summary.failures[:1], times=None)
