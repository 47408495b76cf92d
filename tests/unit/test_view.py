"""BytesView behaves as bytes do, shares memory, and survives what the garbage collector does to it."""

from __future__ import annotations

import base64
import copy
import gc
import hashlib
import io
import json
import pickle
import re
import socket
import struct
import subprocess
import sys
import textwrap
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dlio.memory import BytesView

DATA = b"hello world"


@pytest.fixture
def view() -> BytesView:
    return BytesView(DATA)


def test_what_it_says_of_itself(view: BytesView) -> None:
    assert repr(view) == str(view) == "BytesView(11 bytes)"
    assert type(view).__module__ == "s3dlio"
    assert (len(view), view.nbytes, view.readonly, bool(view), bool(BytesView(b""))) == (11, 11, True, True, False)
    assert not isinstance(view, (Sequence, np.ndarray))  # a Sequence is taken apart, byte by byte, by torch's collate


def test_copies_out(view: BytesView) -> None:
    assert bytes(view) == view.to_bytes() == DATA
    assert type(bytes(view)) is type(view.to_bytes()) is bytes
    assert bytearray(view) == DATA
    assert list(view) == list(DATA)


@pytest.mark.parametrize("take", [memoryview, BytesView.memoryview])
def test_memoryviews_of_it(view: BytesView, take: Any) -> None:
    seen = take(view)
    assert (seen.format, seen.ndim, seen.itemsize, seen.readonly) == ("B", 1, 1, True)
    assert seen == DATA
    with pytest.raises(TypeError):
        seen[0] = 1
    seen.release()
    assert bytes(view) == DATA


def test_it_shares_memory_with_what_it_was_made_of() -> None:
    source = bytearray(DATA)
    view, tail = BytesView(source), BytesView(source)[6:]
    source[6] = ord("W")
    assert (bytes(view), bytes(tail)) == (b"hello World", b"World")
    with pytest.raises(BufferError):
        source.append(1)  # it may not move while it is seen
    del view, tail
    source.append(1)


