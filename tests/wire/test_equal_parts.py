"""Streams in parts: of one size where that is asked for, growing where nothing is known of the length."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from s3dlio.cli.main import main
from s3dlio.client import Client
from s3dlio.errors import ConfigError, ServiceError
from s3dlio.stores.cloud import writer as cloud_writer
from s3dlio.stores.s3 import multipart
from tests.servers import Server

MIB = 1 << 20
_numbers = itertools.count()


@pytest.fixture
def bucket(moto_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3DLIO_MULTIPART_PART_SIZE_MB", "5MiB")
    monkeypatch.setattr(cloud_writer, "_PARTS_BEFORE_DOUBLING", 2)
    root = f"s3://equal-parts-{next(_numbers)}"
    Client().create_bucket(root)
    return root


def parts(uri: str) -> int:
    found = re.fullmatch(r'"[0-9a-f]{32}-(\d+)"', Client().head(uri).etag or "")
    assert found is not None
    return int(found[1])


def stream(uri: str, mib: int, **given: int) -> None:
    store, key = Client().store_for(uri)
    with store.writer(key, **given) as writer:
        for _ in range(mib):
            writer.write(bytes(MIB))


@pytest.mark.parametrize(
    ("given", "count"),
    [({}, 4), ({"part_size": 5 * MIB}, 6), ({"part_size": 8 * MIB}, 4), ({"expected_size": 30 * MIB}, 6)],
)
def test_parts_are_equal_where_a_size_is_given(bucket: str, given: dict[str, int], count: int) -> None:
    stream(f"{bucket}/k", 30, **given)
    assert parts(f"{bucket}/k") == count
    assert Client().stat(f"{bucket}/k")["size"] == 30 * MIB


def test_an_expected_size_makes_the_parts_large_enough(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart.MultipartUpload, "most_parts", 4)
    stream(f"{bucket}/k", 30, expected_size=30 * MIB)
    assert parts(f"{bucket}/k") == 4
    with pytest.raises(ConfigError, match=r"longer than 4 parts.*larger part_size"):
        stream(f"{bucket}/long", 30, part_size=5 * MIB)
    assert not Client().exists(f"{bucket}/long")


def test_a_service_that_wants_equal_parts_is_explained(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: multipart.MultipartUpload, size: int) -> Iterator[None]:
        yield from ()
        raise ServiceError("all parts but the last must have the same length", status=400, code="InvalidPart")

    monkeypatch.setattr(multipart.MultipartUpload, "complete", refused)
    with pytest.raises(ServiceError, match="expected_size"):
        stream(f"{bucket}/k", 30)
    with pytest.raises(ServiceError) as caught:
        stream(f"{bucket}/k", 30, part_size=5 * MIB)
    assert caught.value.hint is None


@pytest.mark.parametrize(("words", "count"), [([], 4), (["--expected-size", "30MiB"], 6), (["--part-size", "6MiB"], 5)])
def test_the_command_takes_both(
    bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], count: int
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(bytes(30 * MIB))))
    assert main(["cp", *words, "-", f"{bucket}/k"]) == 0
    assert parts(f"{bucket}/k") == count
    assert "CP summary" in capsys.readouterr().out


def test_an_upload_takes_a_part_size(bucket: str, tmp_path: object) -> None:
    path = f"{tmp_path}/file"
    with open(path, "wb") as file:
        file.truncate(40 * MIB)
    assert main(["upload", "--part-size", "20MiB", path, f"{bucket}/p/"]) == 0
    assert parts(f"{bucket}/p/file") == 2
    assert main(["cp", "--expected-size", "1", path, f"{bucket}/p/"]) == 2
