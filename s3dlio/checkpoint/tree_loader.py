"""Trees of arrays loaded: as they were, or as another tree is, on the devices of that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from s3dlio import api
from s3dlio.checkpoint import tensors as arrays
from s3dlio.checkpoint.regions import shape_of, whole
from s3dlio.checkpoint.tree_files import INDEX, PartReads, StoredArray, TreeIndex, Wanted, read_index
from s3dlio.checkpoint.tree_structure import build, rebuild
from s3dlio.checkpoint.trees import region_of
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.range_reads import RangeRead, read_ranges
from s3dlio.uri import URI

#: Makes an array of what was read.
Finish = Callable[[], Any]


def load_tree(
    uri: URI,
    like: Any = None,
    *,
    framework: str = "np",
    device: Any = None,
    verify: bool = True,
    max_in_flight: int = 64,
    client: Session | None = None,
) -> Any:
    """Load a tree of arrays that ``save_tree`` has saved, on any number of processes and devices.

    Args:
        uri: the directory.
        like: a tree of the same paths. Each leaf says what it becomes: an array of JAX (or a ``jax.ShapeDtypeStruct``)
            one with its sharding, of which this process reads what its devices have; a tensor of torch one on its
            device; an array of numpy one of numpy. Shapes and types must be those that are stored. What ``like`` has
            not is not read. Without it the tree is as it was saved, but nodes of types that only JAX knows are dicts.
        framework, device: without ``like``: what arrays become, ``"np"``, ``"pt"`` or ``"jax"``, and where.
        verify: compare the CRC32C of every part that is read whole.
        max_in_flight: how many requests at a time.
        client: whose settings count; None: the default client.

    Raises:
        ObjectNotFoundError: there is no tree, or ``save_tree`` has not ended.
        CorruptDataError: the index is damaged.
        ConfigError: ``like`` has a path that is not stored, or another shape or type.
        BatchError: parts could not be read, or are damaged (an IntegrityError in it).
    """
    session = client or api.default_client()
    store, prefix = session.store_for(place_uri(uri).rstrip("/") + "/")
    index = read_index(store.get(prefix + INDEX), store.uri(prefix + INDEX))
    load = _Load(index, PartReads(index, store, prefix, verify=verify))
    if like is None:
        kind = arrays.framework(framework)
        finishes = {path: load.whole(path, kind, device) for path in index.arrays}
        read_ranges(session, load.reads, max_in_flight)
        return build(index.structure, index.values | {path: finish() for path, finish in finishes.items()})
    finishes = {}
    rebuild(like, lambda path, leaf: finishes.__setitem__(path, load.like(path, leaf)))
    read_ranges(session, load.reads, max_in_flight)
    return rebuild(like, lambda path, _: finishes[path]())


def tree_metadata(uri: URI, *, client: Session | None = None) -> dict[str, Any]:
    """What ``save_tree`` was given as metadata.

    Raises:
        ObjectNotFoundError, CorruptDataError: as of :func:`load_tree`.
    """
    store, prefix = (client or api.default_client()).store_for(place_uri(uri).rstrip("/") + "/")
    return read_index(store.get(prefix + INDEX), store.uri(prefix + INDEX)).metadata


class _Load:
    """The reads of a tree, gathered; each leaf is made when they are done."""

    def __init__(self, index: TreeIndex, parts: PartReads) -> None:
        self._index = index
        self._parts = parts
        self.reads: list[RangeRead] = []

    def whole(self, path: str, kind: str, device: Any) -> Finish:
        """All of an array."""
        array = self._index.arrays[path]
        arrays.check_type(array.dtype, kind)
        (memory,) = self._memories(array, [whole(array.shape)])
        return lambda: arrays.array_over(memory, array.dtype, array.shape, kind, device)

    def like(self, path: str, leaf: Any) -> Finish:
        """What is stored at a path, as ``leaf`` is.

        Raises:
            ConfigError: nothing is, or something else.
        """
        array = self._index.arrays.get(path)
        if array is None:
            if path not in self._index.values:
                raise ConfigError(f"the stored tree has no leaf tree{path}")
            return lambda: self._index.values[path]
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise ConfigError(f"tree{path} is a {type(leaf).__name__}, and an array is stored")
        dtype, shape = _about(path, leaf)
        if (dtype, shape) != (array.dtype, array.shape):
            stored = f"{array.dtype} of shape {list(array.shape)}"
            raise ConfigError(f"tree{path} is {dtype} of shape {list(shape)}, and {stored} is stored")
        if arrays.is_torch(leaf):
            return self.whole(path, "pt", leaf.device)
        if (sharding := getattr(leaf, "sharding", None)) is not None:
            return self._sharded(array, sharding)
        is_jax = type(leaf).__module__.partition(".")[0] in ("jax", "jaxlib")
        return self.whole(path, "jax" if is_jax else "np", None)

    def _sharded(self, array: StoredArray, sharding: Any) -> Finish:
        """What the devices of this process have of an array of JAX."""
        arrays.check_type(array.dtype, "jax")
        devices = {
            device: region_of(index, array.shape)
            for device, index in sharding.addressable_devices_indices_map(array.shape).items()
        }
        regions = list(dict.fromkeys(devices.values()))
        memories = dict(zip(regions, self._memories(array, regions), strict=True))

        def finish() -> Any:
            import jax

            found = {
                region: arrays.array_over(memory, array.dtype, shape_of(region), "np")
                for region, memory in memories.items()
            }
            shards = [jax.device_put(found[region], device) for device, region in devices.items()]
            return jax.make_array_from_single_device_arrays(array.shape, sharding, shards)

        return finish

    def _memories(self, array: StoredArray, regions: list[Any]) -> list[memoryview]:
        """Memory for regions of an array, which are read."""
        wanted = [Wanted(region, arrays.new_memory(array.itemsize * math.prod(shape_of(region)))) for region in regions]
        self.reads += self._parts.of(array, wanted)
        return [each.memory for each in wanted]


def _about(path: str, leaf: Any) -> tuple[str, tuple[int, ...]]:
    dtype = arrays.DTYPES.get(str(leaf.dtype).removeprefix("torch."))
    return (dtype, tuple(leaf.shape)) if dtype else arrays.about(path, leaf)
