"""Checkpoints of a training below one URI: saved whole, found again after any crash."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any, Self, overload

from s3dlio import api
from s3dlio.checkpoint import commit
from s3dlio.checkpoint.arguments import checked_number, checked_text
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.layout import Name, shard_key, strategy_named
from s3dlio.checkpoint.manifest import Manifest, checked_user_meta
from s3dlio.checkpoint.reader import (
    CheckpointInfo,
    CheckpointReader,
    info_of,
    keys_of,
    latest,
    load,
    load_latest,
    manifest_keys,
    next_step,
    read_manifests,
    required,
)
from s3dlio.checkpoint.retention import Pruned, prune, remove
from s3dlio.checkpoint.shards import checked_level, write_shard
from s3dlio.checkpoint.verify import Verified, verify
from s3dlio.checkpoint.writer import CheckpointWriter, free_name
from s3dlio.client import Client
from s3dlio.config.sizes import parse_size
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError
from s3dlio.memory.sources import as_memory
from s3dlio.memory.view import BytesView
from s3dlio.signatures import either
from s3dlio.types import Payload
from s3dlio.uri import URI

_SECONDS = 3600  # of names that may be taken
#: The framework of a checkpoint whose caller named none.
UNKNOWN = "unknown"


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

    @property
    def base(self) -> Base:
        """Where the checkpoints lie."""
        return self._base

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r}, strategy={self.strategy!r})"

    @classmethod
    def open(cls, uri: URI, **options: Any) -> Self:
        """The same as the class itself: the arguments are its."""
        return cls(uri, **options)

    @classmethod
    def open_auto_config(cls, uri: URI, **options: Any) -> Self:
        """The same as the class itself: sizes and numbers of requests are always chosen by what is saved."""
        return cls(uri, **options)

    # -- saving

    @overload
    def save(
        self, step: int, epoch: int = 0, framework: str = UNKNOWN, data: Payload = None, user_meta: Any = None, *,
        name: str | None = None, metadata: Any = None, make_latest: bool = False,
    ) -> str: ...  # fmt: skip
    @overload
    def save(self, step: str, epoch: Payload, /, *, user_meta: Any = None) -> str: ...
    @overload
    def save(
        self, *, step: int | None = None, epoch: int = 0, framework: str = UNKNOWN, name: str | None = None,
        data: Payload, user_meta: Any = None, metadata: Any = None, make_latest: bool = False,
    ) -> str: ...  # fmt: skip
    def save(
        self, step: Any = None, epoch: Any = 0, framework: str = UNKNOWN, data: Payload = None, user_meta: Any = None,
        *, name: str | None = None, metadata: Any = None, make_latest: bool = False,
    ) -> str:  # fmt: skip
        """Save a checkpoint of one rank: when this returns, it is durable, and what :meth:`load_latest` gives.

        ``save("name", data)`` and ``name=`` save among the checkpoints of that name, which are apart from the others:
        ``load("name")`` gives the latest.

        Args:
            step: of the training; one that was saved before is saved beside it. Without a step: the next one.
            epoch: of the training.
            framework: a word of the caller's (``torch``, ``jax``).
            data: the bytes.
            user_meta: anything that JSON can hold; it is kept in the manifest. ``metadata`` is the same.
            name: of this series of checkpoints.
            make_latest: it becomes the latest even if that has a higher step.

        Returns:
            The key of the manifest, relative to the base (of a name, to the base and the name).

        Raises:
            ConfigError, TypeError: an argument cannot be; nothing was written.
            S3dlioError: it could not be stored; the latest checkpoint is the one before.
        """
        if isinstance(step, str):  # save(name, data)
            if name is not None:
                raise TypeError("the name is given twice")
            step, name, epoch, data = None, step, 0, epoch if data is None else data
        if metadata is not None:
            user_meta = either("user_meta", user_meta, "metadata", metadata)
        base = self._base if name is None else self._base.child(name)
        return self._save(base, step, epoch, framework, as_memory(data), user_meta, make_latest)

    def _save(
        self, base: Base, step: int | None, epoch: int, framework: str, view: memoryview, user_meta: Any, latest: bool
    ) -> str:
        level = self.compression_level
        number = next_step(base) if step is None else checked_number("step", step)
        attempt = commit.Attempt(
            base, Name(number, ""), epoch=checked_number("epoch", epoch),
            framework=checked_text("framework", framework), world_size=1, user_meta=checked_user_meta(user_meta),
            make_latest=latest, store_shards=lambda: shards(),
        )  # fmt: skip
        attempt.name = free_name(base, self.strategy, number, compressed=level is not None)

        def shards() -> builtins.list[Any]:
            for _ in range(_SECONDS):
                try:
                    key = shard_key(self.strategy, attempt.name, 0, compressed=level is not None)
                    return [write_shard(base, key, 0, view, level)]
                except AlreadyExistsError:  # another process saves this step in this second
                    attempt.name = attempt.name.next_second()
            raise AlreadyExistsError("all names for this checkpoint are taken", uri=base.uri())

        return commit.commit(attempt)

    def put_shard(self, name: str, rank: int, data: Payload) -> str:
        """Save one rank's bytes under a name, apart from checkpoints and from other ranks: :meth:`get_shard` gives the
        last ones. Returns the key of the manifest, relative to the base of these shards."""
        base = self._base.child(name).child(f"rank-{checked_number('rank', rank)}")
        return self._save(base, None, 0, UNKNOWN, as_memory(data), None, False)

    def get_shard(self, name: str, rank: int) -> BytesView:
        """The bytes that :meth:`put_shard` saved last under this name and rank.

        Raises:
            ObjectNotFoundError: none were.
        """
        base = self._base.child(name).child(f"rank-{checked_number('rank', rank)}")
        return load(base, required(base))[0]

    def writer(self, world_size: int, rank: int, *, timestamp: str | None = None) -> CheckpointWriter:
        """What rank ``rank`` of ``world_size`` saves its shards with; see :class:`CheckpointWriter`."""
        return CheckpointWriter(
            self._base, world_size, rank, strategy=self.strategy, compression_level=self.compression_level,
            timestamp=timestamp,
        )  # fmt: skip

    # -- loading

    def load_latest(self, *, verify: bool = True) -> BytesView | builtins.list[BytesView] | None:
        """The bytes of the latest checkpoint: of one rank as a view, of several as a list of views by rank; None where
        nothing was saved.

        Args:
            verify: compare the checksums of the shards with the manifest.

        Raises:
            CorruptDataError, IntegrityError, ObjectNotFoundError: it is damaged; ``list`` shows the others.
        """
        found = load_latest(self._base, verify=verify)
        return None if found is None else self._shaped(*found)

    def load(
        self, which: int | str | None = None, *, step: int | None = None, name: str | None = None, verify: bool = True
    ) -> BytesView | builtins.list[BytesView]:
        """As :meth:`load_latest`, of one step (its last save), of the checkpoints of one name, or both.

        Args:
            which: a step, or a name.
            step, name: the same, by keyword.
            verify: compare the checksums of the shards with the manifest.

        Raises:
            ObjectNotFoundError: there is no such checkpoint.
        """
        if isinstance(which, str):
            name = either("which", which, "name", name)
        elif which is not None:
            step = either("which", which, "step", step)
        base = self._base if name is None else self._base.child(name)
        if step is None and (found := load_latest(base, verify=verify)) is not None:
            return self._shaped(*found)
        manifest = required(base, step)
        return self._shaped(manifest, load(base, manifest, verify=verify))

    @staticmethod
    def _shaped(manifest: Manifest, views: builtins.list[BytesView]) -> BytesView | builtins.list[BytesView]:
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

    def latest(self) -> CheckpointInfo | None:
        """What :meth:`load_latest` loads; None where nothing was saved.

        Raises:
            CorruptDataError: the pointer is damaged, or leads nowhere.
        """
        return latest(self._base)

    def manifest(self, which: int | CheckpointInfo | None = None) -> Manifest:
        """The manifest of a checkpoint: of a step's last save, of an entry of :meth:`list`, or of the latest.

        Raises:
            ObjectNotFoundError: there is none.
            CorruptDataError, IntegrityError: it is damaged.
        """
        if isinstance(which, CheckpointInfo):
            return commit.read_manifest(self._base, which.manifest_key)
        return required(self._base, which)

    def delete_checkpoint(self, step: int) -> bool:
        """Delete all saves of a step: first what leads to them, then their shards. If it was the latest, the highest
        step that is left becomes the latest.

        Returns:
            Whether there was one.
        """
        keys = keys_of(self._base, step)
        remove(self._base, keys)
        return bool(keys)

    def delete(self, *infos: CheckpointInfo) -> None:
        """Delete these entries of :meth:`list`, as :meth:`delete_checkpoint` does."""
        remove(self._base, [info.manifest_key for info in infos])

    def prune(
        self, keep_last: int | None = None, keep_every: int | None = None, *, dry_run: bool = False
    ) -> Pruned:
        """Delete the checkpoints that need not stay, the oldest first. The latest always stays, and so does what cannot
        be read or is not complete. Nothing is deleted while a shard of the latest is missing or has another size than
        its manifest says.

        Args:
            keep_last: keep the N highest steps.
            keep_every: keep every step that K divides.
            dry_run: delete nothing; only say what would be deleted.

        Returns:
            What was ``kept`` and ``deleted``.

        Raises:
            ConfigError: nothing says what to keep.
            S3dlioError: the latest is damaged; or something could not be deleted.
        """
        return prune(self._base, keep_last=keep_last, keep_every=keep_every, dry_run=dry_run)

    def verify(self, *checkpoints: CheckpointInfo, fraction: float = 1.0) -> Iterator[Verified]:
        """Look at every object of checkpoints, and compare bytes with checksums, in bounded memory.

        Args:
            checkpoints: entries of :meth:`list`; without any, all there are.
            fraction: at least this share of the bytes of them all is read: whole shards, drawn by chance. Of the others
                only the sizes are compared.

        Returns:
            For each checkpoint, as it is verified, how many bytes were ``read``, and its ``damages``: an error for each
            object that is not as it was saved.

        Raises:
            ConfigError: no fraction.
        """
        return verify(self._base, checkpoints or self.list_checkpoints(), fraction)
