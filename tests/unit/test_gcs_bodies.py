"""Framed bodies, names in paths and JSON resources of Google Cloud Storage, whatever is in them."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio import errors
from s3dlio.memory.sources import MemorySource
from s3dlio.net.response import Response
from s3dlio.stores.cloud.percent import encode_query, encode_segment
from s3dlio.stores.gcs import headers
from s3dlio.stores.gcs.uploads import FramedSource, related
from s3dlio.types import ObjectMetadata, PutOptions

FEW = st.binary(max_size=12)
CHECK = 0xE3069283


@given(FEW, FEW, FEW, st.integers(0, 40), st.integers(0, 40))
def test_a_framed_source_is_its_pieces(head: bytes, inner: bytes, tail: bytes, start: int, length: int) -> None:
    source = FramedSource(head, MemorySource(memoryview(inner)), tail)
    whole = head + inner + tail
    assert source.size == len(whole)
    assert b"".join(source.pieces(start, length)) == whole[start : start + length]
    assert b"".join(source.part(start, length).stretches(3)) == whole[start : start + length]
    assert source.whole() is None
    assert source.crc32c() == MemorySource(memoryview(whole)).crc32c()


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 200_000])
def test_a_related_body(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    body = related({"name": "ü"}, MemorySource(memoryview(data)), "a/b", "=edge=")
    whole = b"".join(body.stretches())
    assert whole.startswith(b"--=edge=\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{")
    assert whole.endswith(b"\r\n--=edge=\r\nContent-Type: a/b\r\n\r\n" + data + b"\r\n--=edge=--\r\n")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_names_come_back(name: str) -> None:
    encoded = encode_segment(name)
    assert unquote(encoded) == name
    assert encoded.isascii()
    assert not set(encoded) & set("/?#&=+ \r\n\t\"<>")
    assert encode_query([("a", name), ("b", "1")]) == f"a={encoded}&b=1"


def media(*fields: str) -> Response:
    head = "\r\n".join(["HTTP/1.1 200 OK", *fields, ""]).encode()
    return Response(200, head, head.lower())


@pytest.mark.parametrize(
    ("fields", "crc"),
    [
        (["X-Goog-Hash: crc32c=4waSgw=="], CHECK),
        (["x-goog-hash: md5=abc,crc32c=4waSgw=="], CHECK),
        (["X-Goog-Hash: md5=abc", "X-Goog-Hash: crc32c=4waSgw=="], CHECK),
        (["X-Goog-Hash: md5=abc"], None),
        (["X-Goog-Hash: crc32c=4waSgw==", "X-Goog-Stored-Content-Encoding: gzip"], None),
        (["X-Goog-Hash: crc32c=4waSgw==", "X-Goog-Stored-Content-Encoding: gzip", "Content-Encoding: gzip"], CHECK),
        (["X-Goog-Hash: crc32c=4waSgw==", "X-Goog-Stored-Content-Encoding: identity"], CHECK),
        ([], None),
    ],
)
def test_checksums_of_media(fields: list[str], crc: int | None) -> None:
    assert headers.crc32c_of(media(*fields)) == crc


def test_a_checksum_that_is_none() -> None:
    with pytest.raises(errors.IntegrityError):
        headers.crc32c_of(media("X-Goog-Hash: crc32c=AAA="))


def test_metadata_of_media() -> None:
    about = headers.metadata_of_media(
        media(
            "ETag: CKih16GjycICEAE=",
            "X-Goog-Generation: 1360887759327464",
            "Last-Modified: Fri, 20 Nov 2026 23:52:48 GMT",
            "Content-Type: text/x",
            "X-Goog-Storage-Class: NEARLINE",
            "Cache-Control: private, max-age=0",
        ),
        9,
    )
    assert about == ObjectMetadata(9, "CKih16GjycICEAE=", "1360887759327464")
    assert about.last_modified == "2026-11-20T23:52:48Z"
    assert (about.content_type, about.storage_class) == ("text/x", "NEARLINE")
    assert about.cache_control is None
    assert headers.metadata_of_media(media("Last-Modified: yesterday"), 0).last_modified is None


def test_what_a_write_says() -> None:
    options = PutOptions(content_type="a/b", cache_control="no-store", storage_class="COLDLINE", metadata={"ü": "ö"})
    assert headers.properties(options) == {
        "contentType": "a/b", "cacheControl": "no-store", "storageClass": "COLDLINE", "metadata": {"ü": "ö"}
    }  # fmt: skip
    for wrong in ({"metadata": {"a": 1}}, {"content_type": 5}):
        with pytest.raises(TypeError, match="must be a str, not int"):
            PutOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError):
        headers.content_type({"contentType": "a/b\r\nx-evil: 1"})