def test_writable() -> None:
    source = bytearray(DATA)
    view = BytesView(source, writable=True)
    np.frombuffer(view, np.uint8)[0] = ord("H")
    memoryview(view[6:])[0] = ord("W")
    assert source == b"Hello World"
    assert not view.readonly
    with pytest.raises(TypeError, match="has no hash"):
        hash(view)
    with pytest.raises(ValueError, match="read-only"):
        np.frombuffer(BytesView(source), np.uint8)[0] = 1
    with pytest.raises(BufferError, match="must be writable"):
        BytesView(DATA, writable=True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"", b""),
        (bytearray(), b""),
        (np.arange(3, dtype=np.int16), b"\0\0\1\0\2\0"),
        (np.arange(6, dtype=np.uint8).reshape(2, 3), bytes(range(6))),
        (np.zeros((0, 4)), b""),
        (np.array(7, np.uint8), b"\7"),
        (memoryview(DATA).cast("c"), DATA),
        (BytesView(DATA), DATA),
    ],
)
def test_any_contiguous_buffer(source: Any, expected: bytes) -> None:
    view = BytesView(source)
    assert bytes(view) == bytes(memoryview(view)) == expected
    assert memoryview(view).readonly


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("text", TypeError, "bytes-like"),
        (5, TypeError, "bytes-like"),
        (None, TypeError, "bytes-like"),
        ([1, 2], TypeError, "bytes-like"),
        (np.array([object()]), TypeError, "Python objects or pointers"),
        (np.zeros((4, 4))[:, 1], BufferError, "not contiguous"),
        (memoryview(DATA)[::2], BufferError, "not contiguous"),
    ],
)
def test_what_is_no_buffer(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BytesView(source)


def test_numpy_sees_its_memory(view: BytesView) -> None:
    array = np.frombuffer(view, np.uint8)
    assert array.tobytes() == DATA
    assert not array.flags.writeable
    assert np.asarray(view).dtype == np.uint8
    stored = io.BytesIO()
    np.save(stored, np.arange(5))
    assert np.load(io.BytesIO(BytesView(stored.getvalue()))).tolist() == [0, 1, 2, 3, 4]


def test_torch_sees_its_memory() -> None:
    torch = pytest.importorskip("torch")
    source = bytearray(struct.pack("<4f", 1, 2, 3, 4))
    tensor = torch.frombuffer(BytesView(source, writable=True), dtype=torch.float32)
    source[:4] = struct.pack("<f", 9)
    assert tensor.tolist() == [9, 2, 3, 4]


def test_dlpack_shares_its_memory() -> None:
    torch = pytest.importorskip("torch")
    source = bytearray(b"abc" * 1000)
    for view in (BytesView(source), BytesView(source, writable=True)):
        tensor, array = torch.from_dlpack(view), np.from_dlpack(view)
        assert tensor.dtype == torch.uint8
        assert bytes(array) == bytes(source)
        assert tensor.data_ptr() == array.ctypes.data == np.frombuffer(source, np.uint8).ctypes.data
        assert array.flags.writeable != view.readonly
    assert torch.from_dlpack(BytesView(b"")).shape == (0,)
    with pytest.raises(BufferError, match="readonly"):
        BytesView(source).__dlpack__(stream=None)


def test_where_bytes_are_taken(view: BytesView, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        assert file.write(view) == 11
    assert (tmp_path / "file").read_bytes() == DATA
    assert b"-".join([view, b"x", view]) == DATA + b"-x-" + DATA
    assert hashlib.sha256(view).digest() == hashlib.sha256(DATA).digest()
    assert io.BytesIO(view).read() == DATA
    assert struct.unpack_from("<H", view, 1) == struct.unpack_from("<H", DATA, 1)
    assert int.from_bytes(view, "big") == int.from_bytes(DATA, "big")
    left, right = socket.socketpair()
    with left, right:
        assert left.send(view) == 11
        assert right.recv(20) == DATA
    target = bytearray(11)
    target[:] = view
    assert target == DATA


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, BytesView])
def test_equality(view: BytesView, kind: Any) -> None:
    other = kind(DATA)
    assert view == other
    assert other == view
    assert view[:-1] != other
    assert view != bytes(11)


def test_equality_of_large_ones_and_of_others() -> None:
    data = bytes(range(256)) * 4096
    assert BytesView(data) == bytearray(data)
    assert BytesView(data) != data[:-1] + b"x"
    assert BytesView(DATA) != "hello world"
    assert BytesView(DATA) != 11
    assert BytesView(b"\1\0") != memoryview(np.array([1], np.int16))  # other items, as memoryview has it


def test_it_finds_what_bytes_put_in_a_dict(view: BytesView) -> None:
    assert hash(view) == hash(DATA)
    assert {DATA: 1}[view] == 1  # type: ignore[index]
    assert len({view, DATA, BytesView(DATA)}) == 1


@pytest.mark.parametrize("index", [0, 5, -1, -11, np.int64(3), True])
def test_indices(view: BytesView, index: int) -> None:
    assert view[index] == DATA[index]
    assert type(view[index]) is int


@pytest.mark.parametrize("index", [11, -12, 1 << 70])
def test_indices_beyond(view: BytesView, index: int) -> None:
    with pytest.raises(IndexError):
        view[index]


@pytest.mark.parametrize("index", ["a", 1.0, None, (1, 2)])
def test_indices_that_are_none(view: BytesView, index: Any) -> None:
    with pytest.raises((TypeError, NotImplementedError)):
        view[index]


def test_steps_give_contiguous_views(view: BytesView) -> None:
    odd = view[1::2]
    assert (odd, view[::-1]) == (DATA[1::2], DATA[::-1])
    assert memoryview(odd).c_contiguous
    assert hashlib.md5(odd).digest() == hashlib.md5(DATA[1::2]).digest()


