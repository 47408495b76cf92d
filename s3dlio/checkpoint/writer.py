"""What one rank of a training does to save its part of a checkpoint, and rank 0 to make the whole of it visible."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s3dlio.checkpoint import commit
from s3dlio.checkpoint.arguments import checked_number, checked_text
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.layout import (
    Name,
    check_timestamp,
    named_by,
    rank_named,
    shard_folder,
    shard_key,
    strategy_named,
    timestamp_of,
)
from s3dlio.checkpoint.manifest import ShardMeta, checked_user_meta, missing_ranks, shard_of, shown_ranks
from s3dlio.checkpoint.shards import ShardStream, checked_level, described, looked_at, write_shard
from s3dlio.errors import AlreadyExistsError, ConfigError
from s3dlio.formats import build_npy
from s3dlio.types import Payload, PutOptions
from s3dlio.uri import URI
from s3dlio.verbs import batches

_SECONDS = 3600  # of names that may be taken


class CheckpointWriter:
    """One rank's part of checkpoints; ``CheckpointStore.writer()`` makes one.

    Args:
        base: where: a URI.
        world_size: how many ranks save together.
        rank: which of them this is, from 0 on.
        strategy, compression_level: see ``CheckpointStore``.
        timestamp: the second that names the checkpoint (``YYYYMMDD-HHMMSS``, UTC), where the ranks have agreed on one.
            Without it a rank joins the others: it takes the name under which they have begun to save this step.

    Raises:
        ConfigError: there is no such rank.
    """

    def __init__(
        self, base: Base | URI, world_size: int, rank: int, *, strategy: str | None = None,
        compression_level: int | None = None, timestamp: str | None = None,
    ) -> None:  # fmt: skip
        self.world_size = checked_number("world_size", world_size, least=1)
        self.rank = checked_number("rank", rank)
        if self.rank >= self.world_size:
            raise ConfigError(f"rank={rank}: a world_size of {world_size} has the ranks 0 to {self.world_size - 1}")
        self.timestamp = None if timestamp is None else check_timestamp(timestamp)
        self._base = Base.of(base)
        self._strategy = strategy_named(strategy)
        self._level = checked_level(compression_level)

    def __repr__(self) -> str:
        return f"CheckpointWriter({self._base!r}, world_size={self.world_size}, rank={self.rank})"

    def save_distributed_shard(self, step: int, epoch: int, framework: str, data: Payload) -> dict[str, Any]:
        """Store the bytes of this rank. The checkpoint is there when rank 0 has finalized it with what all ranks'
        calls returned.

        Args:
            step, epoch: of the training.
            framework: a word of the caller's (``torch``, ``jax``).
            data: the bytes of this rank.

        Returns:
            ``step``, ``timestamp``, ``rank``, ``key`` (relative to the base), ``size`` (as stored), ``etag``,
            ``checksum`` (of ``data``).

        Raises:
            AlreadyExistsError: this rank has saved a shard of that name; nothing was overwritten.
        """
        checked_number("epoch", epoch)
        checked_text("framework", framework)
        name, joined = self._name(step)
        for _ in range(_SECONDS):
            try:
                return described(write_shard(self._base, self._key(name), self.rank, data, self._level), name)
            except AlreadyExistsError:
                if self.timestamp is not None:
                    raise
                name = Name(name.step, timestamp_of(time.time())) if joined else name.next_second()
                joined = False
        raise AlreadyExistsError("all names for this shard are taken", uri=self._base.uri(self._key(name)))

    def get_distributed_shard_stream(self, step: int, epoch: int, framework: str) -> ShardStream:
        """As :meth:`save_distributed_shard`, for a shard that comes in pieces and may be larger than memory."""
        checked_text("framework", framework)
        epoch = checked_number("epoch", epoch)
        name, _ = self._name(step)
        return ShardStream(self._base, self._key(name), self.rank, self._level, name, epoch)

    def finalize_distributed_checkpoint(
        self, step: int, epoch: int, framework: str, shard_metas: Iterable[Mapping[str, Any]], user_meta: Any = None,
        *, make_latest: bool = False,
    ) -> str:  # fmt: skip
        """Make a checkpoint of the shards that all ranks have saved; rank 0 does that, when they have.

        Args:
            step, epoch, framework: as the ranks said.
            shard_metas: what :meth:`save_distributed_shard` or ``finalize`` of a stream returned to each rank.
            user_meta: anything that JSON can hold; it is kept in the manifest.
            make_latest: see :meth:`CheckpointStore.save`.

        Returns:
            The key of the manifest, relative to the base.

        Raises:
            ConfigError: this is not rank 0; a rank is missing, or there twice; a shard is of another step.
            ObjectNotFoundError, IntegrityError: a shard is not there as its rank said.
        """
        if self.rank != 0:
            raise ConfigError(
                f"rank {self.rank} cannot finalize a checkpoint: rank 0 does", uri=self._base.uri(),
                hint="send what save_distributed_shard returned to rank 0",
            )  # fmt: skip
        step = checked_number("step", step)
        shards, name = _gathered(self._base, step, self.world_size, shard_metas)
        attempt = commit.Attempt(
            self._base, name, epoch=checked_number("epoch", epoch), framework=checked_text("framework", framework),
            world_size=self.world_size, user_meta=checked_user_meta(user_meta), make_latest=make_latest,
            store_shards=lambda: seen(self._base, shards),
        )  # fmt: skip
        return commit.commit(attempt)

    def save_array(self, name: str, array: Any) -> str:
        """Store an array as an NPY object under a name, apart from checkpoints, in the place of an earlier one;
        ``CheckpointReader.load_array`` reads it. Returns its URI."""
        key = self._base.array_key(name)
        self._base.write(key, build_npy(array), PutOptions(durable=True))
        return self._base.uri(key)

    def _key(self, name: Name) -> str:
        return shard_key(self._strategy, name, self.rank, compressed=self._level is not None)

    def _name(self, step: int) -> tuple[Name, bool]:
        """The name that this rank's shard of a step gets, and whether other ranks have begun under it."""
        step = checked_number("step", step)
        if self.timestamp is not None:
            return Name(step, self.timestamp), False
        if self.world_size == 1:
            return free_name(self._base, self._strategy, step, compressed=self._level is not None), False
        return joined_name(self._base, self._strategy, step, self.rank, self.world_size)


