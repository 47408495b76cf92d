"""The storage writer of ``torch.distributed.checkpoint``."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import CURRENT_DCP_VERSION, _StoragePrefix
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.staging import AsyncStager
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from s3dlio.api import default_client
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.create_only import create
from s3dlio.checkpoint.dcp import metadata as metadata_file
from s3dlio.checkpoint.dcp.items import BlockSums, Note, around, has_plain_memory, pieces
from s3dlio.checkpoint.dcp.leftovers import UnfinishedSaves
from s3dlio.checkpoint.dcp.place import SUFFIX, check_name, is_place, place_of
from s3dlio.checkpoint.dcp.staging import ReusedStager, beside
from s3dlio.client import Client
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, IntegrityError, S3dlioError, UnsupportedOperationError
from s3dlio.stores.local.store import LocalStore
from s3dlio.stores.writer import StoreWriter
from s3dlio.transfer import many
from s3dlio.types import Conditions, ObjectMetadata, PutOptions

log = logging.getLogger("s3dlio.checkpoint")

#: Pieces of fewer bytes are gathered, until so many are.
_SMALL = 64 << 10
_GATHERED = 1 << 20
#: Bytes around each item, about: to choose the size of parts.
_AROUND = 2048


class _Save(threading.local):
    """What one save is about. Each thread has its own: torch prepares the writer for the next save while the thread of
    an asynchronous one still ends it.
    """

    place = ""
    attempt = ""
    replaced: ObjectMetadata | None = None
    rank: int | None = None
    coordinator = True


class S3dlioStorageWriter(StorageWriter, AsyncStager):
    """Saves distributed checkpoints on any store: one object for each rank, then ``.metadata``.

    A checkpoint is there when ``.metadata`` is, which is written last, and only if nobody else wrote it meanwhile. The
    objects that it names belong to this save alone (a random id is in their names), so a save that fails, or one that
    replaces an earlier one, leaves what was there before as it was.

    Tensors are stored from where they lie: a save takes no memory but that of the parts on their way. With
    ``async_save`` the writer stages the state itself, in one copy that later saves use again: keep the writer.

    Args:
        path: the checkpoint: a URI (``s3://bucket/run/step-100``) or a local path. ``checkpoint_id=`` of torch's
            functions sets another one.
        client: whose settings and connections; None: the default client.
        overwrite: replace a checkpoint that is there; False: an error, before anything is written.
        sync_files: local files are on the disk (fsync) before ``.metadata`` is written, and it before the save ends.
        part_size: bytes of a part, where the store sends parts; None: as the settings say.
        max_in_flight: parts on their way at a time, at most; None: as the settings say.
        prefix_strategy: gives the beginning of the names of a rank's objects, for stores that want keys to differ early
            (those of ``s3torchconnector.dcp`` do); None: ``__RANK_``.
        shared_memory: see :class:`ReusedStager`.
    """

    _synchronize_after_execute = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        client: Session | None = None,
        overwrite: bool = False,
        sync_files: bool = True,
        part_size: int | str | None = None,
        max_in_flight: int | None = None,
        prefix_strategy: Callable[[int], str] | None = None,
        shared_memory: bool = False,
    ) -> None:
        self._client = client
        self._overwrite = overwrite
        self._durable = sync_files
        self._part_size = part_size
        self._max_in_flight = max_in_flight
        self._prefix = prefix_strategy or "__{}_".format
        self._shared_memory = shared_memory
        self._stager = ReusedStager(shared_memory)
        self._path = self._staged_path = place_of(path)
        self._save = _Save()
        self._unfinished = UnfinishedSaves()
        self.reset()

    def __getstate__(self) -> dict[str, Any]:
        self._stager.saving()  # a save by another process: this thread waits for it
        own = ("_stager", "_save", "_unfinished")
        kept = {name: value for name, value in self.__dict__.items() if name not in own}
        return kept | {"_path": self._place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._stager = ReusedStager(self._shared_memory)
        self._save = _Save()
        self._unfinished = UnfinishedSaves()

    # -- what torch calls, in this order

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """A copy of the state, for ``async_save``; waits while the save before needs the last one."""
        staged = self._stager.stage(state_dict)
        self._staged_path = self._place
        return staged

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another save, of ``checkpoint_id`` if it is given."""
        if checkpoint_id:
            self._path = self._save.place = place_of(checkpoint_id)
        self._save.attempt = os.urandom(8).hex()

    def storage_meta(self) -> StorageMeta:
        """What torch keeps about the save."""
        return StorageMeta(checkpoint_id=self._place, save_id=self._save.attempt)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Torch tells this rank its part: ``rank`` and ``use_collectives``."""
        self._save.place = self._save.place or (self._staged_path if self._stager.is_for_another else self._path)
        self._stager.saving()
        self._save.coordinator = is_coordinator
        self._save.rank = None if kwargs.get("use_collectives", True) else kwargs.get("rank")

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Look for a checkpoint that is there already.

        Raises:
            AlreadyExistsError: there is one, and it is not to be replaced.
        """
        save = self._save
        if save.rank is None and not save.coordinator:
            return plan
        self._unfinished.remove(self._session)
        save.attempt = os.urandom(8).hex()  # a writer may save twice without a reset
        base, name = self._base, metadata_file.name_of(save.rank)
        try:
            save.replaced = base.head(name)
        except FileNotFoundError:
            save.replaced = None
        if save.replaced is not None and not self._overwrite:
            raise AlreadyExistsError(
                "a checkpoint is there already; nothing was written", uri=base.uri(name), operation="PUT",
                hint="save under another name, or with overwrite=True",
            )  # fmt: skip
        self._unfinished.begin(save.attempt, self._place)
        return plan if save.rank is None else replace(plan, storage_data=self._named(save.rank))

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Name the objects of every rank."""
        return [
            replace(plan, storage_data=self._named(rank)) if plan.storage_data is None else plan
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write the items of this rank, in one object."""
        written: Future[list[WriteResult]] = Future()
        try:
            if not plan.items:
                written.set_result([])
            elif self._stager.is_beside:
                with Client(self._session.settings) as client:  # its lanes are as nice as the thread
                    for observer in self._session.stores.observers:
                        client.add_observer(observer)
                    base = Base(client, self._place)
                    written.set_result(beside(lambda: self._write(plan, planner, base)))
            else:
                written.set_result(self._write(plan, planner, self._base))
            return written
        finally:
            self._stager.saved()

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """All ranks have written: look at the objects, then make the checkpoint visible. Where it does not become that,
        nothing of it stays.

        Raises:
            IntegrityError: an object is not what was written.
            AlreadyExistsError, PreconditionFailedError: somebody else saved this checkpoint meanwhile.
        """
        metadata.storage_data = {result.index: result.storage_data for of_rank in results for result in of_rank}
        metadata.version = CURRENT_DCP_VERSION
        metadata.storage_meta = self.storage_meta()
        with self._unfinished.removing_after(self._session, S3dlioError):
            new = self._check_objects(metadata.storage_data.values())
            old = self._old_names()
        with self._unfinished.ending(self._session, self._save.attempt):
            self._publish(metadata_file.dump(metadata))
        self._remove(old - new)

    @property
    def checkpoint_id(self) -> str:
        """The URI of the checkpoint."""
        return self._place

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether a checkpoint can lie there."""
        return is_place(checkpoint_id)

    def close(self) -> None:
        """Let the staging copy go: it is freed when the last save has ended. What a save that failed has left is
        removed."""
        self._stager.close()
        self._unfinished.remove(self._session)

    # -- within

    @property
    def _session(self) -> Session:
        return self._client or default_client()

    @property
    def _place(self) -> str:
        return self._save.place or self._path

    @property
    def _base(self) -> Base:
        return Base(self._session, self._place)

    def _named(self, rank: int) -> _StoragePrefix:
        return _StoragePrefix(f"{self._prefix(rank)}0.{self._save.attempt}")

    def _write(self, plan: SavePlan, planner: SavePlanner, base: Base) -> list[WriteResult]:
        name = plan.storage_data.prefix + SUFFIX
        items = sorted(plan.items, key=lambda item: item.type is not WriteItemType.BYTE_IO)
        options = PutOptions(durable=self._durable)
        writer = base.store.writer(
            base.key(name), options=options, part_size=self._part_size, expected_size=sum(map(_size_about, items)),  # type: ignore[arg-type]
            max_in_flight=self._max_in_flight,
        )  # fmt: skip
        with writer:
            to = _Items(writer, name)
            return [to.add(item, planner.resolve_data(item)) for item in items] + to.end()

    def _check_objects(self, infos: Iterable[Any]) -> set[str]:
        """Look at all objects, and return their names."""
        sizes: dict[str, int] = {}
        for info in infos:
            sizes[info.relative_path] = max(sizes.get(info.relative_path, 0), info.offset + info.length)
        uris = [f"{self._place}/{name}" for name in sizes]
        for uri, size, found in zip(uris, sizes.values(), many.stat_many(self._session, uris, 64), strict=True):
            if found.size != size:
                raise IntegrityError(
                    f"the object has {found.size} bytes, {size} were written; the checkpoint is not there",
                    uri=uri, operation="HEAD", hint="save again, and have the storage checked",
                )  # fmt: skip
        return set(sizes)

    def _publish(self, data: bytes) -> None:
        """Write ``.metadata``, if it is still what it was when the save began, as far as the store can tell."""
        base, name, old = self._base, metadata_file.name_of(self._save.rank), self._save.replaced
        replacing = PutOptions(durable=self._durable)
        try:
            if old is None:
                create(base.store, base.key(name), data)
            elif isinstance(base.store, LocalStore):  # a file cannot be replaced under a condition, but in one step
                base.write(name, data, replacing)
            else:
                base.write(name, data, PutOptions(conditions=Conditions(if_match=old.etag)))
        except UnsupportedOperationError:
            log.info("%s: the store knows no such condition", base.uri(name))
            base.write(name, data, replacing)
        if self._durable:
            base.sync_above([name])

    def _old_names(self) -> set[str]:
        """The objects of the checkpoint that is replaced."""
        if self._save.replaced is None:
            return set()
        base, name = self._base, metadata_file.name_of(self._save.rank)
        try:
            old = metadata_file.load(base.read(name)[0], base.uri(name))
        except S3dlioError as error:
            log.warning("%s: the objects of the checkpoint that is replaced stay: %s", base.uri(name), error)
            return set()
        return {info.relative_path for info in (old.storage_data or {}).values()}

    def _remove(self, names: set[str]) -> None:
        base = self._base
        for name in names:
            try:
                base.delete(check_name(name, base.uri()))
            except S3dlioError as error:
                log.warning("%s: an object of the checkpoint that was replaced stays: %s", base.uri(name), error)


def _size_about(item: WriteItem) -> int:
    if item.tensor_data is None:
        return _AROUND
    size: int = item.tensor_data.chunk.sizes.numel() * item.tensor_data.properties.dtype.itemsize
    return size + _AROUND


class _Items:
    """Writes items one after another into the object of a rank.

    Args:
        writer: of the object.
        name: of the object, as the metadata have it.
    """

    def __init__(self, writer: StoreWriter, name: str) -> None:
        self._writer = writer
        self._name = name
        self._gathered = bytearray()
        self._position = 0
        self._around: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}

    def add(self, item: WriteItem, data: io.BytesIO | torch.Tensor) -> WriteResult:
        """Write an item; nobody may change it before the writer has ended."""
        begin = self._position
        if item.type is WriteItemType.BYTE_IO or not isinstance(data, torch.Tensor):
            note = self._bytes(data.getbuffer())
        else:
            data = data.detach()
            note = self._tensor(data) if has_plain_memory(data) else self._other(data)
        length = self._position - begin
        return WriteResult(item.index, length, note.info(self._name, begin, length))

    def end(self) -> list[WriteResult]:
        """All items are written."""
        self._hand_on()
        return []

    def _tensor(self, tensor: torch.Tensor) -> Note:
        kind = tensor.dtype, tuple(tensor.shape)
        if kind not in self._around:
            self._around[kind] = around(*kind)
        before, after = self._around[kind]
        self._write(memoryview(before))
        sums = BlockSums(tensor.nbytes)
        for piece in pieces(tensor):
            for start in range(0, len(piece), _GATHERED * 8):
                part = piece[start : start + _GATHERED * 8]
                sums.add(part)
                self._write(part)
        self._write(memoryview(after))
        return sums.note(len(before), *kind)

    def _other(self, tensor: torch.Tensor) -> Note:
        """A sparse or quantized tensor, or one of a class of its own: as ``torch.save`` writes it."""
        stream = io.BytesIO()
        torch.save(tensor.cpu(), stream)
        return self._bytes(stream.getbuffer())

    def _bytes(self, data: memoryview) -> Note:
        sums = BlockSums(len(data))
        sums.add(data)
        self._write(data)
        return sums.note(0)

    def _write(self, data: memoryview) -> None:
        self._position += len(data)
        if len(data) < _SMALL:
            self._gathered += data
            if len(self._gathered) >= _GATHERED:
                self._hand_on()
            return
        self._hand_on()
        self._writer.write_owned(data)

    def _hand_on(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._writer.write_owned(gathered)
