"""Trees of arrays: what is saved comes back, as it was or as another tree is; never half of it."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dlio.checkpoint.ranks import Ranks
from s3dlio.checkpoint.tree_files import checksum_of
from s3dlio.checkpoint.tree_loader import load_tree, tree_metadata
from s3dlio.checkpoint.trees import save_tree
from s3dlio.client import Client
from s3dlio.errors import (
    AlreadyExistsError,
    BatchError,
    ConfigError,
    CorruptDataError,
    IntegrityError,
    ObjectNotFoundError,
    S3dlioError,
)
from tests.stopped_stores import Stop, Stopped

Pair = collections.namedtuple("Pair", "a b")


def tree() -> dict[str, Any]:
    chance = np.random.default_rng(1)
    return {
        "params": {"w": chance.normal(0, 0.02, (300, 200)).astype(np.float32), "b": chance.random(7)},
        "steps": [np.array(3), (np.arange(5, dtype=np.int8), None)],
        "rate": 0.1, "name": "run", "none": None, "flag": True, 3: math.inf, "empty": np.empty((0, 3)), "nothing": {},
    }  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("compression", [None, "planes"])
def test_what_is_saved_comes_back(where: tuple[Client, str], compression: str | None) -> None:
    client, base = where
    index = save_tree(tree(), base, compression=compression, metadata={"step": 7}, client=client)
    assert index == f"{base}/tree.json"
    assert same(load_tree(base, client=client), tree())
    assert tree_metadata(base, client=client) == {"step": 7}
    files = client.list(f"{base}/")
    assert len(files) == 2
    size = sum(client.stat(uri)["size"] for uri in files if not uri.endswith("tree.json"))
    assert size < 0.95 * 240_000 if compression else size > 240_000
    with pytest.raises(AlreadyExistsError):
        save_tree(tree(), base, client=client)
    assert client.list(f"{base}/") == files
    save_tree({"x": np.ones(3)}, base, overwrite=True, client=client)
    assert same(load_tree(base, client=client), {"x": np.ones(3)})
    assert len(client.list(f"{base}/")) == 2


def test_as_another_tree_is(client: Client) -> None:
    torch = pytest.importorskip("torch")
    half = torch.randn(9).to(torch.bfloat16)
    saved = {"w": torch.randn(40, 30), "h": half, "n": np.arange(4), "p": Pair(np.ones(2), 5)}
    save_tree(saved, "memory://like/t", client=client)
    like = {"p": Pair(np.zeros(2), 0), "w": torch.zeros(40, 30), "h": torch.zeros(9, dtype=torch.bfloat16)}
    found = load_tree("memory://like/t", like, client=client)
    assert list(found) == ["p", "w", "h"]
    assert type(found["p"]) is Pair
    assert found["p"].b == 5
    assert np.array_equal(found["p"].a, np.ones(2))
    assert torch.equal(found["w"], saved["w"])
    assert torch.equal(found["h"], saved["h"])
    assert load_tree("memory://like/t", framework="pt", client=client)["p"]["b"] == 5
    for wrong in (
        {"other": np.zeros(1)}, {"n": np.zeros(4)}, {"n": np.zeros(5, np.int64)}, {"n": 3}, {"n": {"x": np.zeros(1)}},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="tree"):
            load_tree("memory://like/t", wrong, client=client)


def test_types_that_jax_knows(client: Client) -> None:
    jax = pytest.importorskip("jax")

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class State:
        params: Any
        step: Any

    params = {"w": jax.numpy.arange(12.0).reshape(3, 4), "o": collections.OrderedDict(a=np.ones(2))}
    state = State(params, jax.numpy.int32(3))
    save_tree(state, "memory://jax/t", client=client)
    found = load_tree("memory://jax/t", state, client=client)
    assert type(found) is State
    assert type(found.params["o"]) is collections.OrderedDict
    assert isinstance(found.params["w"], jax.Array)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, found))
    shapes = State({"w": jax.ShapeDtypeStruct((3, 4), np.float32)}, jax.ShapeDtypeStruct((), np.int32))
    part = load_tree("memory://jax/t", shapes, client=client)
    assert isinstance(part.params["w"], jax.Array)
    assert int(part.step) == 3
    assert same(load_tree("memory://jax/t", client=client)["params"]["o"], {"a": np.ones(2)})


def test_what_cannot_be_written_down_is_refused_before_anything_is(client: Client, tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    for wrong in ({"x": object()}, {"x": b"bytes"}, {(1, 2): 3}, {"x": np.array(["a"])}, {"x": 1j}, loop):
        with pytest.raises(ConfigError):
            save_tree(wrong, f"file://{tmp_path}/t", client=client)
    for named in ({"compression": "zip"}, {"level": 0}, {"level": 99}):
        with pytest.raises(ConfigError):
            save_tree({}, f"file://{tmp_path}/t", client=client, **named)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("compression", [None, "planes"])
def test_one_bit_anywhere_is_found(tmp_path: Path, client: Client, compression: str | None) -> None:
    base = f"file://{tmp_path}/t"
    saved = {"w": np.random.default_rng(1).normal(0, 1, 300).astype(np.float32), "s": 0.5, "n": np.arange(3)}
    save_tree(saved, base, compression=compression, metadata={"k": "v"}, client=client)
    for path in (tmp_path / "t").iterdir():
        good = path.read_bytes()
        for position in range(0, len(good), 7):
            bad = bytearray(good)
            bad[position] ^= 1 << position % 8
            path.write_bytes(bad)
            with pytest.raises((CorruptDataError, BatchError)) as caught:
                load_tree(base, client=client)
            if path.suffix == ".bin":
                assert isinstance(caught.value.__cause__, IntegrityError | CorruptDataError)
                assert path.name in str(caught.value)
        path.write_bytes(good)
    assert same(load_tree(base, client=client), saved)


def test_truncated_files_and_foreign_indices(tmp_path: Path, client: Client) -> None:
    base = f"file://{tmp_path}/t"
    with pytest.raises(ObjectNotFoundError):
        load_tree(base, client=client)
    save_tree({"w": np.arange(1000)}, base, client=client)
    (data,) = (tmp_path / "t").glob("*.bin")
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(BatchError, match="ends before"):
        load_tree(base, client=client)
    data.unlink()
    with pytest.raises(BatchError) as caught:
        load_tree(base, client=client)
    assert isinstance(caught.value.__cause__, ObjectNotFoundError)
    index = tmp_path / "t" / "tree.json"
    good = json.loads(index.read_bytes())
    for text in (b"", b"[]", b"{}", b"null", json.dumps({**good, "version": 2}).encode(),
                 json.dumps({**good, "format": "other"}).encode(), b"[" * 50_000):  # fmt: skip
        index.write_bytes(text)
        with pytest.raises(CorruptDataError, match=r"tree\.json"):
            load_tree(base, client=client)


def test_an_index_that_makes_no_sense_is_told(tmp_path: Path, client: Client) -> None:
    """Also where its checksum is right."""
    base = f"file://{tmp_path}/t"
    save_tree({"w": np.zeros((2, 3), np.uint8)}, base, client=client)
    index = tmp_path / "t" / "tree.json"
    good = json.loads(index.read_bytes())["body"]
    ((name, array),) = good["arrays"].items()
    half = [[[0, 1], [0, 3]], 0, 0, 3, "00000000", None]
    for body in ({name: value for name, value in good.items() if name != "tree"},
                 good | {"arrays": {name: array | {"parts": [half, half]}}}):  # fmt: skip
        sealed = {"format": "s3dlio-tree", "version": 1, "crc32c": checksum_of(body), "body": body}
        index.write_text(json.dumps(sealed))
        with pytest.raises(CorruptDataError, match=r"tree\.json"):
            load_tree(base, client=client)



def test_nothing_stays_of_a_save_that_fails(tmp_path: Path, client: Client) -> None:
    base = f"file://{tmp_path}/t"
    save_tree({"w": np.arange(3)}, base, client=client)
    before = sorted(path.name for path in (tmp_path / "t").iterdir())
    rounds = iter(range(9))

    def exchange(value: Any) -> list[Any]:
        failed = next(rounds) == 1
        return [value, {"result": "" if not failed else None, "error": "its disk is full" if failed else None}]

    with pytest.raises(S3dlioError, match="rank 1 of 2 failed: its disk is full"):
        save_tree({"w": np.arange(4)}, base, overwrite=True, ranks=Ranks(0, 2, exchange), client=client)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == before
    assert same(load_tree(base, client=client), {"w": np.arange(3)})


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_tree_is_there_whole_or_not_at_all_wherever_saving_stops(
    monkeypatch: pytest.MonkeyPatch, client: Client, overwrite: bool
) -> None:
    """Each write and delete in turn is where the process ends."""
    stop = Stop(monkeypatch)
    old, new = {"a": np.arange(50.0), "b": np.arange(60.0)}, {"b": np.ones(60), "c": np.ones(70)}
    for last in range(9):
        base = f"memory://stopped-{overwrite}-{last}/t"
        if overwrite:
            save_tree(old, base, client=client)
        stop.after(last)
        try:
            save_tree(new, base, overwrite=overwrite, client=client)
            ended = True
        except Stopped:
            ended = False
        stop.after(None)
        try:
            found = load_tree(base, client=client)
            assert same(found, new) or (same(found, old) and overwrite and not ended)
        except ObjectNotFoundError:
            if ended or overwrite:
                raise
        if ended:
            assert last >= 2
            return
        save_tree(new, base, overwrite=True, client=client)  # the next attempt
        assert same(load_tree(base, client=client), new)
    raise AssertionError("it has not ended")