def test_searching(view: BytesView) -> None:
    assert ord("w") in view
    assert b"o w" in view
    assert b"" in view
    assert b"xyz" not in view
    assert 0 not in view
    assert view.startswith(b"hello")
    assert view.startswith((b"x", b"hel"))
    assert not view.startswith(b"hello world!")
    assert view.endswith(BytesView(b"world"))
    assert view.endswith(b"")
    assert not view.endswith((b"hello", DATA + b"x", b"xhello world"))
    assert view.decode() == "hello world"
    assert BytesView(b"\xff").decode("latin-1") == "ÿ"
    assert view.hex() == DATA.hex()
    assert view.hex("-", 2) == DATA.hex("-", 2)
    with pytest.raises(UnicodeDecodeError):
        BytesView(b"\xff").decode()
    with pytest.raises(ValueError, match="range"):
        assert 256 in view


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("writable", [False, True])
def test_pickles_by_value(protocol: int, writable: bool) -> None:
    source = bytearray(DATA)
    again = pickle.loads(pickle.dumps(BytesView(source, writable=writable), protocol))
    source[0] = 0
    assert type(again) is BytesView
    assert (bytes(again), again.readonly) == (DATA, not writable)


def test_pickles_out_of_band() -> None:
    source = bytearray(DATA)
    view = BytesView(source, writable=True)
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(view, 5, buffer_callback=buffers.append)
    assert DATA not in stream
    again = pickle.loads(stream, buffers=buffers)
    source[0] = ord("J")
    assert again == b"Jello world"
    assert not pickle.loads(stream, buffers=[DATA]).readonly


def test_copies(view: BytesView) -> None:
    assert copy.copy(view) is view
    assert copy.deepcopy([view])[0] is view
    source = bytearray(DATA)
    writable = BytesView(source, writable=True)
    shallow, deep = copy.copy(writable), copy.deepcopy(writable)
    source[0] = ord("J")
    assert (shallow[0], deep[0]) == (ord("J"), ord("h"))
    assert not deep.readonly


def test_weak_references(view: BytesView) -> None:
    reference = weakref.ref(view)
    assert reference() is view
    del view
    gc.collect()


def test_it_cannot_be_changed(view: BytesView) -> None:
    with pytest.raises(TypeError):
        view[0] = 1  # type: ignore[index]
    with pytest.raises(AttributeError):
        view.other = 1  # type: ignore[attr-defined]
    for name in ("release", "raw"):
        assert not hasattr(view, name)


def run(program: str, python: str = sys.executable) -> None:
    command = [python, "-X", "faulthandler", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr


@pytest.mark.parametrize("first", ["view", "cycle"])
@pytest.mark.parametrize(
    "seen",
    ["view", "view.memoryview()", "memoryview(view)", "memoryview(view)[2:]", "[memoryview(view), view, view[1:]]"],
)
def test_in_a_dead_cycle(first: str, seen: str) -> None:
    """CPython may crash when it takes a cycle apart that holds an exported memoryview (python/cpython#77894)."""
    run(f"""
        import gc
        from s3dlio.memory import BytesView
        class Cycle: pass
        for _ in range(100):
            cycle = Cycle()
            view = BytesView(bytearray(10))
            if {first!r} == "view":
                cycle = Cycle()
            cycle.me, cycle.seen = cycle, {seen}
            del cycle, view
        gc.collect()
    """)


def test_it_leaves_no_mark_on_the_interpreter() -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Other", (pickle.PickleBuffer,), {})


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="these have buffers written in Python")
def test_an_unknown_interpreter_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    from s3dlio.memory import view as module

    monkeypatch.setattr(module, "_FLAGS_OFFSET", 16)  # another layout: what is there are not the flags
    with pytest.raises(ImportError, match="needs CPython"):
        module._subclassable_pickle_buffer()
    monkeypatch.setattr(sys.implementation, "name", "other")
    with pytest.raises(ImportError, match="needs CPython"):
        module._subclassable_pickle_buffer()


