"""Loads of regions of stored tensors, as plans of ``torch.distributed.checkpoint`` ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def read_regions(reader: Any, regions: Mapping[str, Sequence[tuple[int, int]]], into: Any = None) -> dict[str, Any]:
    """Read a region, (begin, end) for each dimension, of tensors.

    Args:
        reader: of the checkpoint.
        regions: by the name of the tensor.
        into: where one is read to; without, new tensors are made.

    Returns:
        What was read, by name.
    """
    import torch
    from torch.distributed.checkpoint.metadata import MetadataIndex
    from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem

    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, True)
    found: dict[str, Any] = {}
    items = []
    for name, region in regions.items():
        about = metadata.state_dict_metadata[name]
        shape = [end - begin for begin, end in region]
        found[name] = torch.zeros(shape, dtype=about.properties.dtype) if into is None else into
        (chunk,) = about.chunks
        items.append(ReadItem(
            LoadItemType.TENSOR, MetadataIndex(name), torch.Size([0] * len(shape)), MetadataIndex(name, chunk.offsets),
            torch.Size([begin for begin, _ in region]), torch.Size(shape),
        ))  # fmt: skip

    class Planner:
        def resolve_tensor(self, item: Any) -> Any:
            return found[item.dest_index.fqn]

        def commit_tensor(self, item: Any, tensor: Any) -> None:
            assert tensor.data_ptr() == found[item.dest_index.fqn].data_ptr()

    reader.read_data(LoadPlan(items), Planner()).wait()
    return found
