"""Header fields of S3, to and from our own types."""

from __future__ import annotations

import pytest

from s3dlio.errors import ConfigError, ProtocolError
from s3dlio.memory import crc32c
from s3dlio.net.response import Response
from s3dlio.stores.s3 import headers
from s3dlio.types import NO_OPTIONS, Conditions, PutOptions


def answer(*fields: tuple[str, str]) -> Response:
    head = ("HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)).encode("latin-1")
    return Response(200, head, head.lower())


def test_options_become_fields() -> None:
    options = PutOptions(
        content_type="text/plain",
        metadata={"Name": " value "},
        tags={"a b": "c&d"},
        storage_class="STANDARD_IA",
        sse_customer_key=b"k" * 32,
        conditions=Conditions(if_none_match="*", if_match='"e"'),
    )
    fields = dict(headers.put_fields(options))
    assert fields["content-type"] == "text/plain"
    assert fields["x-amz-meta-name"] == "value"
    assert fields["x-amz-tagging"] == "a+b=c%26d"
    assert fields["x-amz-storage-class"] == "STANDARD_IA"
    assert fields["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert fields["if-none-match"] == "*"
    assert fields["if-match"] == '"e"'
    assert headers.put_fields(NO_OPTIONS) == []


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_customer_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        headers.sse_customer_fields(b"k" * length)


@pytest.mark.parametrize(
    ("name", "value"), [("a", "\r\n"), ("a", "\x00"), ("a", "é"), ("a:b", "c"), ("a\n", "b"), ("a", 5), ("a", "\x7f")]
)
def test_what_no_header_carries(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="header"):
        headers.check_field(name, value)


def test_metadata_is_read_back() -> None:
    response = answer(
        ("ETag", '"e"'),
        ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT"),
        ("x-amz-meta-Color", "blue"),
        ("X-Amz-Meta-empty", ""),
        ("x-amz-version-id", "v1"),
        ("x-amz-checksum-crc32c", crc32c.to_base64(7)),
    )
    found = headers.metadata_of(response, 5)
    assert (found.size, found.etag, found.version_id, found.crc32c) == (5, '"e"', "v1", 7)
    assert found.last_modified == "2026-11-20T23:52:48Z"
    assert found.metadata == {"color": "blue", "empty": ""}


def test_a_date_that_is_none() -> None:
    assert headers.rfc3339_of_http_date("yesterday") is None
    assert headers.rfc3339_of_http_date(None) is None


def test_checksums() -> None:
    assert headers.crc32c_of(None) is None
    assert headers.crc32c_of(crc32c.to_base64(0xDEADBEEF)) == 0xDEADBEEF
    assert headers.crc32c_of("AAAAAA==-7") is None
    for damaged in ("", "AAAA", "\xff", "AAAAAA== ", "!AAAAA=="):
        with pytest.raises(ProtocolError):
            headers.crc32c_of(damaged)
