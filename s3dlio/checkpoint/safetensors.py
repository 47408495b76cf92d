"""safetensors on any store: tensors read one by one, in parts, all at once, or into those that are there already.

The package of that name is not needed. Each tensor is a range of its file, read straight into its memory, many at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from s3dlio import api
from s3dlio.checkpoint import tensors as arrays
from s3dlio.checkpoint.device_tensors import (
    Stretch,
    Target,
    copy_to_device,
    plain_target,
    read_to_device,
    torch_target,
)  # fmt: skip
from s3dlio.checkpoint.regions import Region, as_bytes, shape_of, whole
from s3dlio.checkpoint.sharded_tensors import StoredTensor, open_directory, tensors_of
from s3dlio.checkpoint.tensor_parts import local_part
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.formats.safetensors import DTYPE_BITS
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.range_reads import RangeRead, read_ranges
from s3dlio.uri import URI

Names = Iterable[str]

#: Bytes that are read at a time for tensors that get a copy.
_AT_ONCE = 256 << 20


class SafetensorsReader:
    """The tensors of a safetensors file, of a directory of them with an index, or of one that ranks have written.

    Opening reads the headers only. The names of the methods are those of ``safetensors.safe_open``.

    Args:
        uri: a file, a directory, or its index.
        framework: what tensors become: ``"pt"``, ``"np"`` or ``"jax"``.
        device: where they go, as the framework names it; None: its default (the host for torch).
        max_in_flight: how many requests at a time.
        client: whose settings count; None: the default client.

    Raises:
        ObjectNotFoundError: there is nothing.
        CorruptDataError: a header or the index is damaged, or parts of a tensor are missing.
    """

    def __init__(
        self,
        uri: URI,
        framework: str = "pt",
        device: Any = None,
        *,
        max_in_flight: int = 64,
        client: Session | None = None,
    ) -> None:
        self._kind = arrays.framework(framework)
        self._device = device
        self._width = max_in_flight
        self._session = client or api.default_client()
        self.uri = place_uri(uri)
        files = open_directory(self._session, self.uri, max_in_flight)
        self._metadata = {key: value for file in reversed(files) for key, value in file.header.metadata.items()}
        self._tensors = tensors_of(files, self.uri)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def keys(self) -> list[str]:
        """The names of the tensors, in the order of the files."""
        return list(self._tensors)

    def metadata(self) -> dict[str, str]:
        """The texts that the files carry; of the first file where several say something else."""
        return dict(self._metadata)

    def stored(self, name: str) -> StoredTensor:
        """What is stored of a tensor.

        Raises:
            ConfigError: there is none of this name.
        """
        found = self._tensors.get(name)
        if found is None:
            raise ConfigError(f"there is no tensor {name!r}", uri=self.uri, operation="GET")
        return found

    def get_tensor(self, name: str) -> Any:
        """One tensor, in memory of its own.

        Raises:
            ConfigError: there is none of this name, or the framework has no such type.
            BatchError: it could not be read.
        """
        return self.get_tensors([name])[name]

    def get_slice(self, name: str) -> TensorSlice:
        """A tensor of which parts are read when they are indexed: ``reader.get_slice("w")[:100, 5:]``."""
        return TensorSlice(self, name, self.stored(name))

    def get_tensors(self, names: Names | None = None) -> dict[str, Any]:
        """Several tensors, or all, by name.

        Raises:
            ConfigError: there is none of a name, or the framework has no such type.
            BatchError: some could not be read; the first failure stops the rest.
        """
        wanted = {name: self.stored(name) for name in (self._tensors if names is None else names)}
        for stored in wanted.values():
            arrays.check_type(stored.dtype, self._kind)
        target = torch_target(self._device) if self._kind == "pt" else None
        if target is not None:
            return self._on_device(wanted, target)
        memory = {name: arrays.new_memory(stored.nbytes) for name, stored in wanted.items()}
        reads = [read for name, stored in wanted.items() for read in stored.whole(memory[name])]
        read_ranges(self._session, reads, self._width)
        return {
            name: arrays.array_over(memory[name], stored.dtype, stored.shape, self._kind, self._device)
            for name, stored in wanted.items()
        }

    def _on_device(self, wanted: Mapping[str, StoredTensor], target: Target) -> dict[str, Any]:
        """New tensors on a GPU. Those that are stored in parts are put together on the host."""
        found: dict[str, Any] = {}
        stretches: list[Stretch] = []
        parts: list[_Target] = []
        for name, stored in wanted.items():
            found[name] = tensor = arrays.new_tensor(stored.dtype, stored.shape, target.device)
            if len(stored.parts) == 1:
                stretches += _stretches(stored, tensor)
            elif stored.nbytes:
                parts.append(_Target(name, tensor, whole(stored.shape)))
        read_to_device(self._session, stretches, target, self._width)
        self._copy_into(parts)
        return found

    def get_region(self, name: str, region: Sequence[tuple[int, int]]) -> Any:
        """A part of a tensor: one (begin, end) for each dimension; the bytes of other parts are not read.

        Raises:
            ConfigError: there is no such tensor, or it has no such part.
        """
        stored = self.stored(name)
        region = [(int(begin), int(end)) for begin, end in region]
        sizes = stored.shape
        if len(region) != len(sizes) or not all(
            0 <= a <= b <= size for (a, b), size in zip(region, sizes, strict=False)
        ):
            raise ConfigError(f"{name!r} of shape {list(sizes)} has no region {region}", uri=self.uri)
        arrays.check_type(stored.dtype, self._kind)
        memory = self._read_regions([(name, region)])[0]
        return arrays.array_over(memory, stored.dtype, shape_of(region), self._kind, self._device)

    def _read_regions(self, wanted: Sequence[tuple[str, Region]]) -> list[memoryview]:
        """Regions of tensors, each in memory of its own."""
        memories: list[memoryview] = []
        reads: list[RangeRead] = []
        for name, region in wanted:
            stored, shape = self._tensors[name], shape_of(region)
            memory = arrays.new_memory(DTYPE_BITS[stored.dtype] * math.prod(shape) // 8)
            all_of_it = shape == stored.shape
            reads += stored.whole(memory) if all_of_it else stored.reads(region, as_bytes(memory, shape))
            memories.append(memory)
        read_ranges(self._session, reads, self._width)
        return memories

    def read_into(self, targets: Mapping[str, Any]) -> None:
        """Read into tensors that are there already: name -> tensor of torch or array of numpy, of the stored shape.

        What has the stored type, and is on the host, is filled without a copy; else it gets a copy of what is read.
        Of a ``DTensor`` this rank reads its own part.

        Raises:
            ConfigError: there is no tensor of a name, or it has another shape.
            BufferRefusedError: a target cannot be written to.
            BatchError: some could not be read. Targets may be filled in part then.
        """
        reads: list[RangeRead] = []
        copies: list[_Target] = []
        on_devices: dict[Target, list[Stretch]] = {}
        for name, value in targets.items():
            stored = self.stored(name)
            dtype, shape = arrays.about(name, value)
            if shape != stored.shape:
                raise ConfigError(
                    f"{name!r} has the shape {list(shape)}, and {list(stored.shape)} is stored", uri=self.uri
                )
            for target in _targets(name, value, shape):
                own = arrays.writable_bytes(name, target.array)
                device = self._direct(target, dtype) if own is None else None
                if device is not None:
                    on_devices.setdefault(device, []).extend(_stretches(stored, target.array))
                elif own is None or dtype != stored.dtype:
                    copies.append(target)
                elif target.region == whole(shape) and own.flags.c_contiguous:
                    reads += stored.whole(memoryview(own.reshape(-1)))
                else:
                    reads += stored.reads(target.region, own)
        read_ranges(self._session, reads, self._width)
        for device, stretches in on_devices.items():
            read_to_device(self._session, stretches, device, self._width)
        self._copy_into(copies)

    def _direct(self, target: _Target, dtype: str) -> Target | None:
        """The GPU of a target that is filled by copies of just what is stored; None: it is not."""
        stored, array = self._tensors[target.name], target.array
        if dtype != stored.dtype or len(stored.parts) > 1 or target.region != whole(stored.shape):
            return None
        return plain_target(array)

    def _copy_into(self, targets: Sequence[_Target]) -> None:
        """Read tensors to where they cannot be read in place, so many bytes at a time."""
        batch: list[_Target] = []
        size = 0
        for position, target in enumerate(targets, 1):
            batch.append(target)
            size += self._tensors[target.name].nbytes
            if position < len(targets) and size < _AT_ONCE:
                continue
            memories = self._read_regions([(each.name, each.region) for each in batch])
            for each, memory in zip(batch, memories, strict=True):
                kind = "pt" if arrays.is_torch(each.array) else "np"
                dtype = self._tensors[each.name].dtype
                device = plain_target(each.array)
                if device is not None and memory and arrays.about(each.name, each.array)[0] == dtype:
                    copy_to_device(memory, each.array.data_ptr(), device)
                    continue
                found = arrays.array_over(memory, dtype, shape_of(each.region), kind)
                arrays.copy_to(each.name, each.array, found)
            batch, size = [], 0

    def __repr__(self) -> str:
        return f"<SafetensorsReader {self.uri}: {len(self)} tensors>"


class _Target(NamedTuple):
    """Where a region of a stored tensor is to go."""

    name: str
    array: Any
    region: Region


def _stretches(stored: StoredTensor, tensor: Any) -> list[Stretch]:
    """What is read for a contiguous tensor on a GPU, of one that is stored as a whole."""
    file, info, _ = stored.parts[0]
    if not info.nbytes:
        return []
    return [Stretch(file.store, file.key, file.version, info.start, info.nbytes, tensor.data_ptr(), tensor)]


def _targets(name: str, value: Any, shape: tuple[int, ...]) -> list[_Target]:
    """What there is to be filled of a tensor: all of it, or this rank's part."""
    if not hasattr(value, "device_mesh"):
        return [_Target(name, value, whole(shape))]
    part = local_part(name, value)
    if part is None:
        return []
    ends = zip(part.offsets, part.array.shape, strict=True)
    return [_Target(name, part.array, [(begin, begin + size) for begin, size in ends])]


