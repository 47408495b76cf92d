"""Objects as files: what `open` promises, on every store."""

from __future__ import annotations

import gc
import io
import os
import random
from collections.abc import Iterator
from typing import IO, Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import AlreadyExistsError, ObjectChangedError, ObjectNotFoundError, UnsupportedOperationError
from tests.conformance.stores import Case

#: More than is read when a cloud's object is opened, so that reads beyond that are seen, too.
LARGE = random.Random(11).randbytes((2 << 20) + 4711)


@pytest.fixture
def client(case: Case) -> Iterator[Client]:
    with Client() as client:
        yield client


def _uri(case: Case, name: str) -> str:
    return case.store.uri(case.key(name))


def test_a_file_that_is_written_appears_when_it_is_closed(case: Case, client: Client) -> None:
    uri = _uri(case, "written.bin")
    with client.open(uri, "wb") as file:
        assert file.write(LARGE[:1000]) == 1000
        assert file.tell() == 1000
        file.write(bytearray(LARGE[1000:]))
        assert not client.exists(uri)
    assert file.closed
    assert client.get(uri) == LARGE


def test_a_file_is_read_at_any_position(case: Case, client: Client) -> None:
    case.store.put(case.key("read.bin"), LARGE)
    chance, model = random.Random(7), io.BytesIO(LARGE)
    with client.open(_uri(case, "read.bin"), "rb") as file:
        assert (file.seekable(), file.readable(), file.writable()) == (True, True, False)
        for _ in range(30):
            places = [0, -1, -(1 << 20), 1 << 20, (1 << 20) - 5, len(LARGE) + 10, chance.randrange(len(LARGE))]
            where = chance.choice(places)
            whence = os.SEEK_END if where < 0 else os.SEEK_SET
            assert file.seek(where, whence) == model.seek(where, whence)
            for length in (chance.choice([1, 100, 200_000, 3 << 20]), chance.choice([0, 50, 128 << 10])):
                assert file.read(length) == model.read(length)
                assert file.tell() == model.tell()
        file.seek(17)
        into, expected = bytearray(len(LARGE)), bytearray(len(LARGE))
        model.seek(17)
        assert file.readinto(into) == model.readinto(expected) == len(LARGE) - 17
        assert into == expected
        assert file.read() + file.read(10) == b""


def test_a_file_is_read_from_one_end_to_the_other(case: Case, client: Client) -> None:
    case.store.put(case.key("through.bin"), LARGE)
    with client.open(_uri(case, "through.bin"), "rb") as file:
        assert b"".join(iter(lambda: file.read(70_000), b"")) == LARGE
        file.seek(0)
        assert file.read() == LARGE
    with client.open(_uri(case, "through.bin"), "rb", buffering=0) as raw:
        assert raw.readall() == LARGE


def test_lines_of_text_come_back(case: Case, client: Client) -> None:
    uri = _uri(case, "lines.txt")
    lines = [f"{number}: Grüße\n" for number in range(1000)]
    with client.open(uri, "w") as file:
        file.writelines(lines)
    assert client.get(uri) == "".join(lines).encode()
    with client.open(uri) as file:
        assert list(file) == lines
        file.seek(0)
        assert file.readline() == lines[0]


def test_an_empty_file_is_an_empty_object(case: Case, client: Client) -> None:
    with client.open(_uri(case, "empty"), "wb"):
        pass
    assert client.get(_uri(case, "empty")) == b""
    with client.open(_uri(case, "empty"), "rb") as file:
        assert (file.read(), file.seek(0, os.SEEK_END)) == (b"", 0)


def _write_and_fail(file: IO[Any], data: str | bytes) -> None:
    file.write(data)
    raise ZeroDivisionError


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_an_exception_leaves_what_was_there(case: Case, client: Client, mode: str) -> None:
    case.store.put(case.key("kept"), b"before")
    with pytest.raises(ZeroDivisionError), client.open(_uri(case, "kept"), mode) as file:
        _write_and_fail(file, "after" if mode == "w" else b"after")
    assert file.closed
    assert client.get(_uri(case, "kept")) == b"before"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_is_dropped_stores_nothing(case: Case, client: Client, mode: str) -> None:
    file = client.open(_uri(case, "dropped"), mode)
    file.write("lost" if mode == "w" else b"lost")
    del file
    gc.collect()
    assert not client.exists(_uri(case, "dropped"))


def test_a_file_that_is_given_up_stores_nothing(case: Case, client: Client) -> None:
    file = client.open(_uri(case, "given-up"), "wb")
    file.write(b"lost")
    file.abort()  # type: ignore[attr-defined]
    file.close()
    assert file.closed
    with pytest.raises(ValueError, match="closed file"):
        file.write(b"more")
    assert not client.exists(_uri(case, "given-up"))


def test_mode_x_replaces_nothing(case: Case, client: Client) -> None:
    if not case.creates_only:
        pytest.skip("the server takes no conditions")
    with client.open(_uri(case, "new"), "x") as file:
        file.write("first")
    with pytest.raises(AlreadyExistsError), client.open(_uri(case, "new"), "x") as file:
        file.write("second")
    assert client.get(_uri(case, "new")) == b"first"


def test_what_is_not_there_cannot_be_opened(case: Case, client: Client) -> None:
    with pytest.raises(ObjectNotFoundError):
        client.open(_uri(case, "missing"), "rb")


def test_two_versions_are_never_mixed(case: Case, client: Client) -> None:
    case.needs("conditions")
    case.store.put(case.key("replaced"), LARGE)
    with client.open(_uri(case, "replaced"), "rb") as file:
        beginning = file.read(10)
        case.store.put(case.key("replaced"), bytes(len(LARGE)))
        file.seek(-10, os.SEEK_END)
        if case.is_local:
            assert beginning + file.read() == LARGE[:10] + LARGE[-10:]  # what is open stays
        else:
            with pytest.raises(ObjectChangedError):
                file.read()


def test_what_objects_cannot_do_is_refused(case: Case, client: Client) -> None:
    uri = _uri(case, "refused")
    for mode in ("a", "ab", "r+", "w+b"):
        with pytest.raises(UnsupportedOperationError):
            client.open(uri, mode)
    file = client.open(uri, "wb")
    for refused in (lambda: file.seek(0), lambda: file.truncate(0), file.fileno, file.read):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    file.close()
    with client.open(uri, "rb") as file:
        for refused in (lambda: file.write(b"x"), lambda: file.truncate(0), file.fileno):
            with pytest.raises(io.UnsupportedOperation):
                refused()
