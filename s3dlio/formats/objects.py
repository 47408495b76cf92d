"""Objects for storage tests: any number of distinct ones, of any type, whole or as streams."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from s3dlio.datagen.checks import fits_in_memory, one_of, whole_number, writable_bytes
from s3dlio.datagen.layout import BLOCK
from s3dlio.datagen.source import DataSource
from s3dlio.datagen.streams import ALGORITHMS, MAX_OBJECTS, fill_zeros
from s3dlio.errors import ConfigError
from s3dlio.formats import frames
from s3dlio.formats.hdf5 import hdf5_around
from s3dlio.formats.tfrecord import FRAMING
from s3dlio.memory import BytesView, default_pool
from s3dlio.memory.crc32c import crc32c

MODES = ("streaming", "single-pass")


class ObjectType(StrEnum):
    """What an object is.

    RAW: random bytes (also as RANDOM and BINARY). ZEROS: zero bytes. NPY, NPZ, HDF5: an array of uint8, in the latter
    two named `data`. TFRECORD: records.
    """

    RAW = "RAW"
    RANDOM = "RAW"
    BINARY = "RAW"
    ZEROS = "ZEROS"
    NPY = "NPY"
    NPZ = "NPZ"
    TFRECORD = "TFRECORD"
    HDF5 = "HDF5"


@dataclass(frozen=True, kw_only=True)
class ObjectConfig:
    """What to generate.

    Attributes:
        object_type: an `ObjectType` or its name, in any case.
        size: bytes of data in one element; headers and checksums of the format come on top.
        elements: how many elements: TFRecords, or rows of the array (1 makes the array one-dimensional).
        dedup, compress: factors of the data, see docs/datagen.md; 1 means off.
        algorithm: 'random' or 'prand'.
        mode: 'streaming' (pieces of `chunk_size` bytes) or 'single-pass' (the whole object at once): the same bytes.
        chunk_size: bytes of a piece in streaming mode, 1 or more.
        seed: 0 to 2**64 - 1 for reproducible objects, or None.

    Raises:
        ConfigError: a name is unknown (the message lists the valid ones) or a value is out of range.
        TypeError: a number is not an integer.
    """

    object_type: ObjectType | str = ObjectType.RAW
    size: int
    elements: int = 1
    dedup: int = 1
    compress: int = 1
    algorithm: str = "random"
    mode: str = "streaming"
    chunk_size: int = 256 << 10
    seed: int | None = None

    def __post_init__(self) -> None:
        kind = ObjectType[one_of("object type", self.object_type, ObjectType.__members__)]
        mode = self.mode.replace("_", "-") if isinstance(self.mode, str) else self.mode
        checked = {
            "object_type": kind,
            "size": whole_number("size", self.size),
            "elements": whole_number("elements", self.elements),
            "algorithm": one_of("data generation algorithm", self.algorithm, ALGORITHMS),
            "mode": _mode(mode),
            "chunk_size": whole_number("chunk_size", self.chunk_size, 1),
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        if kind is ObjectType.ZEROS and (self.dedup, self.compress) != (1, 1):
            raise ConfigError("objects of zeros have no dedup or compress factor; leave both at 1, or use RAW")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that NPY, NPZ and HDF5 objects hold."""
        return (self.size,) if self.elements == 1 else (self.elements, self.size)


class ObjectSource:
    """Any number of distinct objects of one kind and size, made piece by piece where they are needed.

    Object i is the same whenever it is made in this process, so an upload can be retried; with a seed, in every
    process. Without a seed, processes (forked ones too) make different objects. Safe to share among threads.

    Args:
        object_type, size, dedup, compress, elements, algorithm, mode, chunk_size, seed: as of `ObjectConfig`.

    Attributes:
        config: the checked `ObjectConfig`.
        size: bytes of each object, with the format's headers.

    Raises:
        ConfigError, TypeError: as of `ObjectConfig`.
        MissingDependencyError: the type needs a package that is not installed.
    """

    def __init__(
        self,
        object_type: ObjectType | str,
        size: int,
        dedup: int = 1,
        compress: int = 1,
        *,
        elements: int = 1,
        algorithm: str = "random",
        mode: str = "streaming",
        chunk_size: int = 256 << 10,
        seed: int | None = None,
    ) -> None:
        self.config = config = ObjectConfig(
            object_type=object_type,
            size=size,
            elements=elements,
            dedup=dedup,
            compress=compress,
            algorithm=algorithm,
            mode=mode,
            chunk_size=chunk_size,
            seed=seed,
        )
        payload = math.prod(config.shape)
        self._data = DataSource(payload, dedup, compress, algorithm=config.algorithm, seed=seed)
        self._new_frame = _frame_of(config)
        self.size = _size_of(config, self._new_frame())

    @classmethod
    def from_config(cls, config: ObjectConfig) -> ObjectSource:
        """The source of what `config` describes."""
        return cls(**dataclasses.asdict(config))

    def open(self, index: int = 0, *, checksum: bool = False) -> ObjectStream:
        """Object `index` (0 to 2**36 - 1) as a stream; with `checksum` its CRC32C is computed on the way."""
        index = whole_number("index", index, 0, MAX_OBJECTS - 1)
        zeros = self.config.object_type is ObjectType.ZEROS
        write = _write_zeros if zeros else functools.partial(self._data.write, index)
        return ObjectStream(self._new_frame(), self.size, write, checksum)

    def get(self, index: int = 0) -> BytesView:
        """Object `index` in memory."""
        fits_in_memory(self.size)
        buffer = default_pool().lease(self.size)
        self.open(index).readinto(buffer)
        return BytesView(buffer)

    def chunks(self, index: int = 0) -> Iterator[memoryview]:
        """Object `index` in pieces: of `chunk_size` bytes in streaming mode, in one piece in single-pass mode.

        Every piece is a buffer of its own, which goes back to the pool when the caller drops it.
        """
        step = self.config.chunk_size if self.config.mode == "streaming" else max(1, self.size)
        fits_in_memory(min(step, self.size))
        stream = self.open(index)
        for start in range(0, self.size, step):
            buffer = default_pool().lease(min(step, self.size - start))
            stream.readinto(buffer)
            yield buffer

    def __repr__(self) -> str:
        return f"ObjectSource({self.config!r})"


