"""safetensors: Hugging Face's files of tensors. Their header, which says where each tensor lies; no I/O.

A file is eight bytes with the length of the header, the header (JSON), and the tensors one after another without gaps.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from s3dlio.errors import ConfigError, CorruptDataError

#: Bits of an element of each type, in the format's order: tensors of later types come first in a file, so that all are
#: aligned.
DTYPE_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
_ORDER = {dtype: position for position, dtype in enumerate(DTYPE_BITS)}
#: The length of the header stands before it, in so many bytes.
LENGTH_BYTES = 8
#: The format's own bound on a header, in bytes.
MAX_HEADER = 100_000_000
_METADATA = "__metadata__"
_SURROGATES = re.compile("[\ud800-\udfff]")
_MAX_ELEMENTS = 1 << 59
_MAX_DIMENSIONS = 64


class TensorInfo(NamedTuple):
    """One tensor of a file: the format's name of its type, its shape, and where its bytes begin and end in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.start


class Header(NamedTuple):
    """What the header of a file says: its tensors in the order of the file, its texts, and the size of the file."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    size: int


def size_of(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor.

    Raises:
        ConfigError: the type is unknown, or its elements fill no whole bytes.
    """
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        raise ConfigError(f"safetensors has no type {dtype!r}; its types are {', '.join(DTYPE_BITS)}")
    bits *= math.prod(shape)
    if bits % 8:
        raise ConfigError(f"a tensor of {dtype} with the shape {list(shape)} fills no whole number of bytes")
    return bits // 8


def header_length(prefix: Any, uri: str | None = None) -> int:
    """The length of the header, of the first bytes of a file.

    Raises:
        CorruptDataError: there are fewer than eight, or no header is so long.
    """
    if len(prefix) < LENGTH_BYTES:
        raise CorruptDataError(f"a safetensors file has at least {LENGTH_BYTES} bytes, not {len(prefix)}", uri=uri)
    length = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if not 2 <= length <= MAX_HEADER:
        raise CorruptDataError(
            f"this is no safetensors file: its header would have {length} bytes", uri=uri,
            hint="a header has from 2 bytes to 100 MB",
        )  # fmt: skip
    return length


def parse_header(text: Any, size: int, uri: str | None = None) -> Header:
    """Read a header, and hold it against the size of its file: tensors fill it without gap or overlap.

    Args:
        text: the bytes of the header.
        size: of the file, in bytes.
        uri: of the file, for messages.

    Raises:
        CorruptDataError: it is no such header, or the file is truncated or longer than it says.
    """
    try:
        entries = json.loads(bytes(text).decode(), object_pairs_hook=_without_repetition)
        if not isinstance(entries, dict):
            raise ValueError("it is no JSON object")
        metadata = entries.pop(_METADATA, None) or {}
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError(f"{_METADATA} is no mapping of texts")
        base = LENGTH_BYTES + len(text)
        found = sorted(((_entry(name, entry, base), name) for name, entry in entries.items()), key=_by_place)
        end = base
        for tensor, name in found:
            if tensor.start != end:
                raise ValueError(f"tensor {name!r} begins at byte {tensor.start}, and the one before ends at {end}")
            end = tensor.end
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"the header of this safetensors file is damaged: {error}"[:500], uri=uri) from error
    if end != size:
        raise CorruptDataError(f"this safetensors file has {size} bytes, by its header it should have {end}", uri=uri)
    return Header({name: tensor for tensor, name in found}, metadata, size)


def _by_place(found: tuple[TensorInfo, str]) -> tuple[int, int]:
    return found[0].start, found[0].end


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands in it twice")
    return made


def _entry(name: str, entry: Any, base: int) -> TensorInfo:
    """One tensor of a header whose tensors begin at byte ``base`` of the file."""
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name!r} is described by no JSON object")
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, end]
    if not all(type(number) is int and 0 <= number < _MAX_ELEMENTS for number in numbers):
        raise ValueError(f"tensor {name!r} has a shape or place that is none: {shape}, {start} to {end}")
    # Frameworks count the elements as if none of the dimensions were 0.
    if len(shape) > _MAX_DIMENSIONS or math.prod(size for size in shape if size) >= _MAX_ELEMENTS:
        raise ValueError(f"tensor {name!r} has a shape that no file holds: {shape}")
    try:
        wanted = size_of(dtype, tuple(shape))
    except ConfigError as error:
        raise ValueError(f"tensor {name!r}: {error.reason}") from error
    if end - start != wanted:
        raise ValueError(f"tensor {name!r} has {end - start} bytes, its type and shape need {wanted}")
    return TensorInfo(dtype, tuple(shape), base + start, base + end)


def build_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, Header]:
    """The first bytes of a file, byte for byte what the format's own package writes, and what they say.

    Args:
        tensors: name -> (type, shape) of each.
        metadata: texts that the file carries.

    Raises:
        ConfigError: a type is unknown, a name is the format's own, or a text is none.
    """
    for name in tensors:
        if not isinstance(name, str) or name == _METADATA or _SURROGATES.search(name):
            raise ConfigError(f"no tensor can be named {name!r}", hint="names are Unicode text")
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigError(f"the metadata of a safetensors file are texts, and {key!r}: {value!r} is not")
    names = sorted(tensors, key=lambda name: (-_ORDER.get(tensors[name][0], 0), name))
    entries: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end, places = 0, []
    for name in names:
        dtype, shape = tensors[name]
        start, end = end, end + size_of(dtype, shape)
        places.append((start, end))
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ConfigError(f"the header of one safetensors file may have 100 MB, not {len(text)} bytes: write shards")
    base = LENGTH_BYTES + len(text)
    placed = {
        name: TensorInfo(*tensors[name], base + start, base + end)
        for name, (start, end) in zip(names, places, strict=True)
    }
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, Header(placed, dict(metadata or {}), base + end)
