"""Reading checkpoints: which there are, and their bytes, verified."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from s3dlio.checkpoint import commit
from s3dlio.checkpoint.arguments import checked_number
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.layout import MANIFESTS, Name, named_by
from s3dlio.checkpoint.manifest import COMPLETE, Manifest, manifest_from, manifest_of
from s3dlio.checkpoint.shards import as_saved, iter_shard, read_shard
from s3dlio.errors import CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.formats import read_npy_bytes
from s3dlio.memory.view import BytesView
from s3dlio.records import Record
from s3dlio.uri import URI
from s3dlio.verbs import batches
from s3dlio.wording import either

if TYPE_CHECKING:
    import numpy.typing as npt

log = logging.getLogger("s3dlio.checkpoint")


class CheckpointInfo(Record):
    """What a listing tells of one checkpoint; sizes are those of the stored shards.

    ``status`` is that of the manifest, and ``damaged`` where the manifest cannot be read; ``error`` says why.
    """

    step: int
    epoch: int
    framework: str
    timestamp: str
    world_size: int
    total_size: int
    status: str
    manifest_key: str
    error: S3dlioError | None = None

    @property
    def size_mb(self) -> float:
        """``total_size`` in MiB."""
        return self.total_size / (1 << 20)

    @property
    def size_gb(self) -> float:
        """``total_size`` in GiB."""
        return self.total_size / (1 << 30)

    @property
    def is_complete(self) -> bool:
        return self.status == COMPLETE

    @property
    def is_single_rank(self) -> bool:
        return self.world_size == 1


def manifest_keys(base: Base, begin: str = MANIFESTS) -> list[str]:
    """The keys of all manifests (that begin so), the earliest first: by step, then by time."""
    found = ((named_by(key), key) for key in base.names(begin) if key.endswith(".json"))
    return [key for _, key in sorted((name, key) for name, key in found if name is not None)]


def read_manifests(base: Base, keys: list[str]) -> dict[str, Manifest | S3dlioError]:
    """The manifests of these keys, or why each cannot be read; those that are deleted meanwhile are left out."""
    read: dict[str, Manifest | S3dlioError] = {}
    outcomes = batches.get_many_outcomes(base.session, [base.uri(key) for key in keys]) if keys else []
    for key, (uri, data) in zip(keys, outcomes, strict=True):
        if isinstance(data, ObjectNotFoundError):
            continue
        if isinstance(data, BaseException):
            raise data
        read[key] = _outcome(bytes(data), uri)
    return read


def info_of(key: str, manifest: Manifest | S3dlioError) -> CheckpointInfo:
    """What a listing tells of a manifest."""
    name = named_by(key) or Name(0, "")
    if isinstance(manifest, S3dlioError):
        return CheckpointInfo(name.step, 0, "", name.timestamp, 0, 0, "damaged", key, manifest)
    return CheckpointInfo(
        step=manifest.global_step, epoch=manifest.epoch, framework=manifest.framework, timestamp=name.timestamp,
        world_size=manifest.world_size, total_size=manifest.total_size, status=manifest.status, manifest_key=key,
    )  # fmt: skip


def latest_key(base: Base) -> str | None:
    """The key of the manifest of the checkpoint that is loaded; None where there is no checkpoint.

    Without a pointer it is that of the highest step: its save died before there ever was one.

    Raises:
        CorruptDataError, UnsafeKeyError: the pointer is damaged.
    """
    pointer, _ = commit.read_pointer(base)
    if pointer is not None:
        return pointer.manifest_key
    keys = manifest_keys(base)
    return keys[-1] if keys else None


def _latest_file(base: Base) -> tuple[str, bytes] | None:
    """The manifest that the pointer leads to: its key and what is in it. One that is replaced and deleted before it is
    read is no error. Where it is not there, since its step was deleted while it was saved, the newest whole one.

    Raises:
        CorruptDataError, UnsafeKeyError: the pointer is damaged, or leads nowhere and there is no other checkpoint.
    """
    key = latest_key(base)
    while key is not None:
        try:
            return key, bytes(base.read(key)[0])
        except FileNotFoundError as error:
            if (newer := latest_key(base)) == key:
                return _newest_whole(base, key, error)
            key = newer
    return None


def _newest_whole(base: Base, missing: str, error: Exception) -> tuple[str, bytes]:
    """The last manifest that can be read, in place of a ``missing`` one that the pointer leads to."""
    for key in reversed(manifest_keys(base)):
        try:
            data = bytes(base.read(key)[0])
        except FileNotFoundError:
            continue
        found = _outcome(data, base.uri(key))
        if isinstance(found, Manifest) and found.status == COMPLETE:
            log.warning(
                "%s leads to %s, which is not there; %s is loaded in its place", base.uri("latest.json"), missing, key
            )
            return key, data
    raise CorruptDataError(
        f"the pointer leads to {missing}, which is not there, and there is no whole checkpoint",
        uri=base.uri("latest.json"), operation="GET",
        hint=f"{either('list()', 's3-cli checkpoint ls')} shows what there is",
    ) from error  # fmt: skip


def latest_manifest(base: Base) -> Manifest | None:
    """The manifest of the checkpoint that is loaded; None where there is none.

    Raises:
        CorruptDataError: the pointer leads nowhere, and there is no other checkpoint.
        and all that reading it raises.
    """
    found = _latest_file(base)
    return None if found is None else manifest_of(found[1], base.uri(found[0]))


def latest(base: Base) -> CheckpointInfo | None:
    """What a listing tells of the checkpoint that is loaded; None where there is none.

    Raises:
        CorruptDataError, UnsafeKeyError: the pointer is damaged, or leads nowhere, and there is no other checkpoint.
    """
    found = _latest_file(base)
    return None if found is None else info_of(found[0], _outcome(found[1], base.uri(found[0])))


def _outcome(data: bytes, uri: str) -> Manifest | S3dlioError:
    """A manifest, or why it cannot be read."""
    try:
        return manifest_of(data, uri)
    except S3dlioError as error:
        return error


def load_latest(base: Base, *, verify: bool = True) -> tuple[Manifest, list[BytesView]] | None:
    """The checkpoint that the pointer leads to: its manifest, and the bytes of all ranks; None where there is none.

    One that is replaced and deleted while it is read is no error: then the newer one is read.

    Raises:
        as of :func:`latest_manifest` and :func:`load`.
    """
    manifest = latest_manifest(base)
    while manifest is not None:
        try:
            return manifest, load(base, manifest, verify=verify)
        except FileNotFoundError:
            newer = latest_manifest(base)
            if newer == manifest:
                raise
            manifest = newer
    return None


def keys_of(base: Base, step: int) -> list[str]:
    """The keys of the manifests of a step, the last save at the end."""
    begin = f"{MANIFESTS}ckpt-{checked_number('step', step)}-"
    return [key for key in manifest_keys(base, begin) if key.startswith(begin)]


def required(base: Base, step: int | None = None) -> Manifest:
    """The manifest of a step's last save, or of the checkpoint that is loaded.

    Raises:
        ObjectNotFoundError: there is none.
        and all that reading it raises.
    """
    if step is None:
        manifest = latest_manifest(base)
        if manifest is None:
            raise ObjectNotFoundError("no checkpoint was saved here", uri=base.uri(), operation="GET")
        return manifest
    keys = keys_of(base, step)
    if not keys:
        raise ObjectNotFoundError(f"there is no checkpoint of step {step}", uri=base.uri(), operation="GET")
    return commit.read_manifest(base, keys[-1])


def next_step(base: Base) -> int:
    """The step after the highest that was saved."""
    keys = manifest_keys(base)
    name = named_by(keys[-1]) if keys else None
    return 0 if name is None else name.step + 1


def load(base: Base, manifest: Manifest, *, verify: bool = True) -> list[BytesView]:
    """The bytes of all ranks, in their order.

    Raises:
        CorruptDataError: the checkpoint is not complete.
        ObjectNotFoundError, IntegrityError, CorruptDataError: a shard is missing or damaged.
    """
    if manifest.status != COMPLETE:
        raise CorruptDataError(f"the checkpoint is not complete but {manifest.status!r}", uri=base.uri())
    shards = sorted(manifest.shards, key=lambda shard: shard.rank)
    if len(shards) == 1:
        return [read_shard(base, shards[0], verify=verify)]
    loaded = []
    stored = batches.get_many_outcomes(base.session, [base.uri(shard.key) for shard in shards])
    for shard, (_, data) in zip(shards, stored, strict=True):
        if isinstance(data, BaseException):
            raise data
        loaded.append(as_saved(base, shard, data, verify=verify))
    return loaded


class CheckpointReader:
    """Reads the checkpoints below a URI, shard by shard; ``CheckpointStore.reader()`` makes one."""

    def __init__(self, base: Base | URI) -> None:
        self._base = Base.of(base)

    def __repr__(self) -> str:
        return f"CheckpointReader({self._base!r})"

    def load_latest_manifest(self) -> dict[str, Any] | None:
        """The manifest of the checkpoint that :meth:`CheckpointStore.load_latest` loads; None where there is none."""
        manifest = latest_manifest(self._base)
        return None if manifest is None else manifest.as_dict()

    def read_shard_by_rank(self, manifest: Manifest | Mapping[str, Any], rank: int) -> BytesView:
        """The bytes of one rank, verified.

        Args:
            manifest: what :meth:`load_latest_manifest` returned.
            rank: whose.

        Raises:
            ConfigError: the checkpoint has no such rank.
            ObjectNotFoundError, IntegrityError, CorruptDataError: the shard is missing or damaged.
        """
        return read_shard(self._base, as_manifest(manifest, self._base).shard(rank))

    def iter_shard(self, manifest: Manifest | Mapping[str, Any], rank: int) -> Iterator[BytesView]:
        """As :meth:`read_shard_by_rank`, piece by piece, for a shard that may be larger than memory.

        What was given out is verified when the last piece has been taken: an error then says that all of it is worth
        nothing.
        """
        return iter_shard(self._base, as_manifest(manifest, self._base).shard(rank))

    def load_array(self, name: str) -> npt.NDArray[Any]:
        """The array that ``CheckpointWriter.save_array`` stored under this name.

        Raises:
            ObjectNotFoundError: there is none.
            CorruptDataError: it is damaged.
        """
        key = self._base.array_key(name)
        data, _ = self._base.read(key)
        try:
            return read_npy_bytes(data)
        except S3dlioError as error:
            error.locate(self._base.uri(key), "GET")
            raise


def as_manifest(manifest: Manifest | Mapping[str, Any], base: Base) -> Manifest:
    """A manifest, given as one or as its dictionary.

    Raises:
        CorruptDataError, UnsafeKeyError: it cannot be one.
    """
    if isinstance(manifest, Manifest):
        return manifest
    if not isinstance(manifest, Mapping):
        raise TypeError(f"a manifest is a dictionary, not a {type(manifest).__name__}")
    return manifest_from(manifest, base.uri())
