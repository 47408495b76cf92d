"""Bytes of stores to the memory of a GPU and back: through the pool's pinned memory, without another copy.

Objects are read in pieces, each into a slab of the pool; when one is there its copy to the device begins, and the slab
goes back to the pool when that is done. No more is in memory than what is pinned, however large the object.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, MissingDependencyError
from s3dlio.memory.device_copies import Copy, DeviceCopies, device_copies
from s3dlio.memory.pool import default_pool
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.range_reads import GAP, RangeRead, read_ranges
from s3dlio.types import Conditions

log = logging.getLogger("s3dlio.gpu")

#: Bytes that are read, and copied, at a time: a slab of its own in the pool, and a good part of an object.
PIECE = 8 << 20
#: Pieces that are copied from the device before the first is written.
_AHEAD = 4


class Target(NamedTuple):
    """A device as torch and CUDA call it, and the stream in which its copies are put in order."""

    device: Any
    number: int
    stream: int
    copies: DeviceCopies


class Stretch(NamedTuple):
    """Bytes of an object, the address on the device where they go, and what owns the memory there."""

    store: ObjectStore
    key: str
    version: Conditions
    offset: int
    length: int
    address: int
    owner: Any


def torch_target(device: Any) -> Target | None:
    """A device of torch, if it is a GPU that CUDA copies to; None: torch itself has to copy.

    Raises:
        ConfigError: torch has no such device.
    """
    torch = sys.modules.get("torch")
    if torch is None or device is None:
        return None
    try:
        found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"torch knows no device {device!r}") from error
    if found.type != "cuda" or torch.version.cuda is None or not torch.cuda.is_available():
        return None
    try:
        copies = device_copies()
    except MissingDependencyError as error:
        log.warning("torch copies to the device, from memory that is not pinned: %s", error)
        return None
    index = torch.cuda.current_device() if found.index is None else found.index
    if index >= torch.cuda.device_count():
        raise ConfigError(f"there is no GPU {index}, but {torch.cuda.device_count()}: they are numbered from 0")
    # torch's own stream: memory that it hands out may be in use by what is in there already.
    return Target(torch.device("cuda", index), index, torch.cuda.current_stream(index).cuda_stream, copies)


def read_to_device(session: Session, stretches: Iterable[Stretch], target: Target, width: int) -> None:
    """Read stretches of objects to the device; all is there when this returns.

    Args:
        session: whose lanes and threads read.
        stretches: what, and where to.
        target: the device.
        width: how many requests at a time, at most.

    Raises:
        BatchError: some could not be read, or copied; the first failure stops the rest.
        CudaError: the device failed.
    """
    copies = target.copies
    half = copies.limit // 2  # the other half may be on its way to the device
    reads = [_read(run, target) for run in _runs(stretches)]
    let_go = default_pool().keep_idle(min(copies.limit, 2 * PIECE * len(reads)))
    try:
        read_ranges(session, reads, max(1, min(width, half // PIECE)), gap=-1)  # they are as large as they shall be
        copies.settle()
    finally:
        let_go()


def _runs(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """What is read by one request each: parts of large stretches, and small ones that lie near each other."""
    groups: dict[tuple[Any, ...], list[Stretch]] = {}
    for stretch in stretches:
        groups.setdefault((stretch.store, stretch.key, stretch.version), []).append(stretch)
    for group in groups.values():
        run: list[Stretch] = []
        for piece in _pieces(sorted(group, key=lambda stretch: stretch.offset)):
            end = run[-1].offset + run[-1].length if run else 0
            if run and (piece.offset > end + GAP or piece.offset + piece.length > run[0].offset + PIECE):
                yield run
                run = []
            run.append(piece)
        yield run


def _pieces(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    for stretch in stretches:
        for begin in range(0, stretch.length, PIECE):
            length = min(PIECE, stretch.length - begin)
            yield stretch._replace(offset=stretch.offset + begin, length=length, address=stretch.address + begin)


def _read(run: Sequence[Stretch], target: Target) -> RangeRead:
    first = run[0]
    length = max(piece.offset + piece.length for piece in run) - first.offset

    def land(data: memoryview) -> None:
        parts = [(piece.offset - first.offset, piece.length, piece.address) for piece in run]
        owners = [piece.owner for piece in run]
        target.copies.start(data, parts, target.number, target.stream, keep=owners)

    return RangeRead(first.store, first.key, first.offset, length, land=land, conditions=first.version)


def copy_to_device(view: memoryview, address: int, target: Target) -> None:
    """Copy host memory to the device; it is there when this returns."""
    copies = target.copies
    copies.finish(copies.start(view, [(0, len(view), address)], target.number, target.stream))


def device_pieces(address: int, size: int, target: Target, keep: Any = None) -> Iterator[memoryview]:
    """Memory of a device, piece by piece in host memory, some of them ahead.

    Args:
        address, size: where on the device, and how many bytes.
        target: the device.
        keep: what owns that memory.

    Raises:
        CudaError: the device failed.
    """
    copies, pool = target.copies, default_pool()
    ahead: deque[Copy] = deque()
    for begin in range(0, size, PIECE):
        piece = pool.lease(min(PIECE, size - begin))
        parts = [(0, len(piece), address + begin)]
        ahead.append(copies.start(piece, parts, target.number, target.stream, to_host=True, keep=keep))
        del piece
        if len(ahead) > _AHEAD:
            yield copies.finish(ahead.popleft())
    while ahead:
        yield copies.finish(ahead.popleft())


def plain_target(tensor: Any) -> Target | None:
    """The GPU that a tensor of torch is on, if its bytes are there as they are stored, in C order; else None."""
    target = _strided_target(tensor)
    return None if target is None or tensor.is_conj() or tensor.is_neg() or not tensor.is_contiguous() else target


def tensor_pieces(tensor: Any) -> Iterator[memoryview] | None:
    """The bytes of a tensor of torch that is on a GPU, in C order; None: it is not, or has no plain memory."""
    target = _strided_target(tensor)
    if target is None:
        return None
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return device_pieces(plain.data_ptr(), plain.numel() * plain.element_size(), target, plain)


def _strided_target(tensor: Any) -> Target | None:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor) or hasattr(tensor, "device_mesh"):
        return None
    if tensor.layout != torch.strided or tensor.is_quantized:
        return None
    return torch_target(tensor.device)
