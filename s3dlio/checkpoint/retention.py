"""Which checkpoints stay: the last N steps, every Kth step, and always the latest; and how the others go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from s3dlio.checkpoint import commit
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.manifest import Manifest
from s3dlio.checkpoint.reader import CheckpointInfo, info_of, latest_key, manifest_keys, read_manifests
from s3dlio.checkpoint.verify import verify
from s3dlio.errors import ConfigError, S3dlioError

_log = logging.getLogger("s3dlio.checkpoint")


class Pruned(NamedTuple):
    """What a prune has kept and deleted, or would; each by step and time."""

    kept: list[CheckpointInfo]
    deleted: list[CheckpointInfo]


def prune(base: Base, *, keep_last: int | None = None, keep_every: int | None = None, dry_run: bool = False) -> Pruned:
    """Delete the checkpoints that need not stay, the oldest first.

    Nothing is deleted while an object of the latest is missing or has another size than its manifest says.

    Args:
        base: where.
        keep_last: keep the N highest steps.
        keep_every: keep every step that K divides.
        dry_run: delete nothing; only say what would be deleted.

    Raises:
        ConfigError: nothing says what to keep.
        S3dlioError: the latest checkpoint is damaged; or something could not be deleted.
    """
    _check(keep_last, keep_every)
    latest = latest_key(base)
    read = read_manifests(base, manifest_keys(base))
    result = divide([info_of(key, found) for key, found in read.items()], latest, keep_last, keep_every)
    if dry_run or not result.deleted:
        return result
    for seen in verify(base, [each for each in result.kept if each.manifest_key == latest], 0.0):
        for damage in seen.damages:
            damage.hint = "the latest checkpoint is damaged: nothing is deleted, since an older one may be needed"
            raise damage
    for each in result.deleted:
        _remove(base, [each.manifest_key], read)
        _log.info("deleted the checkpoint of step %d: %s", each.step, base.uri(each.manifest_key))
    return result


def _check(keep_last: int | None, keep_every: int | None) -> None:
    if keep_last is not None and keep_last < 0:
        raise ConfigError(f"keep_last={keep_last}: how many steps to keep, 0 or more")
    if keep_every is not None and keep_every < 1:
        raise ConfigError(f"keep_every={keep_every}: a step stays if this divides it, so 1 or more")
    if not keep_last and keep_every is None:
        raise ConfigError("nothing says what to keep", hint="give keep_last, keep_every, or both")


def divide(
    found: Sequence[CheckpointInfo], latest: str | None, keep_last: int | None, keep_every: int | None
) -> Pruned:
    """Which of the checkpoints stay. Those of one step stay or go together.

    What cannot be read, or is not complete, stays and does not count: a later release may be able to read it.

    Args:
        found: all there are.
        latest: the key of the manifest of the latest, which always stays; None: there is none.
        keep_last: the N highest steps stay.
        keep_every: a step that this divides stays.
    """
    steps = sorted({each.step for each in found if each.is_complete})
    last = set(steps[-keep_last:]) if keep_last else set()
    kept: list[CheckpointInfo] = []
    deleted: list[CheckpointInfo] = []
    for each in found:
        chosen = each.step in last or (keep_every is not None and each.step % keep_every == 0)
        stays = chosen or not each.is_complete or each.manifest_key == latest
        (kept if stays else deleted).append(each)
    return Pruned(kept, deleted)


def remove(base: Base, keys: Iterable[str]) -> None:
    """Delete the checkpoints of these manifests: first what leads to them, then their shards. If one of them was the
    latest, the highest step that is left becomes the latest.

    Raises:
        S3dlioError: something could not be deleted.
    """
    if gone := list(keys):
        _remove(base, gone, read_manifests(base, manifest_keys(base)))


def _remove(base: Base, keys: Sequence[str], read: dict[str, Manifest | S3dlioError]) -> None:
    """Delete some of the checkpoints that were read, and drop them from these."""
    gone = {key: read.pop(key, None) for key in keys}
    commit.delete(commit.Deletion(base, _readable(gone), _readable(read)))


def _readable(read: Mapping[str, Manifest | S3dlioError | None]) -> dict[str, Manifest | None]:
    return {key: None if isinstance(found, S3dlioError) else found for key, found in read.items()}
