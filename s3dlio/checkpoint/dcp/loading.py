"""One item of a load: what is read for it, how that is verified, and where it goes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.distributed._shard._utils import narrow_tensor_by_index
from torch.distributed.checkpoint.filesystem import _StorageReaderTransforms
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner, ReadItem

from s3dlio.checkpoint.dcp.items import note_of
from s3dlio.checkpoint.regions import Stretch, stretches
from s3dlio.checkpoint.tensors import new_memory
from s3dlio.errors import CorruptDataError, IntegrityError, S3dlioError
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.range_reads import Land, RangeRead

#: Bytes that one request reads, at most: so few that several are on their way, so many that they are few.
_AT_ONCE = 32 << 20
#: Ranges of up to so many bytes that are read a little longer, to verify them, are copied; of others only the ends.
_COPIED = 8 << 20


class Item:
    """An item of a load.

    Args:
        item: as torch plans it.
        info: what the metadata say about where it is.
        store, key: the object that it is in.

    Raises:
        CorruptDataError: what the writer noted about it cannot be.
    """

    def __init__(self, item: ReadItem, info: Any, store: ObjectStore, key: str) -> None:
        self._item = item
        self._info = info
        self._store = store
        self._key = key
        self._uri = store.uri(key)
        try:
            self._note = note_of(info)
        except S3dlioError as error:
            error.locate(self._uri, "GET")
            raise
        in_part = item.type is LoadItemType.TENSOR and not getattr(info, "transform_descriptors", None)
        self._in_part = in_part and self._note is not None and self._note.dtype is not None
        self._target: Any = None
        self._direct: Any = None  # the memory that is filled, as an array of bytes
        self._copy: Any = None  # what is copied to the target in the end: a tensor, or the bytes of the item
        #: Bytes of memory that it takes until it is finished.
        self.awhile = 0

    def resolve(self, planner: LoadPlanner) -> None:
        """Ask the planner where it goes, and get memory where that cannot be filled directly.

        Raises:
            CorruptDataError: the tensor that is loaded has another shape.
        """
        if self._item.type is LoadItemType.TENSOR:
            self._target = planner.resolve_tensor(self._item).detach()
            if self._target.size() != torch.Size(self._item.lengths):
                raise CorruptDataError(
                    f"{self._item.storage_index.fqn!r} has the shape {tuple(self._item.lengths)} in the checkpoint, "
                    f"{tuple(self._target.shape)} where it is loaded", uri=self._uri, operation="GET",
                )  # fmt: skip
        if not self._in_part:
            self.awhile = self._info.length
            self._copy = new_memory(self._info.length)
        elif self._target.numel():
            into = self._target
            assert self._note is not None
            if not _fillable(into, self._note.dtype):
                into = self._copy = torch.empty(self._target.shape, dtype=self._note.dtype)
                self.awhile = into.nbytes
            self._direct = (into if into.ndim else into.reshape(1)).view(torch.uint8).numpy()

    def reads(self, verify: bool) -> Iterator[RangeRead]:
        """What is read for it."""
        note, info = self._note, self._info
        if self._copy is not None and not self._in_part:
            yield from self._exact(0, info.length, self._copy, None, verify)
        if self._direct is None or note is None:
            return
        item = self._item
        region = [(begin, begin + size) for begin, size in zip(item.storage_offsets, item.lengths, strict=True)]
        if any(begin < 0 or end > size for (begin, end), size in zip(region, note.shape, strict=True)):
            raise CorruptDataError(
                f"{item.storage_index.fqn!r} is smaller in the file than the metadata say", uri=self._uri
            )
        for stretch in stretches(note.shape, note.dtype.itemsize, region, self._direct, _AT_ONCE):
            yield from self._verified(stretch, verify)

    def finish(self, planner: LoadPlanner) -> None:
        """All was read: hand it on."""
        if self._item.type is not LoadItemType.TENSOR:
            planner.load_bytes(self._item, io.BytesIO(self._stream().read()))
            return
        if self._copy is not None:
            self._target.copy_(self._copy if self._in_part else self._loaded())
        planner.commit_tensor(self._item, self._target)
        self._copy = self._direct = None

    def _stream(self) -> Any:
        """The bytes of the item, as they were before the writer's extensions transformed them."""
        stream = io.BytesIO(self._copy)
        transforms = getattr(self._info, "transform_descriptors", None)
        if not transforms:
            return stream
        return _StorageReaderTransforms().transform_load_stream(self._item, transforms, stream)

    def _loaded(self) -> torch.Tensor:
        """The region of a tensor that ``torch.save`` wrote.

        Raises:
            CorruptDataError: it did not.
        """
        stream = self._stream()
        try:
            whole = torch.load(
                stream if stream.seekable() else io.BytesIO(stream.read()), map_location="cpu", weights_only=True
            )
            return narrow_tensor_by_index(whole, self._item.storage_offsets, self._item.lengths)
        except Exception as error:
            raise CorruptDataError(
                f"{self._item.storage_index.fqn!r} cannot be read: {error}", uri=self._uri, operation="GET"
            ) from error

    def _verified(self, stretch: Stretch, verify: bool) -> Iterator[RangeRead]:
        """The reads of a stretch of the tensor, a little longer where that lets its last blocks be verified."""
        assert self._note is not None
        block, begin, end = self._note.block, stretch.offset, stretch.offset + stretch.length
        low, high = begin // block * block, min(self._note.size, -(-end // block) * block)
        more = high - low - stretch.length
        if not verify or not more or more > stretch.length // 10:
            yield from self._exact(begin, end, stretch.place, stretch.land, verify)
        elif stretch.place is None or stretch.length <= _COPIED:
            yield self._longer(low, high, stretch)
        else:
            first, last = min(end, low + block if low < begin else low), high - block if high > end else high
            place = stretch.place
            if first > begin:
                head = Stretch(begin, first - begin, place[: first - begin], None)
                yield self._longer(low, first, head)
            yield from self._exact(first, last, place[first - begin : last - begin], None, verify)
            if last < end:
                yield self._longer(last, high, Stretch(last, end - last, place[last - begin :], None))

    def _exact(
        self, begin: int, end: int, place: memoryview | None, land: Land | None, verify: bool
    ) -> Iterator[RangeRead]:
        """The reads of just these bytes: cut between blocks where they fill memory."""
        note = self._note
        start = note.start if note is not None else 0
        step = max(_AT_ONCE, note.block) if note is not None else _AT_ONCE
        first = begin
        while first < end:
            last = end if place is None else min(end, (first // step + 1) * step)
            check = partial(self._check, first) if verify and note is not None else None
            yield RangeRead(
                self._store, self._key, self._info.offset + start + first, last - first,
                place=None if place is None else place[first - begin : last - begin],
                land=partial(_both, check, land) if check and land else check or land,
            )  # fmt: skip
            first = last

    def _longer(self, low: int, high: int, stretch: Stretch) -> RangeRead:
        assert self._note is not None
        inner = slice(stretch.offset - low, stretch.offset - low + stretch.length)

        def land(data: memoryview) -> None:
            self._check(low, data)
            if stretch.place is not None:
                stretch.place[:] = data[inner]
            elif stretch.land is not None:
                stretch.land(data[inner])

        return RangeRead(self._store, self._key, self._info.offset + self._note.start + low, high - low, land=land)

    def _check(self, begin: int, data: memoryview) -> None:
        assert self._note is not None
        damaged = self._note.check(data, begin)
        if damaged is not None:
            raise IntegrityError(
                f"{self._item.storage_index.fqn!r} is damaged: the bytes from "
                f"{self._info.offset + self._note.start + damaged} on have another checksum than the writer noted",
                uri=self._uri, operation="GET", hint="load an earlier checkpoint, and have the storage checked",
            )  # fmt: skip


def _both(check: Land, land: Land, data: memoryview) -> None:
    check(data)
    land(data)


def _fillable(target: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether bytes of tensors of this type can be put where ``target`` is."""
    return (
        target.device.type == "cpu" and target.dtype is dtype and target.layout is torch.strided
        and not target.is_quantized and not target.is_conj() and not target.is_neg()
        and (not target.ndim or target.stride(-1) == 1)
    )  # fmt: skip
