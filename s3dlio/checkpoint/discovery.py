"""Shards that were saved and not finalized, found by their names."""

from __future__ import annotations

from typing import Any

from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.layout import SHARDS, named_by, rank_named
from s3dlio.checkpoint.manifest import ShardMeta, missing_ranks
from s3dlio.checkpoint.shards import described, iter_shard
from s3dlio.errors import ConfigError
from s3dlio.memory.crc32c import crc32c, format_crc32c


def found_shards(base: Base, step: int, world_size: int) -> list[dict[str, Any]]:
    """The newest shard of each rank of a step, as its rank would have described it. Each is read for its checksum.

    Raises:
        ConfigError: a rank has none.
    """
    newest: dict[int, tuple[str, str]] = {}
    for key in base.names(SHARDS):
        name, rank = named_by(key.rpartition("/")[0]), rank_named(key)
        if name is not None and name.step == step and rank is not None and rank < world_size:
            newest[rank] = max(newest.get(rank, ("", "")), (name.timestamp, key))
    if missing := missing_ranks(newest, world_size):
        raise ConfigError(
            f"Missing shards for some ranks of step {step}: {missing}", uri=base.uri(),
            hint="they have to save their shards first",
        )  # fmt: skip
    return [_described(base, rank, newest[rank][1]) for rank in range(world_size)]


def _described(base: Base, rank: int, key: str) -> dict[str, Any]:
    about = base.head(key)
    shard = ShardMeta(rank, key, about.size, about.etag)
    crc = 0
    for piece in iter_shard(base, shard, verify=False):
        crc = crc32c(piece, crc)
    name = named_by(key.rpartition("/")[0])
    assert name is not None
    return described(ShardMeta(rank, key, about.size, about.etag, format_crc32c(crc)), name)
