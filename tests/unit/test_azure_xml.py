"""Listings, errors and block lists of Azure, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.errors import ConfigError, ProtocolError, UnsupportedOperationError
from s3dlio.stores.azure import headers, xml
from s3dlio.types import Conditions, ListEntry, PutOptions


def listing(inner: str, marker: str = "") -> bytes:
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a/" '
        f'ContainerName="c"><Blobs>{inner}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>'
    ).encode()


BLOB = (
    "<Blob><Name>{name}</Name><Properties><Creation-Time>Fri, 20 Nov 2026 23:52:48 GMT</Creation-Time>"
    "<Last-Modified>Fri, 20 Nov 2026 23:52:49 GMT</Last-Modified><Etag>0x8DE</Etag><Content-Length>7</Content-Length>"
    "<Content-Type>text/plain</Content-Type><AccessTier>Cool</AccessTier>{more}</Properties></Blob>"
)


def test_a_page() -> None:
    body = listing(
        BLOB.format(name="a&amp;b", more="")
        + "<BlobPrefix><Name>dir/</Name></BlobPrefix>"
        + BLOB.format(name="z", more=""),
        "2!92!next",
    )
    page, marker = xml.parse_list(body)
    assert page.keys == ["a&b", "z"]
    assert page.prefixes == ["dir/"]
    assert marker == "2!92!next"
    assert page.entries[0] == ListEntry("a&b", 7, '"0x8DE"', "2026-11-20T23:52:49Z", "Cool")


def test_the_last_page_may_have_an_empty_marker_in_either_form() -> None:
    assert xml.parse_list(listing(""))[1] is None
    assert xml.parse_list(listing("").replace(b"<NextMarker></NextMarker>", b"<NextMarker />"))[1] is None


def test_names_that_xml_cannot_carry_come_encoded() -> None:
    encoded = (
        '<Blob><Name Encoded="true">a%01b%2525</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>'
    )
    folder = '<BlobPrefix><Name Encoded="true">%02/</Name></BlobPrefix>'
    page, _ = xml.parse_list(listing(encoded + BLOB.format(name="50%25", more="") + folder))
    assert page.keys == ["a\x01b%25", "50%25"]
    assert page.prefixes == ["\x02/"]
    assert [entry.key for entry in page.entries] == page.keys


@pytest.mark.parametrize(
    "more",
    ["<ResourceType>directory</ResourceType>", "</Properties><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>",
     "</Properties><Metadata><Hdi_IsFolder>True</Hdi_IsFolder></Metadata>"],
)
def test_directories_are_no_objects(more: str) -> None:
    page, _ = xml.parse_list(listing(BLOB.format(name="dir", more=more) + BLOB.format(name="dir/file", more="")))
    assert page.keys == ["dir/file"]
    assert [entry.key for entry in page.entries] == ["dir/file"]


@pytest.mark.parametrize("body", [b"", b"<html>", listing("")[:-10]])
def test_what_is_no_whole_listing(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        xml.parse_list(body)
    with pytest.raises(ProtocolError):
        xml.parse_containers(body)


def test_a_listing_whose_entries_are_damaged() -> None:
    with pytest.raises(ProtocolError, match="not a whole"):
        xml.parse_list(listing("<Blob><Name>a</Name>" + BLOB.format(name="b", more="")))


def test_containers() -> None:
    item = "<Container><Name>{}</Name><Properties><Etag>1</Etag></Properties></Container>"
    items = f"<Containers>{item.format('one')}{item.format('two')}</Containers><NextMarker>m</NextMarker>"
    body = f"<EnumerationResults>{items}</EnumerationResults>".encode()
    assert xml.parse_containers(body) == (["one", "two"], "m")


def test_failures() -> None:
    body = (
        b"<?xml version='1.0'?><Error><Code>BlobNotFound</Code><Message>It is gone.\nRequestId:1\nTime:2</Message>"
        b"<AuthenticationErrorDetail>detail</AuthenticationErrorDetail></Error>"
    )
    assert xml.parse_failure(body) == ("BlobNotFound", "It is gone.", "detail")
    assert xml.parse_failure(b"<html>no</html>") is None
    assert xml.parse_failure(b"") is None


@given(st.lists(st.text("abcDEF012+/=", min_size=1), max_size=20))
def test_block_lists(ids: list[str]) -> None:
    body = xml.render_blocks(ids).decode()
    assert body.count("<Latest>") == len(ids)
    answer = body.replace("<BlockList>", "<CommittedBlocks>").replace("</BlockList>", "</CommittedBlocks>")
    named = answer.replace("<Latest>", "<Block><Name>").replace("</Latest>", "</Name><Size>1</Size></Block>")
    assert xml.parse_blocks(named.encode()) == ids


def test_no_committed_blocks() -> None:
    assert xml.parse_blocks(b"<BlockList><CommittedBlocks /></BlockList>") == []


def test_dates() -> None:
    assert headers.rfc3339_of_http_date("Fri, 20 Nov 2026 23:52:48 GMT") == "2026-11-20T23:52:48Z"
    for text in (None, "", "2026-11-20", "Fri, 20 Foo 2026 23:52:48 GMT"):
        assert headers.rfc3339_of_http_date(text) is None


# -- what a write may say


def test_the_fields_of_a_write() -> None:
    options = PutOptions(
        content_type="text/plain",
        cache_control="no-cache",
        metadata={"Colour": "blue"},
        tags={"a b": "c&d"},
        storage_class="Cool",
        conditions=Conditions(if_none_match="*"),
    )
    assert headers.put_fields(options) == [
        ("x-ms-blob-content-type", "text/plain"),
        ("x-ms-blob-cache-control", "no-cache"),
        ("x-ms-meta-colour", "blue"),
        ("x-ms-tags", "a%20b=c%26d"),
        ("x-ms-access-tier", "Cool"),
        ("if-none-match", "*"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(content_type="a\r\nX: y"),
        PutOptions(content_type="ü"),
        PutOptions(metadata={"colour": " blue"}),
        PutOptions(metadata={"colour": "blue\n"}),
        PutOptions(metadata={"with-dash": "x"}),
        PutOptions(metadata={"1st": "x"}),
        PutOptions(metadata={"": "x"}),
        PutOptions(storage_class="STANDARD"),
        PutOptions(conditions=Conditions(if_match='"a"\r\nX: y')),
    ],
)
def test_what_azure_does_not_take(options: PutOptions) -> None:
    with pytest.raises(ConfigError):
        headers.put_fields(options)


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(server_side_encryption="AES256"),
        PutOptions(ssekms_key_id="key"),
        PutOptions(sse_customer_key=b"k" * 32),
        PutOptions(conditions=Conditions(generation=5)),
    ],
)
def test_what_azure_does_not_have(options: PutOptions) -> None:
    with pytest.raises(UnsupportedOperationError):
        headers.put_fields(options)
