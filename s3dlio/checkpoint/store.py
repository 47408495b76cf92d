"""Checkpoints of a training below one URI: saved whole, found again after any crash."""

from __future__ import annotations

import builtins
from typing import Any

from s3dlio import api
from s3dlio.checkpoint import commit
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.layout import shard_key, strategy_named
from s3dlio.checkpoint.manifest import Manifest, checked_user_meta
from s3dlio.checkpoint.reader import (
    CheckpointInfo,
    CheckpointReader,
    info_of,
    latest_manifest,
    load,
    manifest_keys,
    read_manifests,
)
from s3dlio.checkpoint.shards import checked_level, write_shard
from s3dlio.checkpoint.writer import CheckpointWriter, checked_number, checked_text, free_name
from s3dlio.client import Client
from s3dlio.config.sizes import parse_size
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError, S3dlioError
from s3dlio.memory.sources import as_memory
from s3dlio.memory.view import BytesView
from s3dlio.types import Payload
from s3dlio.uri import URI

_SECONDS = 3600  # of names that may be taken


class CheckpointStore:
    """The checkpoints below one URI.

    Args:
        uri: the base, on any store.
        strategy: ``flat``, ``round_robin`` or ``binary``: how shards are spread over prefixes.
        multipart_threshold: from this size on (bytes, or ``"64MiB"``) shards go to a cloud in parts.
        compression_level: of zstd, 1 to 22; None: shards are stored as they are.
        client: whose settings and credentials; default: those of the package's functions.

    Raises:
        ConfigError: there is no such strategy or level.
    """

    def __init__(
        self, uri: URI, strategy: str | None = None, multipart_threshold: int | str | None = None,
        compression_level: int | None = None, *, client: Session | None = None,
    ) -> None:  # fmt: skip
        self.strategy = strategy_named(strategy)
        self.compression_level = checked_level(compression_level)
        session = client if client is not None else api.default_client()
        if multipart_threshold is not None:
            threshold = parse_size(multipart_threshold, name="multipart_threshold", minimum=1)
            session = Client(session.settings, multipart={"threshold": threshold})
        self._base = Base(session, uri)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r}, strategy={self.strategy!r})"

    # -- saving

    def save(
        self, step: int, epoch: int, framework: str, data: Payload, user_meta: Any = None, *, make_latest: bool = False
    ) -> str:
        """Save a checkpoint of one rank: when this returns, it is durable, and what :meth:`load_latest` gives.

        Args:
            step, epoch: of the training. A step that was saved before is saved beside it.
            framework: a word of the caller's (``torch``, ``jax``).
            data: the bytes.
            user_meta: anything that JSON can hold; it is kept in the manifest.
            make_latest: it becomes the latest even if that has a higher step.

        Returns:
            The key of the manifest, relative to the base.

        Raises:
            ConfigError, TypeError: an argument cannot be; nothing was written.
            S3dlioError: it could not be stored; the latest checkpoint is the one before.
        """
        base, level = self._base, self.compression_level
        view = as_memory(data)
        attempt = commit.Attempt(
            base, free_name(base, self.strategy, checked_number("step", step), compressed=level is not None),
            epoch=checked_number("epoch", epoch), framework=checked_text("framework", framework), world_size=1,
            user_meta=checked_user_meta(user_meta), make_latest=make_latest, store_shards=lambda: shards(),
        )  # fmt: skip

        def shards() -> builtins.list[Any]:
            for _ in range(_SECONDS):
                try:
                    key = shard_key(self.strategy, attempt.name, 0, compressed=level is not None)
                    return [write_shard(base, key, 0, view, level)]
                except AlreadyExistsError:  # another process saves this step in this second
                    attempt.name = attempt.name.next_second()
            raise AlreadyExistsError("all names for this checkpoint are taken", uri=base.uri())

        return commit.commit(attempt)

    def writer(self, world_size: int, rank: int, *, timestamp: str | None = None) -> CheckpointWriter:
        """What rank ``rank`` of ``world_size`` saves its shards with; see :class:`CheckpointWriter`."""
        return CheckpointWriter(self._base, self.strategy, self.compression_level, world_size, rank, timestamp)

    # -- loading

    def load_latest(self, *, verify: bool = True) -> BytesView | builtins.list[BytesView] | None:
        """The bytes of the latest checkpoint: of one rank as a view, of several as a list of views by rank; None where
        nothing was saved.

        Args:
            verify: compare the checksums of the shards with the manifest.

        Raises:
            CorruptDataError, IntegrityError, ObjectNotFoundError: it is damaged; ``list`` shows the others.
        """
        manifest = latest_manifest(self._base)
        return None if manifest is None else self._load(manifest, verify)

    def load(self, step: int | None = None, *, verify: bool = True) -> BytesView | builtins.list[BytesView] | None:
        """As :meth:`load_latest`, of one step: of its last save.

        Raises:
            ObjectNotFoundError: no checkpoint of that step was saved.
        """
        return self.load_latest(verify=verify) if step is None else self._load(self.manifest(step), verify)

    def _load(self, manifest: Manifest, verify: bool) -> BytesView | builtins.list[BytesView]:
        views = load(self._base, manifest, verify=verify)
        return views[0] if manifest.world_size == 1 else views

    def reader(self) -> CheckpointReader:
        """Reads manifests and single shards."""
        return CheckpointReader(self._base)

    # -- what there is

    def list_checkpoints(self) -> builtins.list[CheckpointInfo]:
        """All checkpoints, by step and time; those whose manifest is damaged have that status."""
        read = read_manifests(self._base, manifest_keys(self._base))
        return [info_of(key, found) for key, found in read.items()]

    list = list_checkpoints

    def manifest(self, which: int | CheckpointInfo | None = None) -> Manifest:
        """The manifest of a checkpoint: of a step's last save, of an entry of :meth:`list`, or of the latest.

        Raises:
            ObjectNotFoundError: there is none.
            CorruptDataError, IntegrityError: it is damaged.
        """
        if which is None:
            manifest = latest_manifest(self._base)
            if manifest is None:
                raise ObjectNotFoundError("nothing was saved here", uri=self._base.uri())
            return manifest
        if isinstance(which, CheckpointInfo):
            return commit.read_manifest(self._base, which.manifest_key)
        keys = self._keys_of(checked_number("step", which))
        if not keys:
            raise ObjectNotFoundError(f"there is no checkpoint of step {which}", uri=self._base.uri())
        return commit.read_manifest(self._base, keys[-1])

    def _keys_of(self, step: int) -> builtins.list[str]:
        return [key for key in manifest_keys(self._base) if key.startswith(f"manifests/ckpt-{step}-")]

    def delete_checkpoint(self, step: int) -> bool:
        """Delete all saves of a step: first what leads to them, then their shards. If it was the latest, the highest
        step that is left becomes the latest.

        Returns:
            Whether there was one.
        """
        keys = self._keys_of(checked_number("step", step))
        self._delete(keys)
        return bool(keys)

    def delete(self, *infos: CheckpointInfo) -> None:
        """Delete these entries of :meth:`list`, as :meth:`delete_checkpoint` does."""
        self._delete([info.manifest_key for info in infos])

    def _delete(self, keys: builtins.list[str]) -> None:
        if not keys:
            return
        read = read_manifests(self._base, manifest_keys(self._base))
        whole = {key: None if isinstance(found, S3dlioError) else found for key, found in read.items()}
        gone = {key: whole.pop(key, None) for key in keys}
        commit.delete(commit.Deletion(self._base, gone, whole))
