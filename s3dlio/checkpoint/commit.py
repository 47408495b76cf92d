"""How a checkpoint becomes the one that is loaded, so that no crash leaves half of one.

1. ``shards``: all shards are durable (on the disk; acknowledged by the service), and what the store has of them is as
   large as was written, with the same checksum where the store tells one.
2. ``manifest``: it appears whole, create-only, with the sizes and checksums of the shards.
3. ``pointer``: ``latest.json`` is replaced, under the condition that nobody else has replaced it meanwhile, and never
   by a lower step unless that was asked for.

Before the last step has ended, the checkpoint before is what a load gives; after it, this one. A writer that dies
leaves objects that no pointer leads to; they are never written again, since all but the pointer are created only.
Deleting goes the other way round: the pointer leads elsewhere first, then the manifest goes, then the shards.

Conditional writes whose answers got lost are settled by the random mark that each carries
(``stores.cloud.write_outcome``), and are sent again where two writes met.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from s3dlio.checkpoint.base import NEW, Base
from s3dlio.checkpoint.create_only import create
from s3dlio.checkpoint.layout import MANIFESTS, POINTER, Name, named_by
from s3dlio.checkpoint.lock import Section, alone
from s3dlio.checkpoint.manifest import FORMAT_VERSION, Manifest, Pointer, ShardMeta, manifest_of, now, pointer_of
from s3dlio.errors import (
    AlreadyExistsError,
    CorruptDataError,
    OutcomeUnknownError,
    PreconditionFailedError,
    UnsafeKeyError,
    UnsupportedOperationError,
)
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import Conditions, PutOptions
from s3dlio.wording import either

log = logging.getLogger("s3dlio.checkpoint")

_TRIES = 20  # of a pointer that others replace at the same time
_SECONDS = 3600  # of names that may be taken


class Attempt:
    """One checkpoint on its way.

    Args:
        base: where.
        name: its step, and the second in which it began.
        epoch, framework, user_meta: what the manifest says of it.
        world_size: how many shards it has.
        store_shards: makes them durable, looks at them, and tells of each.
        make_latest: it becomes the one that is loaded even if its step is lower than that one's.
    """

    def __init__(
        self, base: Base, name: Name, *, epoch: int, framework: str, world_size: int, user_meta: Any,
        store_shards: Callable[[], Sequence[ShardMeta]], make_latest: bool = False,
    ) -> None:  # fmt: skip
        self.base = base
        self.name = name
        self.epoch = epoch
        self.framework = framework
        self.world_size = world_size
        self.user_meta = user_meta
        self.make_latest = make_latest
        self.store_shards = store_shards
        self.shards: Sequence[ShardMeta] = ()


def _shards(attempt: Attempt) -> None:
    attempt.shards = sorted(attempt.store_shards(), key=lambda shard: shard.rank)
    attempt.base.sync_above([shard.key for shard in attempt.shards] + [MANIFESTS])


def _manifest(attempt: Attempt) -> None:
    manifest = Manifest(
        format_version=FORMAT_VERSION, framework=attempt.framework, global_step=attempt.name.step,
        epoch=attempt.epoch, wall_time=now(), world_size=attempt.world_size, shards=tuple(attempt.shards),
        user_meta=attempt.user_meta,
    )  # fmt: skip
    data = manifest.to_bytes()
    manifest_of(data, attempt.base.uri(attempt.name.manifest_key))  # what could not be read is not written
    for _ in range(_SECONDS):
        try:
            create(attempt.base.store, attempt.base.key(attempt.name.manifest_key), data)
            return
        except AlreadyExistsError:
            if _is_of(attempt):
                return  # this very checkpoint is finalized already
            attempt.name = attempt.name.next_second()
    raise AlreadyExistsError("all names for this checkpoint are taken", uri=attempt.base.uri(MANIFESTS))


def _is_of(attempt: Attempt) -> bool:
    """Whether the manifest that has the name of ``attempt`` is of the same shards."""
    found = read_manifest(attempt.base, attempt.name.manifest_key)
    return [shard.key for shard in found.shards] == [shard.key for shard in attempt.shards]


def _pointer(attempt: Attempt) -> None:
    point_to(attempt.base, attempt.name, lambda there: attempt.make_latest or there.name <= attempt.name)


#: The steps of a commit, in their order. A test may stop between two of them.
STEPS: list[tuple[str, Callable[[Attempt], None]]] = [
    ("shards", _shards), ("manifest", _manifest), ("pointer", _pointer)
]  # fmt: skip


def commit(attempt: Attempt) -> str:
    """Do all steps; returns the key of the manifest, relative to the base.

    Raises:
        S3dlioError: a step failed. The checkpoint before is what a load gives, unless it was the last step's reply that
            got lost.
    """
    for _, step in STEPS:
        step(attempt)
    return attempt.name.manifest_key


# -- the pointer


def read_manifest(base: Base, key: str) -> Manifest:
    """One manifest.

    Raises:
        ObjectNotFoundError, CorruptDataError, IntegrityError, UnsafeKeyError, UnsupportedOperationError.
    """
    data, _ = base.read(key)
    return manifest_of(bytes(data), base.uri(key))


def read_pointer(base: Base) -> tuple[Pointer | None, str | None]:
    """Which checkpoint is loaded, and the ETag of the pointer; None where there is no pointer.

    Raises:
        CorruptDataError, UnsafeKeyError: it is damaged.
    """
    try:
        data, metadata = base.read(POINTER)
    except FileNotFoundError:
        return None, None
    return pointer_of(bytes(data), base.uri(POINTER)), metadata.etag


def point_to(base: Base, name: Name, may_replace: Callable[[Pointer], bool]) -> bool:
    """Have the pointer lead to a checkpoint; whether it does now.

    Args:
        base: where.
        name: which.
        may_replace: whether it may leave the one that it leads to.

    Raises:
        PreconditionFailedError: others replaced it all the time.
        TransferTimeoutError: another process has the directory locked.
    """
    data = _pointer_to(name)
    refused = None
    with _alone(base) as section:
        for attempt in range(_TRIES):
            written = len(section.written)
            there, etag = _current(base)
            if there is not None and there.name == name:
                return True
            if there is not None and not may_replace(there):
                log.info("%s stays at %s, not %s", base.uri(POINTER), there.name, name)
                return False
            if etag is not None and etag == refused:
                # It has the ETag that it was refused for: the store's If-Match means something else.
                log.warning("%s: the store refuses If-Match with its own ETag; replaced without it", base.uri(POINTER))
                base.write(POINTER, data, PutOptions())
                return True
            try:
                _replace(base, data, etag, there=there is not None or etag is not None)
                return _stays(base, name, section, written)
            except OutcomeUnknownError as error:  # it was replaced since, or never written: another look tells
                log.info("%s: %s", base.uri(POINTER), error.reason)
            except (PreconditionFailedError, AlreadyExistsError, FileNotFoundError):
                refused = etag
                log.info("%s: another writer was quicker; attempt %d", base.uri(POINTER), attempt + 1)
    raise PreconditionFailedError(
        "other writers replaced the pointer all the time", uri=base.uri(POINTER), operation="PUT",
        hint=f"the checkpoint itself is whole: {either('list()', 's3-cli checkpoint ls')} shows it",
    )  # fmt: skip


def _stays(base: Base, name: Name, section: Section, written: int) -> bool:
    """Whether the pointer leads to ``name``, now that it was written so. Where a call that interrupted this one has led
    a file further since this one looked at it, that is done again."""
    meanwhile = section.written[written:]
    if meanwhile and meanwhile[-1] > name:
        _replace(base, _pointer_to(meanwhile[-1]), None, there=True)
        return False
    section.written.append(name)
    return True


def _pointer_to(name: Name) -> bytes:
    return Pointer(name.manifest_key, name.step, name.timestamp).to_bytes()


def _current(base: Base) -> tuple[Pointer | None, str | None]:
    """As :func:`read_pointer`; one that cannot be read is replaced, since it leads nowhere."""
    try:
        return read_pointer(base)
    except (CorruptDataError, UnsafeKeyError) as error:
        log.warning("the pointer is replaced: %s", error)
        return None, base.head(POINTER).etag


def _replace(base: Base, data: bytes, etag: str | None, *, there: bool) -> None:
    """Write the pointer: if it still has this ETag, as far as the store tells one; if there is none."""
    if isinstance(base.store, LocalStore):  # whoever else would write waits for the lock
        base.write(POINTER, data, PutOptions(durable=True))
        return
    if not there:
        base.write(POINTER, data, NEW)
        return
    try:
        base.write(POINTER, data, PutOptions(conditions=Conditions(if_match=etag)))  # None: of a store without ETags
    except UnsupportedOperationError:
        log.info("%s: the store replaces objects without conditions only", base.uri(POINTER))
        base.write(POINTER, data, PutOptions())


def _alone(base: Base) -> contextlib.AbstractContextManager[Section]:
    """For files: other processes that replace the pointer wait meanwhile."""
    return alone(base.prefix) if isinstance(base.store, LocalStore) else contextlib.nullcontext(Section())


# -- deleting


class Deletion:
    """Checkpoints on their way out.

    Args:
        base: where.
        gone: the manifests of those that go, by their keys; None where one cannot be read.
        left: those that stay.
    """

    def __init__(self, base: Base, gone: dict[str, Manifest | None], left: dict[str, Manifest | None]) -> None:
        self.base = base
        self.gone = gone
        self.left = left


def _lead_elsewhere(deletion: Deletion) -> None:
    """Where the pointer leads to what goes, lead it to the highest that stays; remove it where nothing stays.

    Others may delete that one meanwhile. Either they see the pointer when its manifest is gone, or this sees that.
    """
    base, gone = deletion.base, set(deletion.gone)
    for _ in range(_TRIES):
        pointer, _etag = _current(base)
        if pointer is None or pointer.manifest_key not in gone:
            return  # a damaged one leads nowhere
        if not (names := _left(deletion)):
            _remove_pointer(base, gone)
            return
        point_to(base, max(names), lambda there: there.manifest_key in gone)
        if base.exists(max(names).manifest_key):
            return
        gone.add(max(names).manifest_key)


def _left(deletion: Deletion) -> list[Name]:
    """The checkpoints that the pointer may lead to: those that are there now, since others delete and save, too."""
    damaged = {key for key, found in deletion.left.items() if found is None}
    keys = {key for key in deletion.base.names(MANIFESTS) if key.endswith(".json")} - damaged - deletion.gone.keys()
    return [name for key in keys if (name := named_by(key))]


def _remove_pointer(base: Base, gone: set[str]) -> None:
    """Remove the pointer, if it leads to what goes; one that replaces it meanwhile stays."""
    key = base.key(POINTER)
    with _alone(base):
        pointer, etag = _current(base)
        if pointer is None or pointer.manifest_key not in gone:
            return
        if not isinstance(base.store, LocalStore) and etag is not None:
            try:
                base.store.execute(base.store.delete_call(key, if_match=etag))
                return
            except PreconditionFailedError:
                return
            except UnsupportedOperationError:
                log.info("%s: the store deletes objects without conditions only", base.uri(POINTER))
        base.store.delete(key)
        base.sync("")


def _remove_manifests(deletion: Deletion) -> None:
    for key in deletion.gone:
        deletion.base.delete(key)
    deletion.base.sync(MANIFESTS)


def _remove_shards(deletion: Deletion) -> None:
    kept = {shard.key for found in deletion.left.values() if found for shard in found.shards}
    keys = [shard.key for found in deletion.gone.values() if found for shard in found.shards]
    base = deletion.base
    for key, error in base.store.delete_many(base.key(key) for key in keys if key not in kept):
        error.locate(base.store.uri(key), "DELETE")
        raise error
    if isinstance(base.store, LocalStore):
        for folder in {key.rpartition("/")[0] for key in keys}:
            with contextlib.suppress(OSError):  # others' shards are in it
                os.rmdir(base.key(folder))


#: The steps of a deletion, in their order.
DELETE_STEPS: list[tuple[str, Callable[[Deletion], None]]] = [
    ("pointer", _lead_elsewhere),
    ("manifests", _remove_manifests),
    ("pointer again", _lead_elsewhere),  # somebody who deletes others may have led it here meanwhile
    ("shards", _remove_shards),
]


def delete(deletion: Deletion) -> None:
    """Do all steps of a deletion."""
    for _, step in DELETE_STEPS:
        step(deletion)
