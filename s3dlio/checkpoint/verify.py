"""Whether checkpoints are whole: their manifests, the sizes of their shards, and their bytes or a share of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.commit import read_manifest
from s3dlio.checkpoint.manifest import Manifest, ShardMeta
from s3dlio.checkpoint.reader import CheckpointInfo
from s3dlio.checkpoint.shards import check_shard, looked_at
from s3dlio.errors import ConfigError, CorruptDataError, S3dlioError


class Verified(NamedTuple):
    """What was found of one checkpoint.

    Attributes:
        checkpoint: which.
        read: bytes of its shards that were read and compared with their checksums.
        damages: all that is wrong with it, an error with its URI for each object; empty: nothing was found.
    """

    checkpoint: CheckpointInfo
    read: int
    damages: list[S3dlioError]


def verify(base: Base, checkpoints: Sequence[CheckpointInfo], fraction: float = 1.0) -> Iterator[Verified]:
    """Look at every object of checkpoints, and read a share of their bytes. Memory is bounded, whatever their size.

    Args:
        base: where.
        checkpoints: which.
        fraction: at least this share of the bytes of them all is read: whole shards, drawn by chance. The others'
            sizes are compared. 0.0: only sizes.

    Raises:
        ConfigError: no fraction.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ConfigError(f"fraction={fraction}: the share of the bytes to read, from 0.0 to 1.0")
    manifests = [_manifest(base, each) for each in checkpoints]
    drawn = draw([shard for each in manifests if isinstance(each, Manifest) for shard in each.shards], fraction)
    for each, manifest in zip(checkpoints, manifests, strict=True):
        if isinstance(manifest, Manifest):
            yield _verified(base, each, manifest, drawn)
        else:
            yield Verified(each, 0, [manifest])


def _manifest(base: Base, checkpoint: CheckpointInfo) -> Manifest | S3dlioError:
    try:
        return read_manifest(base, checkpoint.manifest_key)
    except S3dlioError as error:
        return error


def _verified(base: Base, checkpoint: CheckpointInfo, manifest: Manifest, drawn: set[str]) -> Verified:
    damages: list[S3dlioError] = []
    read = 0
    if not checkpoint.is_complete:
        damages.append(CorruptDataError(
            f"the checkpoint is not complete but {manifest.status!r}", uri=base.uri(checkpoint.manifest_key)
        ))  # fmt: skip
    for shard in manifest.shards:
        try:
            if shard.key in drawn:
                check_shard(base, shard)
                read += shard.size
            else:
                looked_at(base, shard.key, shard.size)
        except S3dlioError as error:
            damages.append(error)
    return Verified(checkpoint, read, damages)


def draw(shards: Sequence[ShardMeta], fraction: float) -> set[str]:
    """The keys of the shards that are read: drawn by chance until they have this share of all bytes."""
    if fraction == 1.0:
        return {shard.key for shard in shards}
    left = fraction * sum(shard.size for shard in shards)
    drawn = set()
    for shard in random.sample(shards, len(shards)):
        if left <= 0:
            break
        drawn.add(shard.key)
        left -= shard.size
    return drawn
