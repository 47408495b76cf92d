"""Transfers of objects that are named one by one, each with the place it goes to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ItemFailure
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer import many
from s3dlio.transfer.options import DEFAULTS, TransferOptions
from s3dlio.transfer.overlap import check_not_itself
from s3dlio.transfer.plan import Item
from s3dlio.transfer.runner import Transfer
from s3dlio.uri import LOCAL_SCHEMES


class Pair(NamedTuple):
    """An object, and where it goes.

    Args:
        source, target: URIs.
        size: bytes of the source, where they are known.
    """

    source: str
    target: str
    size: int | None = None


def transfer_pairs(
    session: Session, operation: str, pairs: Iterable[Pair], how: TransferOptions = DEFAULTS, *, move: bool = False
) -> None:
    """Transfer each source to exactly its target, all of one pair of stores in one batch.

    Args:
        session: whose stores and threads are used.
        operation: the verb, for messages.
        pairs: what goes where. Keys are literal: a ``*`` is one of their characters.
        how: see :class:`TransferOptions`; what selects has no meaning here.
        move: delete each source when its copy is complete.

    Raises:
        BatchError: objects failed; it has every one of them. Failures of one object never stop the others.
        InvalidURIError: a source is its own target; nothing of these stores was transferred.
    """
    failures: list[ItemFailure] = []
    attempted = 0
    for (source, target), items in _by_stores(session, pairs).items():
        prefix = _common_directory(items) if target.scheme in LOCAL_SCHEMES else ""
        plan = iter([item._replace(name=item.name[len(prefix) :]) for item in items])
        transfer = Transfer(operation, plan, source, source.root, target, prefix, target.uri(prefix), "", moves=move)
        attempted += len(items)
        try:
            transfer.run(session, how)
        except BatchError as error:
            failures += error.failures
    if failures:
        raise BatchError(failures, attempted=attempted, operation=operation)


def _by_stores(session: Session, pairs: Iterable[Pair]) -> dict[tuple[ObjectStore, ObjectStore], list[Item]]:
    """The items of each pair of stores, called by the keys of their targets."""
    found: dict[tuple[ObjectStore, ObjectStore], list[Item]] = {}
    for pair, size in _sized(session, list(pairs)):
        source, key = session.store_for(pair.source)
        target, name = session.store_for(pair.target)
        source.check_key(key, "GET")
        target.check_key(name, "PUT")
        check_not_itself(source, key, target, name)
        found.setdefault((source, target), []).append(Item(name, key, size))
    return found


def _sized(session: Session, pairs: Sequence[Pair]) -> Iterable[tuple[Pair, int]]:
    """Each pair with the size of its source. Only where the target is no file does it have to be known beforehand."""
    asked = [
        index for index, pair in enumerate(pairs)
        if pair.size is None and not pair.target.startswith("file://")
    ]  # fmt: skip
    sizes: dict[int, int] = {}
    if asked:
        about = many.stat_many(session, [pairs[index].source for index in asked], 64)
        sizes = {index: each.size for index, each in zip(asked, about, strict=True)}
    return [(pair, sizes.get(index, pair.size or 0)) for index, pair in enumerate(pairs)]


def _common_directory(items: Sequence[Item]) -> str:
    """The deepest directory that all of the targets are in."""
    common = os.path.commonpath([os.path.dirname(item.name) for item in items])
    return common if common.endswith("/") else common + "/"
