"""Batches of a torch ``DataLoader`` on their way from a worker to the program, in memory that is used again.

torch gives each batch new shared memory: its pages cost several times as much as the copy that fills them. Samples of
a worker are tensors that torch's ``default_collate`` stacks into slabs of a :class:`HandoverPool` instead; the program
gets plain tensors over them, and the worker the memory when these are gone. A sample that is not collated goes there,
too. In the worker a sample is a tensor as any other: whatever is done to it gives plain tensors.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils import data as torch_data

from s3dlio.errors import OutOfMemoryError
from s3dlio.memory.handover import Handed, HandoverPool, can_be_taken_by, take_over

#: Smaller tensors go the way that torch has for them.
_LEAST = 64 << 10


class WorkerTensor(torch.Tensor):  # type: ignore[misc]
    """A sample, or a batch, in a worker."""

    #: The slab that it lies in.
    _slab: Any = None

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.stack and kwargs.get("out") is not None:  # as default_collate does in a worker
                return _stacked(args, kwargs)
            return function(*args, **kwargs)

    def _typed_storage(self) -> Any:
        """What ``default_collate`` asks for new shared memory. torch would write to each of its pages now."""
        return _Storage(self.as_subclass(torch.Tensor))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> Any:
        return self.as_subclass(torch.Tensor).__deepcopy__(memo)


class _Storage:
    """The storage of a sample, but for new memory that is shared: what is stacked goes to a slab anyway."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def _new_shared(self, size: int, **_: Any) -> Any:
        return self._tensor.new_empty(size)._typed_storage()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensor._typed_storage(), name)


def for_program(tensor: torch.Tensor) -> torch.Tensor:
    """A sample as the worker of a ``DataLoader`` gives it; elsewhere the tensor itself."""
    if torch_data.get_worker_info() is None or tensor.nbytes == 0 or _pool() is None:
        return tensor
    return tensor.as_subclass(WorkerTensor)


_pools: dict[int, HandoverPool | None] = {}  # of this process


def _pool() -> HandoverPool | None:
    """This worker's slabs; None where the program could not take them over."""
    process = os.getpid()
    if process not in _pools:
        _pools.clear()  # those of the process that forked this one
        parent = multiprocessing.parent_process()
        usable = parent is not None and parent.pid is not None and can_be_taken_by(parent.pid)
        _pools[process] = HandoverPool() if usable else None
        ForkingPickler.register(WorkerTensor, _reduced)
    return _pools[process]


def _stacked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """What ``torch.stack`` gives, in a slab."""
    out: torch.Tensor = kwargs["out"]
    made = _room(out)
    if made is None:
        return torch.stack(*args, **kwargs)
    torch.stack(*args, **(kwargs | {"out": made[0]}))
    batch = made[0].as_subclass(WorkerTensor)
    batch._slab = made[1]
    return batch


def _room(like: torch.Tensor) -> tuple[torch.Tensor, Any] | None:
    """A tensor as this one in a slab, and that; None where there is none."""
    pool = _pool()
    if pool is None or like.nbytes < _LEAST:
        return None
    try:
        slab, view = pool.lease(like.nbytes)
    except OutOfMemoryError:  # of descriptors, perhaps: torch may have a way without
        return None
    return torch.frombuffer(view, dtype=like.dtype).view(like.shape), slab


def _reduced(tensor: WorkerTensor) -> Any:
    """How a tensor is sent to the program."""
    plain, slab = tensor.as_subclass(torch.Tensor), tensor._slab
    if slab is None and (made := _room(plain)) is not None:
        plain, slab = made[0].copy_(plain), made[1]
    pool = _pool()
    if slab is not None and pool is not None:
        handed = pool.hand_over(slab, plain.nbytes)
        if handed is not None:
            return _taken, (handed, plain.dtype, tuple(plain.shape))
    return reduce_tensor(plain)


def _taken(handed: Handed, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """In the program: the tensor over the memory that a worker filled."""
    return torch.frombuffer(take_over(handed), dtype=dtype).view(shape)