# -- what bytes have


def test_every_method_of_bytes_is_there_and_says_the_same() -> None:
    data = b"  Hello, 42 worlds\n "
    view = BytesView(data)
    arguments: dict[str, tuple[Any, ...]] = {
        "center": (40,), "count": (b"l",), "endswith": (b"\n ",), "find": (b"l",), "index": (b"l",),
        "join": ([b"a", b"b"],), "ljust": (40, b"*"), "partition": (b",",), "removeprefix": (b"  ",),
        "removesuffix": (b" ",), "replace": (b"l", b"L", 1), "rfind": (b"l",), "rindex": (b"l",), "rjust": (40,),
        "rpartition": (b",",), "rsplit": (b" ", 1), "split": (b" ",), "startswith": ((b"x", b"  H"),),
        "translate": (bytes(reversed(range(256))),), "zfill": (40,),
    }  # fmt: skip
    methods = {name for name in dir(bytes) if not name.startswith("_")} - {"fromhex", "maketrans"}
    for name in methods:
        given = arguments.get(name, ())
        got, expected = getattr(view, name)(*given), getattr(data, name)(*given)
        assert got == expected, name
        assert type(got) is type(expected), name
    assert view.tobytes() == data
    assert (view.splitlines(keepends=True), view.split(maxsplit=1)) == (data.splitlines(True), data.split(maxsplit=1))
    with pytest.raises(ValueError, match="subsection not found"):
        view.index(b"nope")


@pytest.mark.parametrize("start", [None, 0, 1, 3, 4, -1, -9])
@pytest.mark.parametrize("end", [None, 0, 2, 3, 9, -1, -9])
@pytest.mark.parametrize("sub", [b"", b"a", b"aba", b"b", 97, 0])
def test_bounds_of_searches_are_those_of_bytes(start: int | None, end: int | None, sub: Any) -> None:
    data = b"aba"
    view = BytesView(data)
    assert view.find(sub, start, end) == data.find(sub, start, end)
    if isinstance(sub, bytes):
        assert view.startswith(sub, start, end) == data.startswith(sub, start, end)
        assert view.endswith(sub, start, end) == data.endswith(sub, start, end)


@pytest.mark.parametrize("other", [b" and more", bytearray(b" and more"), BytesView(b" and more")])
def test_it_adds_up_with_what_has_bytes(view: BytesView, other: Any) -> None:
    assert view + other == DATA + b" and more"
    assert type(view + other) is bytes
    assert other + view == b" and more" + DATA
    assert view + memoryview(other) == DATA + b" and more"
    assert view * 2 == 2 * view == DATA * 2
    with pytest.raises(TypeError):
        view + "text"


def test_it_is_ordered_as_bytes_are(view: BytesView) -> None:
    assert sorted([view, b"help", BytesView(b"a"), bytearray(b"z")]) == [b"a", DATA, b"help", b"z"]
    assert view <= DATA <= view
    assert not view < DATA
    assert b"z" > view >= b"a"
    with pytest.raises(TypeError):
        view < 5  # noqa: B015


def test_what_takes_bytes_takes_it(view: BytesView) -> None:
    document = BytesView(json.dumps({"label": 3}).encode())
    assert json.loads(bytes(document)) == json.loads(document.decode()) == json.load(io.BytesIO(document))
    assert int.from_bytes(view[:4], "little") == int.from_bytes(DATA[:4], "little")
    found = re.search(rb"w(\w+)", view)
    assert found is not None
    assert found[1] == b"orld"
    assert b"lo" in view
    assert view in b"say: hello world!"
    assert base64.b64encode(view) == base64.b64encode(DATA)
    assert zlib.crc32(view) == zlib.crc32(DATA)
    assert b"".join([view, b"!"]) == DATA + b"!"
