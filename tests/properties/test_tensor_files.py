"""Files of tensors that anybody may have written: what leaves is an S3dlioError, and what is read is what is there."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3dlio.checkpoint.safetensors import load_safetensors
from s3dlio.checkpoint.safetensors_writer import save_safetensors
from s3dlio.checkpoint.tree_files import checksum_of, read_index
from s3dlio.checkpoint.tree_loader import load_tree
from s3dlio.checkpoint.trees import save_tree
from s3dlio.client import Client
from s3dlio.errors import S3dlioError
from s3dlio.formats.safetensors import DTYPE_BITS, build_header, header_length, parse_header

FEW = settings(max_examples=80, deadline=None)
ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 40), st.sampled_from([2**63, -(2**63), 10**30, 0.5, float("nan")]),
        st.sampled_from(["", "F32", "F4", "a", "data-x.bin", "../x", "planes", "zz"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def changed(found: Any, path: list[int], value: Any) -> Any:
    """A value of JSON with something else at a place of it."""
    if not path or not isinstance(found, dict | list) or not found:
        return value
    keys = list(found) if isinstance(found, dict) else range(len(found))
    key = keys[path[0] % len(found)]
    copy: Any = dict(found) if isinstance(found, dict) else list(found)
    copy[key] = changed(found[key], path[1:], value)
    return copy


@FEW
@given(
    st.dictionaries(
        st.text(max_size=5), st.tuples(st.sampled_from(sorted(DTYPE_BITS)), st.lists(st.integers(0, 4), max_size=3)),
        max_size=5,
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)  # fmt: skip
def test_headers_come_back(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str]) -> None:
    wanted = {name: (dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()}
    with contextlib.suppress(S3dlioError):  # of types whose elements are no whole bytes
        head, header = build_header(wanted, metadata)
        assert header_length(head) == len(head) - 8
        assert parse_header(head[8:], header.size) == header
        assert {name: (each.dtype, each.shape) for name, each in header.tensors.items()} == wanted


@FEW
@given(st.lists(st.integers(0, 9), max_size=4), ANYTHING)
@example([0, 1, 0], 10**30)
def test_headers_of_anybody(path: list[int], value: Any) -> None:
    with Client() as client:
        tensors = {"a": np.zeros((2, 3)), "b": np.ones(2, np.int8)}
        save_safetensors(tensors, "memory://anybody/a.safetensors", client=client)
        data = bytes(client.get("memory://anybody/a.safetensors"))
        end = 8 + header_length(data)
        text = json.dumps(changed(json.loads(data[8:end]), path, value)).encode()
        client.put_bytes("memory://anybody/b.safetensors", len(text).to_bytes(8, "little") + text + data[end:])
        with contextlib.suppress(S3dlioError):
            load_safetensors("memory://anybody/b.safetensors", "np", client=client)


@FEW
@given(st.lists(st.integers(0, 9), max_size=7), ANYTHING, st.booleans())
def test_trees_of_anybody(path: list[int], value: Any, packed: bool) -> None:
    with Client() as client:
        tree = {"a": [np.zeros((2, 3)), None, 1], "b": {"c": np.ones(2, np.float32)}}
        compression = "planes" if packed else None
        index = save_tree(tree, "memory://anybody/t", compression=compression, overwrite=True, client=client)
        found = json.loads(bytes(client.get(index)))
        body = changed(found["body"], path, value)
        client.put_bytes(index, json.dumps({**found, "body": body, "crc32c": checksum_of(body)}).encode())
        with contextlib.suppress(S3dlioError):
            load_tree("memory://anybody/t", client=client)
            read_index(client.get(index), index)
        client.put_bytes(index, json.dumps(found).encode())