class TensorSlice:
    """A stored tensor of which only what is indexed is read. Indices are numbers, slices and ``...``, as numpy's."""

    def __init__(self, reader: SafetensorsReader, name: str, stored: StoredTensor) -> None:
        self._reader = reader
        self._name = name
        self._stored = stored

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._stored.shape)

    def get_dtype(self) -> str:
        """Its type, as safetensors calls it."""
        return self._stored.dtype

    def __getitem__(self, index: Any) -> Any:
        region, rest = _region_of(index, self._stored.shape, self._name)
        found = self._reader.get_region(self._name, region)
        return found[rest] if any(each != slice(None) for each in rest) else found


def _region_of(index: Any, shape: Sequence[int], name: str) -> tuple[list[tuple[int, int]], tuple[Any, ...]]:
    """The region that an index needs, and the index into it that is left: numbers, and slices with steps."""
    given = list(index) if isinstance(index, tuple) else [index]
    dots = [position for position, each in enumerate(given) if each is Ellipsis]
    if len(dots) > 1 or len(given) - len(dots) > len(shape):
        raise ConfigError(f"{name!r} has {len(shape)} dimensions, and is indexed by {index!r}")
    missing = [slice(None)] * (len(shape) - len(given) + len(dots))
    at = dots[0] if dots else len(given)
    full = [*given[:at], *missing, *given[at + 1 :]]
    region: list[tuple[int, int]] = []
    rest: list[Any] = []
    for each, size in zip(full, shape, strict=True):
        if isinstance(each, slice):
            numbers = range(size)[each]
            if each.step is not None and each.step < 0:
                raise ConfigError(f"{name!r} cannot be read backwards: {index!r}")
            region.append((numbers[0], numbers[-1] + 1) if len(numbers) else (0, 0))
            rest.append(slice(None) if numbers.step == 1 else slice(None, None, numbers.step))
        elif hasattr(each, "__index__") and not isinstance(each, bool):
            number = each.__index__()
            if not -size <= number < size:
                raise IndexError(f"index {number} is out of bounds for a dimension of {size} of {name!r}")
            region.append((number % size, number % size + 1))
            rest.append(0)
        else:
            raise TypeError(f"{name!r} is indexed by numbers, slices and ..., not {type(each).__name__}")
    return region, tuple(rest)


