"""The storage reader of ``torch.distributed.checkpoint``: what a load needs, straight into its tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from s3dlio.api import default_client
from s3dlio.checkpoint.base import Base
from s3dlio.checkpoint.dcp import metadata as metadata_file
from s3dlio.checkpoint.dcp.loading import Item
from s3dlio.checkpoint.dcp.place import check_name, is_place, place_of
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, CorruptDataError, IntegrityError, ObjectNotFoundError
from s3dlio.transfer.range_reads import GAP, read_ranges

#: Bytes of memory that a load takes for a while, at most: of what cannot be read straight into its tensor.
_AWHILE = 256 << 20
#: Requests at a time where that has to be kept (each is of 32 MiB at most).
_FEW = 8


class S3dlioStorageReader(StorageReader):
    """Loads distributed checkpoints from any store: those of :class:`S3dlioStorageWriter`, of torch's
    ``FileSystemWriter`` and of s3torchconnector.

    All ranges that a load needs are known before the first is asked for: those that lie near each other are read by one
    request, many at a time, into the memory of the tensors where that is on the host and of the same type. A tensor of
    which a part is needed is read in part. (Of other writers' tensors, all of it.)

    Args:
        path: the checkpoint: a URI or a local path. ``checkpoint_id=`` of torch's functions sets another one.
        client: whose settings and connections; None: the default client.
        max_in_flight: requests at a time, at most.
        verify: compare the checksums that the writer noted. They are of blocks of 128 KiB and more: where a load needs
            narrow stripes of blocks, those that it does not read whole are not compared.
        max_gap: bytes between two ranges that are read and dropped, at most, rather than ask for each.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        client: Session | None = None,
        max_in_flight: int = 64,
        verify: bool = True,
        max_gap: int = GAP,
    ) -> None:
        self._client = client
        self._width = max_in_flight
        self._verify = verify
        self._max_gap = max_gap
        self._storage: dict[Any, Any] = {}
        self.reset(path)

    # -- what torch calls, in this order

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin another load, of ``checkpoint_id`` if it is given."""
        if checkpoint_id:
            self._place = place_of(checkpoint_id)
        self._load_id = os.urandom(8).hex()
        self._storage = {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What is in the checkpoint; with ``rank``, in that of a rank that saved for itself.

        Raises:
            ObjectNotFoundError: there is no checkpoint.
            CorruptDataError, IntegrityError: it is damaged, or nothing that torch would load.
        """
        rank = kwargs.get("rank")
        name, base = metadata_file.name_of(rank), self._base
        try:
            data, _ = base.read(name)
        except ObjectNotFoundError as error:
            error.hint = "no checkpoint is here: .metadata is written last, so a save that did not end has none"
            raise
        found = metadata_file.load(data, base.uri(name))
        found.storage_meta = getattr(found, "storage_meta", None) or StorageMeta()
        found.storage_meta.load_id = self._load_id
        return found

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Torch gives the metadata back.

        Raises:
            CorruptDataError: they do not say where the items are.
        """
        if not isinstance(metadata.storage_data, dict):
            raise CorruptDataError("the metadata of the checkpoint do not say where anything is", uri=self._place)
        self._storage = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Nothing is to be prepared."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Nothing is to be shared out."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read all items of this rank.

        Raises:
            IntegrityError: a file is damaged or cut.
            CorruptDataError: the metadata do not fit what is loaded.
        """
        found = [(self._info_of(item), item) for item in plan.items]
        found.sort(key=lambda each: (each[0].relative_path, each[0].offset))
        base = self._base
        wave: list[Item] = []
        held = 0
        for info, read_item in found:
            item = Item(read_item, info, base.store, base.key(info.relative_path))
            item.resolve(planner)
            if wave and held + item.awhile > _AWHILE:
                self._read(wave, planner)
                wave, held = [], 0
            wave.append(item)
            held += item.awhile
        self._read(wave, planner)
        read: Future[None] = Future()
        read.set_result(None)
        return read

    @property
    def checkpoint_id(self) -> str:
        """The URI of the checkpoint."""
        return self._place

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether a checkpoint can lie there."""
        return is_place(checkpoint_id)

    # -- within

    @property
    def _session(self) -> Session:
        return self._client or default_client()

    @property
    def _base(self) -> Base:
        return Base(self._session, self._place)

    def _read(self, wave: Sequence[Item], planner: LoadPlanner) -> None:
        reads = [read for item in wave for read in item.reads(self._verify)]
        copied = sum(read.length for read in reads if read.place is None)
        width = min(self._width, _FEW) if copied > _AWHILE else self._width
        try:
            read_ranges(self._session, reads, width, gap=self._max_gap)
        except BatchError as error:
            if isinstance(cause := error.__cause__, IntegrityError):
                raise cause from None
            raise
        for item in wave:
            item.finish(planner)

    def _info_of(self, item: ReadItem) -> Any:
        """What the metadata say about where an item is.

        Raises:
            CorruptDataError: nothing, or nothing that can be.
        """
        info = self._storage.get(item.storage_index)
        if info is None:
            raise CorruptDataError(f"the metadata do not say where {item.storage_index.fqn!r} is", uri=self._place)
        check_name(getattr(info, "relative_path", None), self._place)
        place = getattr(info, "offset", None), getattr(info, "length", None)
        if not all(type(number) is int and number >= 0 for number in place):
            raise CorruptDataError(f"the metadata place {item.storage_index.fqn!r} where no bytes are", uri=self._place)
        return info