class ObjectStream:
    """One generated object, read from start to end into the caller's buffers.

    Attributes:
        size: bytes of the object.
        position: how many have been read.
        crc32c: the CRC32C of those, where it was asked for, else 0.
    """

    def __init__(
        self, frame: frames.Frame, size: int, write: Callable[[int, memoryview], None], checksum: bool
    ) -> None:
        self.size = size
        self.position = 0
        self.crc32c = 0
        self._frame = frame
        self._write = write
        self._with_checksum = checksum
        self._data_position = 0
        self._part: bytes | frames.Span = b""
        self._done = 0  # bytes of the part that have been read
        self._sum: int | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` (writable, contiguous, of single bytes).

        Returns:
            The bytes written: the length of the buffer, or what was left of the object; 0 at its end.
        """
        view = writable_bytes(buffer)
        start = self.position
        end = min(self.size, start + len(view))
        while self.position < end:
            self._fill_piece(view[self.position - start : end - start])
        return end - start

    def _fill_piece(self, view: memoryview) -> None:
        """Write at least one byte of what comes next to the front of `view`, which is not longer than what is left."""
        while not (left := _length(self._part) - self._done):
            self._part = self._frame.send(self._sum)
            self._done = 0
            self._sum = self._part.start if isinstance(self._part, frames.Span) else 0
        if isinstance(self._part, bytes):
            piece = view[:left]
            piece[:] = self._part[self._done : self._done + len(piece)]
        else:
            piece = self._fill_data(view[:left], self._part.checksum)
        if self._with_checksum:
            self.crc32c = crc32c(piece, self.crc32c)
        self._done += len(piece)
        self.position += len(piece)

    def _fill_data(self, view: memoryview, checksum: frames.Checksum | None) -> memoryview:
        # A megabyte that was just written is still in the second-level cache when it is summed: generating and
        # summing 64 MiB together runs at 5.9 GB/s a core that way, and at 4.9 as two passes.
        piece = view[:BLOCK] if checksum or self._with_checksum else view
        self._write(self._data_position, piece)
        self._data_position += len(piece)
        if checksum:
            self._sum = checksum(piece, self._sum or 0)
        return piece


def generate_object(config: ObjectConfig) -> BytesView:
    """One object, as `config` describes it; errors as of `ObjectSource`."""
    return ObjectSource.from_config(config).get()


def _mode(value: Any) -> str:
    try:
        return one_of("data generation mode", value, MODES)
    except ConfigError as error:
        raise ConfigError(
            f"unknown data generation mode {value!r}",
            hint="write data_gen_mode='streaming' (the default), or 'single-pass' for whole objects at once",
        ) from error


def _length(part: bytes | frames.Span) -> int:
    return part.length if isinstance(part, frames.Span) else len(part)


def _write_zeros(_offset: int, view: memoryview) -> None:
    fill_zeros(view)


def _size_of(config: ObjectConfig, frame: frames.Frame) -> int:
    if config.object_type is ObjectType.TFRECORD:  # there may be a billion records: no counting
        return config.elements * (config.size + FRAMING)
    return frames.frame_size(frame)


def _frame_of(config: ObjectConfig) -> Callable[[], frames.Frame]:
    """What makes a new frame for each object of `config`."""
    payload = math.prod(config.shape)
    match config.object_type:
        case ObjectType.NPY:
            return functools.partial(frames.npy_frame, config.shape)
        case ObjectType.NPZ:
            return functools.partial(frames.npz_frame, config.shape)
        case ObjectType.TFRECORD:
            return functools.partial(frames.tfrecord_frame, config.elements, config.size)
        case ObjectType.HDF5:
            before, after = hdf5_around(config.shape)
            return functools.partial(frames.wrapped_frame, before, payload, after)
        case _:
            return functools.partial(frames.raw_frame, payload)
