"""Checkpoints by functions: the forms of the Rust package and of its documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from s3dlio import api
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.contents import check_names
from s3dlio.checkpoint.discovery import found_shards
from s3dlio.checkpoint.layout import SHARDS
from s3dlio.checkpoint.reader import (
    CheckpointInfo,
    CheckpointReader,
    manifest_keys,
    next_step,
    read_manifests,
)
from s3dlio.checkpoint.shards import ShardStream, read_shard
from s3dlio.checkpoint.store import UNKNOWN, CheckpointStore
from s3dlio.checkpoint.writer import CheckpointWriter
from s3dlio.errors import ConfigError, IntegrityError, InvalidURIError, S3dlioError
from s3dlio.memory.crc32c import crc32c, format_crc32c
from s3dlio.memory.view import BytesView
from s3dlio.signatures import either
from s3dlio.types import Payload
from s3dlio.uri import URI, as_uri

_LEVEL = 3  # of ``compress=True``


def save_checkpoint(
    uri: URI, step: int | None = None, epoch: int = 0, framework: str = UNKNOWN, data: Payload = None,
    user_meta: Any = None, *, compress: bool | int | None = None, strategy: str | None = None,
    make_latest: bool = False,
) -> str:  # fmt: skip
    """Save a checkpoint of one rank below ``uri``; see :meth:`CheckpointStore.save`.

    Args:
        uri: the base.
        step, epoch, framework, data, user_meta, make_latest: see there; without a step: the next one.
        compress: with zstd: True (level 3), or a level.
        strategy: see :class:`CheckpointStore`.

    Returns:
        The key of the manifest, relative to the base.
    """
    level = _LEVEL if compress is True else compress or None
    store = CheckpointStore(uri, strategy, compression_level=level)
    return store.save(
        next_step(store.base) if step is None else step, epoch, framework, data, user_meta, make_latest=make_latest
    )


def load_checkpoint(uri: URI, *, step: int | None = None, verify: bool = True) -> BytesView | list[BytesView] | None:
    """The latest checkpoint below ``uri``, or that of a step; see :meth:`CheckpointStore.load_latest`."""
    store = CheckpointStore(uri)
    return store.load_latest(verify=verify) if step is None else store.load(step, verify=verify)


def save_distributed_shard(
    uri: URI, step: int | None = None, epoch: int = 0, framework: str = UNKNOWN, data: Payload = None,
    world_size: int | None = None, rank: int | None = None, *, shard_data: Payload = None,
    compress: bool | int | None = None, strategy: str | None = None, timestamp: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Save one rank's part of a checkpoint; see :meth:`CheckpointWriter.save_distributed_shard`.

    ``shard_data`` is another name of ``data``. Without a step it is the one after the last that was finalized.
    """
    data = either("data", data, "shard_data", shard_data)
    level = _LEVEL if compress is True else compress or None
    store = CheckpointStore(uri, strategy, compression_level=level)
    writer = store.writer(_given("world_size", world_size), _given("rank", rank), timestamp=timestamp)
    number = next_step(store.base) if step is None else step
    return writer.save_distributed_shard(number, epoch, framework, data)


def finalize_distributed_checkpoint(
    uri: URI | None = None, step: int | None = None, epoch: int = 0, framework: str = UNKNOWN,
    shard_metas: Iterable[Mapping[str, Any]] | None = None, world_size: int | None = None, rank: int = 0,
    user_meta: Any = None, *, base_uri: URI | None = None, make_latest: bool = False,
) -> str:  # fmt: skip
    """Make a checkpoint of all ranks' shards; see :meth:`CheckpointWriter.finalize_distributed_checkpoint`.

    Args:
        uri: the base; ``base_uri`` is another name of it.
        step, epoch, framework, user_meta, make_latest: see there; without a step: the one after the last that was
            finalized.
        shard_metas: what each rank's call returned. Without them, the newest shard of each rank is looked for, and read
            for its checksum.
        world_size, rank: as the ranks said.
    """
    store = CheckpointStore(either("uri", uri, "base_uri", base_uri))
    writer = store.writer(_given("world_size", world_size), rank)
    number = next_step(store.base) if step is None else step
    if shard_metas is None:
        shard_metas = found_shards(store.base, number, writer.world_size)
    return writer.finalize_distributed_checkpoint(
        number, epoch, framework, shard_metas, user_meta, make_latest=make_latest
    )