def free_name(base: Base, strategy: str, step: int, *, compressed: bool) -> Name:
    """A name for a checkpoint of one rank that begins now and that no other has."""
    name = Name(step, timestamp_of(time.time()))
    while base.exists(shard_key(strategy, name, 0, compressed=compressed)):
        name = name.next_second()
    return name


def joined_name(base: Base, strategy: str, step: int, rank: int, world_size: int) -> tuple[Name, bool]:
    """The name under which other ranks have begun to save this step, without this rank and without a manifest; a new
    one where there is none.

    Ranks that begin at the same moment may not see each other: then their shards lie in folders of different seconds,
    which the manifest names.
    """
    begun: dict[str, set[int]] = {}
    folders = sorted({shard_folder(strategy, other) for other in range(min(world_size, 256))})
    for folder in folders:
        for key in base.names(f"{folder}ckpt-{step}-"):
            there, found = named_by(key.rpartition("/")[0]), rank_named(key)
            if there is not None and found is not None and there.step == step:
                begun.setdefault(there.timestamp, set()).add(found)
    now = Name(step, timestamp_of(time.time()))
    for timestamp in sorted(begun, reverse=True):
        name = Name(step, timestamp)
        if rank not in begun[timestamp] and max(begun[timestamp]) < world_size and not base.exists(name.manifest_key):
            return name, True
    while rank in begun.get(now.timestamp, ()):
        now = now.next_second()
    return now, False


def seen(base: Base, shards: Sequence[ShardMeta]) -> Sequence[ShardMeta]:
    """The shards, after a look at what the store has of each."""
    if len(shards) < 8:
        for shard in shards:
            looked_at(base, shard.key, shard.size)
        return shards
    told = batches.stat_many(base.session, [base.uri(shard.key) for shard in shards])
    for shard, found in zip(shards, told, strict=True):
        if found["size"] != shard.size:
            looked_at(base, shard.key, shard.size)
    return shards


def _gathered(
    base: Base, step: int, world_size: int, shard_metas: Iterable[Mapping[str, Any]]
) -> tuple[list[ShardMeta], Name]:
    """What the ranks say of their shards, and the name of the checkpoint: that of the rank which began last.

    Raises:
        ConfigError: a rank is missing, is there twice or is none; a shard is of another step.
    """
    if isinstance(shard_metas, Mapping):
        raise TypeError("shard_metas must be a list of what each rank returned, not one mapping")
    shards, names = [], []
    for told in shard_metas:
        shard = shard_of(told, base.uri())
        name = named_by(shard.key.rpartition("/")[0])
        if name is None or name.step != step:
            raise ConfigError(f"the shard {shard.key} of rank {shard.rank} is not of step {step}", uri=base.uri())
        shards.append(shard)
        names.append(name)
    ranks = [shard.rank for shard in shards]
    if missing := missing_ranks(set(ranks), world_size):
        raise ConfigError(
            f"Missing shards for some ranks. Expected: {shown_ranks(range(world_size))}, "
            f"Got: {shown_ranks(sorted(ranks))}", uri=base.uri(),
            hint=f"the ranks {missing} have to save their shards first",
        )  # fmt: skip
    if len(ranks) != world_size:
        raise ConfigError(f"there are {len(ranks)} shards, and a world_size of {world_size}", uri=base.uri())
    return shards, max(names)
