"""One call for a batch: whole objects, stretches, members of tar archives; on every store."""

from __future__ import annotations

import io
import random
import tarfile
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import CorruptDataError, ObjectNotFoundError, S3dlioError
from s3dlio.loader.batch import get_batch
from s3dlio.loader.tar_shards import create_tar_index, known_indexes, read_tar_index
from s3dlio.memory.view import BytesView
from tests.conformance.stores import Case

LARGE = random.Random(5).randbytes(3 << 20)
FILES = {
    **{f"{number:04d}.{extension}": bytes([number]) * (number * 100 + len(extension))
       for number in range(40) for extension in ("jpg", "cls", "seg.png")},
    "big.bin": LARGE[: 2 << 20], "README": b"no sample", "a b%20c.txt": b"blank", "d" * 200 + "/ü.txt": b"long",
    "empty.txt": b"",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_of_slow_servers(request: pytest.FixtureRequest) -> None:
    """The same server over TLS says nothing new here, and takes half a second a test."""
    if request.node.callspec.params["case"] == "s3-swift-tls":
        pytest.skip("s3-swift has been asked")


def archive(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mtime = len(data), 1.5  # which takes an extra header
            tar.addfile(about, io.BytesIO(data))
    return made.getvalue()


def put(case: Case, name: str, data: bytes) -> str:
    case.store.put(case.key(name), data)
    return case.store.uri(case.key(name))


def test_a_batch_comes_in_its_order_with_errors_one_by_one(case: Case) -> None:
    a, b = put(case, "a.bin", LARGE), put(case, "b.bin", b"small")
    gone, tar = case.store.uri(case.key("gone")), put(case, "s.tar", archive(FILES))
    entries: list[Any] = [
        (a, 10, 20), b, gone, (a, 0, 2 << 20), (tar, "0007.cls"), (b, 3, 100), (gone, 0, 5), (tar, "no.jpg"),
        (a, 31, 9), (tar, "0007.jpg"), (gone, "x"), b, (b, 1, 2), (tar, "big.bin"), (a, len(LARGE) - 5, 6),
        (a, len(LARGE) - 5, 5), (b, 2, 0), (tar, "README"), (tar, "a b%20c.txt"), (tar, "d" * 200 + "/ü.txt"),
        (tar, "empty.txt"),
    ]  # fmt: skip
    with Client() as client:
        batch = get_batch(entries, client=client)
    assert [entry for entry, _ in batch] == entries
    found = [data if isinstance(data, BytesView) else type(data) for _, data in batch]
    expected: list[Any] = [
        LARGE[10:30], b"small", ObjectNotFoundError, LARGE[: 2 << 20], FILES["0007.cls"], None, ObjectNotFoundError,
        ObjectNotFoundError, LARGE[31:40], FILES["0007.jpg"], ObjectNotFoundError, b"small", b"ma", FILES["big.bin"],
        None, LARGE[-5:], b"", b"no sample", b"blank", b"long", b"",
    ]  # fmt: skip
    assert all(want is None or have == want for have, want in zip(found, expected, strict=True))
    for position in (2, 5, 6, 7, 10, 14):
        entry, error = batch[position]
        assert isinstance(error, S3dlioError)
        assert error.uri == (entry if isinstance(entry, str) else entry[0])


def test_members_are_found_by_a_stored_index(case: Case) -> None:
    tar = put(case, "shard-7.tar", archive(FILES, tarfile.GNU_FORMAT))
    with Client() as client:
        assert create_tar_index(tar, client=client) == len(FILES)
        index = case.store.uri(case.key("shard-7.idx"))
        assert [name for name, _, _ in read_tar_index(index, client=client)] == list(FILES)
        asked: list[str] = []
        client.add_observer(lambda seen: asked.append(f"{seen.operation} {seen.uri.rpartition('/')[2]}"))
        batch = get_batch([(tar, name) for name in FILES], client=client)
        assert [data for _, data in batch] == list(FILES.values())
        assert asked.count("GET shard-7.idx") == 1
        assert len(asked) <= 5, "the index, the end of the archive, the large member, and the others together"


def test_an_archive_that_was_replaced_is_never_read_by_its_old_index(case: Case) -> None:
    with Client() as client:
        tar = put(case, "r.tar", archive(FILES))
        create_tar_index(tar, client=client)
        wanted = [(tar, name) for name in FILES]
        assert [data for _, data in get_batch(wanted, client=client)] == list(FILES.values())
        turned = dict(reversed([(name, data[::-1]) for name, data in FILES.items()]))
        put(case, "r.tar", archive(turned))
        for _ in range(2):  # by the index that is kept, and by the one that is stored
            assert [data for _, data in get_batch(wanted, client=client)] == [turned[name] for _, name in wanted]
            known_indexes().forget(tar)
        put(case, "r.tar", archive({"0001.cls": b"short"}))
        short = dict(get_batch(wanted, client=client))
        assert short.pop((tar, "0001.cls")) == b"short"
        assert {type(error) for error in short.values()} == {ObjectNotFoundError}
        asked: list[str] = []
        client.add_observer(lambda seen: asked.append(seen.operation))
        assert isinstance(get_batch([(tar, "none")], client=client)[0][1], ObjectNotFoundError)
        assert asked == ["HEAD"], "it is not looked through again for a name that it does not have"


def test_a_damaged_archive_is_an_error_of_its_members_alone(case: Case) -> None:
    whole = archive(FILES)
    cut, good = put(case, "cut.tar", whole[: len(whole) // 2]), put(case, "good.tar", whole)
    with Client() as client:
        batch = get_batch([(cut, "0001.cls"), (good, "0001.cls")], client=client)
        with pytest.raises(CorruptDataError):
            create_tar_index(cut, client=client)
    assert isinstance(batch[0][1], CorruptDataError)
    assert batch[0][1].uri == cut
    assert batch[1][1] == FILES["0001.cls"]
