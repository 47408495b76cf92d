"""The interface of s3torchconnector on every store."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

from s3dlio import api  # noqa: E402
from s3dlio.compat.s3torchconnector import S3Client, S3IterableDataset, S3MapDataset, S3ReaderConstructor  # noqa: E402
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri  # noqa: E402
from tests.conformance.stores import Case  # noqa: E402

DATA = bytes(range(251)) * 9000


def test_prefixes_readers_and_writers(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.needs("pages")
    monkeypatch.setattr(api, "_default", None)  # of the environment that the case has set
    client = S3Client("us-east-1")
    bucket, base = parse_s3_uri(case.store.uri(case.key("data/")))
    for number in range(5):
        with client.put_object(bucket, f"{base}img_{number}") as writer:
            writer.write(DATA[:-number] if number else DATA)
    client.put_object(bucket, f"{base}other").close()

    prefix = case.store.uri(case.key("data/img_"))
    mapped = S3MapDataset.from_prefix(prefix, region="us-east-1")
    assert [reader.key for reader in mapped] == [f"{base}img_{number}" for number in range(5)]
    assert [reader.bucket for reader in mapped] == [bucket] * 5
    sizes = S3IterableDataset.from_prefix(prefix, region="us-east-1", transform=lambda reader: len(reader.read()))
    assert list(sizes) == [len(DATA) - number for number in range(5)]  # the later ones are read ahead
    batch = mapped.__getitems__([4, 0, 2])
    assert [reader.read() for reader in batch] == [DATA[:-4], DATA, DATA[:-2]]

    for make in (S3ReaderConstructor.sequential(), S3ReaderConstructor.range_based(1 << 20)):
        reader = client.get_object(bucket, f"{base}img_0", reader_constructor=make)
        assert reader.seek(-5, os.SEEK_END) == len(DATA) - 5
        assert reader.read() == DATA[-5:]
        assert reader.seek(1_500_000) == 1_500_000
        place = bytearray(600_000)
        assert reader.readinto(place) == 600_000
        assert place == DATA[1_500_000:2_100_000]
        reader.close()

    client.copy_object(bucket, f"{base}img_1", bucket, f"{base}copy")
    client.delete_object(bucket, f"{base}img_1")
    found = {info.key: info.size for page in client.list_objects(bucket, base) for info in page.object_info}
    assert found.pop(f"{base}copy") == len(DATA) - 1
    assert sorted(found) == [f"{base}{name}" for name in ("img_0", "img_2", "img_3", "img_4", "other")]
