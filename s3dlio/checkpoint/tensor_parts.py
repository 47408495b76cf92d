"""Parts of tensors: what one rank of a job has of a tensor that is sharded over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from s3dlio.checkpoint import tensors as arrays
from s3dlio.errors import ConfigError
from s3dlio.records import Record


class TensorPart(Record):
    """A part of a tensor.

    Attributes:
        array: the part: a tensor of torch, an array of numpy or JAX.
        offsets: where it begins in the whole tensor, in elements of each dimension.
        shape: of the whole tensor.
    """

    array: Any
    offsets: Sequence[int]
    shape: Sequence[int]

    def __post_init__(self) -> None:
        sizes = tuple(self.array.shape)
        if len({len(sizes), len(self.offsets), len(self.shape)}) > 1 or not all(
            begin >= 0 and begin + size <= total
            for begin, size, total in zip(self.offsets, sizes, self.shape, strict=True)
        ):
            raise ConfigError(
                f"a part of shape {list(sizes)} at {list(self.offsets)} is none of a tensor of {list(self.shape)}"
            )


def parts_of_this_rank(tensors: Mapping[str, Any], rank: int, world_size: int) -> dict[str, TensorPart]:
    """What this rank writes of tensors: its parts, and its share of the tensors that are whole on every rank.

    Raises:
        ConfigError: one is no tensor, or is distributed in a way that has no parts.
    """
    parts: dict[str, TensorPart] = {}
    number = 0
    for name in sorted(tensors):
        value = tensors[name]
        if isinstance(value, TensorPart):
            part: TensorPart | None = value
        elif hasattr(value, "device_mesh"):
            part = _part_of_dtensor(name, value)
        else:
            shape = arrays.about(name, value)[1]
            part = TensorPart(value, [0] * len(shape), shape) if number % world_size == rank else None
            number += 1
        if part is not None:
            parts[name] = part
    return parts


def _part_of_dtensor(name: str, tensor: Any) -> TensorPart | None:
    """The part of a distributed tensor that this rank writes; None where another rank writes the same."""
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:  # this rank is not in the mesh
        return None
    for position, placement in zip(coordinate, tensor.placements, strict=True):
        if placement.is_partial():
            raise ConfigError(f"{name!r} has partial sums on its ranks", hint="redistribute it first")
        if placement.is_replicate() and position:
            return None
    return local_part(name, tensor)


def local_part(name: str, tensor: Any) -> TensorPart | None:
    """What this rank has of a distributed tensor; None where that is nothing.

    Raises:
        ConfigError: it is in several parts.
    """
    local = tensor.to_local()
    if not local.numel() and tensor.numel():
        return None
    chunks = tensor.__create_chunk_list__()  # as torch.distributed.checkpoint asks for them
    if len(chunks) != 1:
        raise ConfigError(f"this rank has {len(chunks)} parts of {name!r}, and one can be written or filled")
    return TensorPart(local, list(chunks[0].offsets), list(tensor.shape))