def open_safetensors(
    uri: URI, framework: str = "pt", device: Any = None, *, max_in_flight: int = 64, client: Session | None = None
) -> SafetensorsReader:
    """Open a safetensors file or directory; see :class:`SafetensorsReader`."""
    return SafetensorsReader(uri, framework, device, max_in_flight=max_in_flight, client=client)


def load_safetensors(
    uri: URI,
    framework: str = "pt",
    device: Any = None,
    *,
    names: Names | None = None,
    into: Mapping[str, Any] | None = None,
    max_in_flight: int = 64,
    client: Session | None = None,
) -> dict[str, Any]:
    """Load the tensors of a safetensors file or directory.

    Args:
        uri, framework, device, max_in_flight, client: as of :class:`SafetensorsReader`.
        names: which; None: all.
        into: tensors that are filled, and returned, instead of new ones; see :meth:`SafetensorsReader.read_into`.

    Returns:
        Name -> tensor.

    Raises:
        ObjectNotFoundError, CorruptDataError, ConfigError, BatchError: as of :class:`SafetensorsReader`.
    """
    reader = SafetensorsReader(uri, framework, device, max_in_flight=max_in_flight, client=client)
    if into is None:
        return reader.get_tensors(names)
    targets = dict(into) if names is None else {name: into[name] for name in names}
    reader.read_into(targets)
    return targets
