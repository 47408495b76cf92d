"""What is in the files of a distributed checkpoint: one item after another, each as ``torch.save`` writes it.

Of its own items the writer notes, beside what torch keeps about them, where the bytes of the tensor begin and what
their checksums are: so a region of a tensor is read without the rest, and verified. Torch's reader ignores the notes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo

from s3dlio.checkpoint.device_tensors import tensor_pieces
from s3dlio.errors import CorruptDataError, MissingDependencyError
from s3dlio.memory.crc32c import crc32c

try:
    from torch.serialization import skip_data
except ImportError as error:
    raise MissingDependencyError(
        "torch>=2.6", "torch", f"a distributed checkpoint (this is torch {torch.__version__})"
    ) from error

#: The attribute of torch's storage info that holds the note.
_NOTE = "s3dlio"
_LEAST_BLOCK = 128 << 10
#: An item has so many checksums at most, or twice as many.
_BLOCKS = 64
#: Tensors that have to be copied (from a device, or since they are not contiguous) are copied so many bytes at a time.
_COPIED = 16 << 20


class Note(NamedTuple):
    """What the writer notes about an item.

    Attributes:
        start: where the bytes of the tensor begin, from the begin of the item; 0 for what is no tensor.
        size: how many bytes follow.
        block: of how many bytes each checksum is; of the last one, those that are left.
        sums: the CRC32C of each block, 4 bytes each, little-endian.
        dtype, shape: of the tensor; None and () for what is none.
    """

    start: int
    size: int
    block: int
    sums: bytes
    dtype: Any = None
    shape: tuple[int, ...] = ()

    def check(self, data: memoryview, offset: int) -> int | None:
        """Compare the blocks that lie wholly in ``data``, which begins ``offset`` bytes after ``start``; returns where
        one that is damaged begins, or None."""
        end = offset + len(data)
        for block in range(-(-offset // self.block), -(-self.size // self.block)):
            begin, stop = block * self.block, min(self.size, (block + 1) * self.block)
            if stop > end:
                break
            if crc32c(data[begin - offset : stop - offset]) != struct.unpack_from("<I", self.sums, 4 * block)[0]:
                return begin
        return None

    def info(self, path: str, offset: int, length: int) -> Any:
        """What the checkpoint's metadata keep about the item, which has ``length`` bytes from ``offset`` on."""
        found = _StorageInfo(path, offset, length)
        note: dict[str, Any] = {"start": self.start, "size": self.size, "block": self.block, "crc32c": self.sums}
        if self.dtype is not None:
            note |= {"dtype": str(self.dtype).removeprefix("torch."), "shape": self.shape}
        setattr(found, _NOTE, note)
        return found


def note_of(info: Any) -> Note | None:
    """The note in a storage info; None where another writer wrote the item.

    Raises:
        CorruptDataError: it cannot be.
    """
    raw = getattr(info, _NOTE, None)
    if raw is None:
        return None
    try:
        dtype = getattr(torch, raw["dtype"]) if "dtype" in raw else None
        note = Note(raw["start"], raw["size"], raw["block"], raw["crc32c"], dtype, tuple(raw.get("shape", ())))
        right = all(type(number) is int and number >= 0 for number in (*note[:3], *note.shape))
        right = right and note.start + note.size <= info.length and note.block > 0
        right = right and type(note.sums) is bytes and len(note.sums) == 4 * -(-note.size // note.block)
        if dtype is not None:
            right = right and isinstance(dtype, torch.dtype) and math.prod(note.shape) * dtype.itemsize == note.size
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"the metadata say nothing sensible about an item of {info.relative_path}") from error
    if not right:
        raise CorruptDataError(f"the metadata contradict themselves about an item of {info.relative_path}")
    return note


class BlockSums:
    """The checksums of the blocks of an item of ``size`` bytes, added piece by piece."""

    def __init__(self, size: int) -> None:
        self.block = max(_LEAST_BLOCK, 1 << max(0, size // _BLOCKS - 1).bit_length())
        self._size = size
        self._sums: list[int] = []
        self._crc = 0
        self._room = self.block

    def add(self, data: memoryview) -> None:
        """The next bytes."""
        start = 0
        while start < len(data):
            end = min(len(data), start + self._room)
            self._crc = crc32c(data[start:end], self._crc)
            self._room -= end - start
            start = end
            if not self._room:
                self._next()

    def note(self, start: int, dtype: Any = None, shape: Sequence[int] = ()) -> Note:
        """All bytes were added."""
        if self._room < self.block:
            self._next()
        sums = struct.pack(f"<{len(self._sums)}I", *self._sums)
        return Note(start, self._size, self.block, sums, dtype, tuple(shape))

    def _next(self) -> None:
        self._sums.append(self._crc)
        self._crc, self._room = 0, self.block


class _Archive:
    """A file that keeps what ``torch.save`` writes around the bytes of a tensor, which it leaves out."""

    def __init__(self) -> None:
        self.before = bytearray()
        self.after = bytearray()
        self._now = self.before

    def write(self, data: Any) -> int:
        self._now += data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._now = self.after
        return offset

    def flush(self) -> None:
        pass


def around(dtype: torch.dtype, shape: Sequence[int]) -> tuple[bytes, bytes]:
    """What ``torch.save`` writes before and after the bytes of a contiguous tensor of this type and shape."""
    archive = _Archive()
    with skip_data():
        torch.save(torch.empty(tuple(shape), dtype=dtype), archive)
    return bytes(archive.before), bytes(archive.after)


def has_plain_memory(tensor: torch.Tensor) -> bool:
    """Whether the elements of a tensor are bytes that lie somewhere, in some order."""
    return type(tensor) is torch.Tensor and tensor.layout is torch.strided and not tensor.is_quantized


def pieces(tensor: torch.Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor in C order: its own memory where that is so, else copies of some of it at a time, those of
    a GPU by way of pinned memory."""
    if not tensor.numel():
        return
    if tensor.is_contiguous() and (copied := tensor_pieces(tensor)) is not None:
        yield from copied
        return
    plain = tensor.is_contiguous() and tensor.device.type == "cpu" and not (tensor.is_conj() or tensor.is_neg())
    if not plain and tensor.nbytes > _COPIED and max(tensor.shape) > 1:
        if tensor.shape[0] == 1:
            yield from pieces(tensor[0])
            return
        rows = max(1, _COPIED * tensor.shape[0] // tensor.nbytes)
        for first in range(0, tensor.shape[0], rows):
            yield from pieces(tensor[first : first + rows] if rows > 1 else tensor[first])
        return
    if not plain:
        tensor = tensor.resolve_conj().resolve_neg().cpu().contiguous()
    yield memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