def load_checkpoint_with_validation_view(
    uri: URI, validate_integrity: bool | str = True, *, expected_checksum: str | None = None,
    expected_keys: Iterable[str] | None = None,
) -> BytesView:  # fmt: skip
    """The bytes of one shard, compared with the checksum of the manifest that names it; or of the latest checkpoint of
    one rank.

    Args:
        uri: of the shard (``<base>/shards/...``), or the base.
        validate_integrity: False: the object as it is stored, not compared with anything, not decompressed. A text is
            an ``expected_checksum``.
        expected_checksum: of the bytes, ``crc32c:xxxxxxxx``.
        expected_keys: names of arrays that must be in it: of a file of numpy, torch or safetensors.

    Raises:
        InvalidURIError: it is neither the URI of a shard nor the base of a checkpoint of one rank.
        ConfigError: no manifest names the shard; or the bytes are of no kind that has names.
        IntegrityError, CorruptDataError, ObjectNotFoundError: the shard is damaged or missing.
    """
    if isinstance(validate_integrity, str):
        expected_checksum, validate_integrity = validate_integrity, True
    text = as_uri(uri)
    data = _validated(text) if validate_integrity else api.get(text)
    if expected_checksum is not None and format_crc32c(crc32c(data)) != expected_checksum:
        raise IntegrityError(
            f"Integrity validation failed: expected {expected_checksum}, got {format_crc32c(crc32c(data))}", uri=text
        )
    if expected_keys is not None:
        check_names(data, expected_keys, text)
    return data


def _validated(uri: str) -> BytesView:
    before, separator, key = uri.rpartition(f"/{SHARDS}")
    if not separator:
        loaded = CheckpointStore(uri).load_latest()
        if isinstance(loaded, BytesView):
            return loaded
        what = "no checkpoint was saved here" if loaded is None else "the checkpoint has several ranks"
        raise InvalidURIError(
            f"cannot validate its integrity: {what}, and it is not a checkpoint shard URI (expected '<checkpoint "
            "base>/shards/<key>')", uri=uri, hint="pass validate_integrity=False to read an object unverified",
        )  # fmt: skip
    base = Base(api.default_client(), before)
    for manifest in reversed(read_manifests(base, manifest_keys(base)).values()):
        for shard in () if isinstance(manifest, S3dlioError) else manifest.shards:
            if shard.key == SHARDS + key:
                return read_shard(base, shard)
    raise ConfigError("no manifest names this shard, so it cannot be verified", uri=uri)


def load_checkpoint_with_validation(
    uri: URI, validate_integrity: bool | str = True, *, expected_checksum: str | None = None,
    expected_keys: Iterable[str] | None = None,
) -> bytes:  # fmt: skip
    """As :func:`load_checkpoint_with_validation_view`, copied to ``bytes``."""
    return load_checkpoint_with_validation_view(
        uri, validate_integrity, expected_checksum=expected_checksum, expected_keys=expected_keys
    ).to_bytes()


def create_checkpoint_writer(
    uri: URI, world_size: int = 1, rank: int = 0, *, strategy: str | None = None, compression_level: int | None = None
) -> CheckpointWriter:
    """What a rank saves with; the same as ``CheckpointStore(uri, ...).writer(world_size, rank)``."""
    return CheckpointStore(uri, strategy, compression_level=compression_level).writer(world_size, rank)


def create_checkpoint_reader(uri: URI) -> CheckpointReader:
    """Reads the checkpoints below ``uri``; the same as ``CheckpointStore(uri).reader()``."""
    return CheckpointStore(uri).reader()


def _given(name: str, value: int | None) -> int:
    if value is None:
        raise TypeError(f"{name} is missing")
    return value


PyCheckpointStore = CheckpointStore
PyCheckpointInfo = CheckpointInfo
PyCheckpointReader = CheckpointReader
PyCheckpointWriter = CheckpointWriter
PyCheckpointStream = ShardStream
