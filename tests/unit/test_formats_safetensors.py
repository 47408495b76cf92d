"""The header of safetensors files, against Hugging Face's own package; and arrays as bytes."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from s3dlio.checkpoint.tensors import about, array_over, memory_of
from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.formats.safetensors import DTYPE_BITS, build_header, header_length, parse_header


def written(tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    """A file, as this package writes it."""
    head, header = build_header({name: about(name, value) for name, value in tensors.items()}, metadata)
    return head + b"".join(bytes(memory_of(name, tensors[name])) for name in header.tensors)


def test_files_are_those_of_the_package_byte_for_byte() -> None:
    package = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    names = {
        "bool": 7, "uint8": 3, "int8": 2, "uint16": 3, "int16": 5, "uint32": 2, "int32": 3, "uint64": 1, "int64": 4,
        "float16": 5, "bfloat16": 3, "float32": 2, "float64": 3, "complex64": 2, "float8_e5m2": 3, "float8_e4m3fn": 5,
        "float8_e8m0fnu": 3, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 2,
    }  # fmt: skip
    tensors = {
        f"a.{name}.ü": torch.randint(0, 2, (size, 3)).to(getattr(torch, name)) for name, size in names.items()
    }
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.empty(0, 4, dtype=torch.bfloat16)}
    for metadata in (None, {"format": "pt"}):
        assert written(tensors, metadata) == package.save(tensors, metadata)
    size = len(written(tensors))
    header = parse_header(written(tensors)[8 : 8 + header_length(written(tensors))], size)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()} == {
        name: about(name, value) for name, value in tensors.items()
    }


@pytest.mark.parametrize("kind", ["pt", "np", "jax"])
def test_bytes_become_the_array_again(kind: str) -> None:
    module = pytest.importorskip({"pt": "torch", "np": "ml_dtypes", "jax": "jax"}[kind])
    for dtype in ("F32", "BF16", "F8_E4M3", "I8", "BOOL", "U16", "C64"):
        for shape in ((3, 4), (), (0, 2)):
            size = DTYPE_BITS[dtype] // 8 * int(np.prod(shape))
            memory = memoryview(bytearray(random.Random(1).choices((0, 1), k=size)))
            array = array_over(memory, dtype, shape, kind)
            assert about("x", array) == (dtype, shape)
            assert bytes(memory_of("x", array)) == bytes(memory)
    assert module


def test_memory_is_in_order_and_little_endian() -> None:
    torch = pytest.importorskip("torch")
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    assert about("x", array) == ("F32", (3, 4))
    assert bytes(memory_of("x", array[:, ::2])) == array[:, ::2].astype("<f4").tobytes()
    tensor = torch.arange(12.0).reshape(3, 4)
    assert bytes(memory_of("x", tensor.T)) == tensor.T.contiguous().numpy().tobytes()
    numbers = tensor.to(torch.complex64)
    assert bytes(memory_of("x", numbers.conj())) == numbers.numpy().conj().tobytes()
    own = memory_of("x", torch.nn.Parameter(tensor))
    tensor[0, 0] = 7
    assert bytes(own[:4]) == np.float32(7).tobytes()  # not copied


@pytest.mark.parametrize("value", ["text", 1.5, [1], np.array(["a"]), np.zeros(2, "c16"), np.array([None])])
def test_what_is_no_tensor_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"'the\.name'"):
        about("the.name", value)


def test_tensors_without_plain_memory_are_refused() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (torch.eye(3).to_sparse(), torch.empty(3, device="meta")):
        with pytest.raises(ConfigError, match="'x'"):
            memory_of("x", tensor)


def entry(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changed


@pytest.mark.parametrize(
    "header",
    [
        b"{", b"[]", b"\xff\xff", b"{}" + b" " * 6 + b"x", {"a": 1}, {"a": {}}, {"a": entry(dtype="F31")},
        {"a": entry(dtype=[])}, {"a": entry(shape=[-2, -2])}, {"a": entry(shape=[2.0, 2])},
        {"a": entry(shape=[True, 4])}, {"a": entry(shape=[1 << 40, 1 << 40])},
        {"a": entry(), "b": entry(shape=[1 << 58, 1 << 58, 0], data_offsets=[16, 16])},
        {"a": entry(shape=[2, 2] + [1] * 63)},
        {"a": entry(shape=None)}, {"a": entry(data_offsets=[0, 12])},
        {"a": entry(data_offsets=[16, 0])}, {"a": entry(data_offsets=[4, 20])}, {"a": entry(data_offsets=[0])},
        {"a": entry(), "b": entry()}, {"a": entry(), "b": entry(data_offsets=[20, 36])},
        {"__metadata__": {"x": 1}, "a": entry()}, {"__metadata__": [], "a": entry(), "b": entry(data_offsets=[8, 24])},
        b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_headers_are_refused(header: Any) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with pytest.raises(CorruptDataError, match="memory://x"):
        parse_header(text, 8 + len(text) + 16, "memory://x")


def test_truncated_and_foreign_files_are_refused() -> None:
    text = json.dumps({"a": entry()}).encode()
    for size in (8 + len(text) + 15, 8 + len(text) + 17):
        with pytest.raises(CorruptDataError, match="bytes"):
            parse_header(text, size)
    for prefix in (b"", b"1234567", b"PK\x03\x04zipfile...", bytes(8)):
        with pytest.raises(CorruptDataError):
            header_length(prefix)


def test_what_no_file_can_hold_is_refused() -> None:
    for tensors, metadata in (
        ({"__metadata__": ("F32", (1,))}, None), ({"a": ("F31", (1,))}, None), ({"a": ("F4", (3,))}, None),
        ({"a": ("F32", (1,))}, {"a": 1}), ({1: ("F32", (1,))}, None), ({"\ud800": ("F32", (1,))}, None),
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            build_header(tensors, metadata)  # type: ignore[arg-type]
