"""Checkpoints by functions: the forms of the Rust package and of its documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from s3dlio.checkpoint.layout import SHARDS
from s3dlio.checkpoint.reader import CheckpointInfo, CheckpointReader, manifest_keys, read_manifests
from s3dlio.checkpoint.shards import ShardStream, read_shard
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.checkpoint.writer import CheckpointWriter
from s3dlio.errors import ConfigError, InvalidURIError, S3dlioError
from s3dlio.memory.view import BytesView
from s3dlio.types import Payload
from s3dlio.uri import URI, as_uri


def save_checkpoint(
    uri: URI, step: int, epoch: int, framework: str, data: Payload, user_meta: Any = None
) -> str:
    """Save a checkpoint of one rank below ``uri``; see :meth:`CheckpointStore.save`."""
    return CheckpointStore(uri).save(step, epoch, framework, data, user_meta)


def load_checkpoint(uri: URI) -> BytesView | list[BytesView] | None:
    """The latest checkpoint below ``uri``; see :meth:`CheckpointStore.load_latest`."""
    return CheckpointStore(uri).load_latest()


def save_distributed_shard(
    uri: URI, step: int, epoch: int, framework: str, data: Payload, world_size: int, rank: int
) -> dict[str, Any]:
    """Save one rank's part of a checkpoint; see :meth:`CheckpointWriter.save_distributed_shard`."""
    return CheckpointStore(uri).writer(world_size, rank).save_distributed_shard(step, epoch, framework, data)


def finalize_distributed_checkpoint(
    uri: URI, step: int, epoch: int, framework: str, shard_metas: Iterable[Mapping[str, Any]], world_size: int,
    rank: int = 0, user_meta: Any = None,
) -> str:  # fmt: skip
    """Make a checkpoint of all ranks' shards; see :meth:`CheckpointWriter.finalize_distributed_checkpoint`."""
    writer = CheckpointStore(uri).writer(world_size, rank)
    return writer.finalize_distributed_checkpoint(step, epoch, framework, shard_metas, user_meta)


def load_checkpoint_with_validation_view(uri: URI, validate_integrity: bool = True) -> BytesView:
    """The bytes of one shard, compared with the checksum of the manifest that names it.

    Args:
        uri: of the shard: ``<base>/shards/...``.
        validate_integrity: False: the object as it is stored, not compared with anything, not decompressed.

    Raises:
        ConfigError: it is no URI of a shard, or no manifest names it.
        IntegrityError, CorruptDataError, ObjectNotFoundError: the shard is damaged or missing.
    """
    text = as_uri(uri)
    if not validate_integrity:
        from s3dlio import api

        return api.get(text)
    before, separator, key = text.rpartition(f"/{SHARDS}")
    if not separator:
        raise InvalidURIError(
            "cannot validate its integrity: not a checkpoint shard URI (expected '<checkpoint base>/shards/<key>')",
            uri=text, hint="pass validate_integrity=False to read it unverified",
        )  # fmt: skip
    base = CheckpointStore(before)._base
    for manifest in reversed(read_manifests(base, manifest_keys(base)).values()):
        if isinstance(manifest, S3dlioError):
            continue
        for shard in manifest.shards:
            if shard.key == SHARDS + key:
                return read_shard(base, shard)
    raise ConfigError("no manifest names this shard, so it cannot be verified", uri=text)


def load_checkpoint_with_validation(uri: URI, validate_integrity: bool = True) -> bytes:
    """As :func:`load_checkpoint_with_validation_view`, copied to ``bytes``."""
    return load_checkpoint_with_validation_view(uri, validate_integrity).to_bytes()


PyCheckpointStore = CheckpointStore
PyCheckpointInfo = CheckpointInfo
PyCheckpointReader = CheckpointReader
PyCheckpointWriter = CheckpointWriter
PyCheckpointStream = ShardStream
