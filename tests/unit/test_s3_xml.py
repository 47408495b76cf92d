"""The XML of S3: what is written can be read by anybody's parser, and what anybody writes is read."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dlio.errors import ProtocolError
from s3dlio.stores.s3 import xml

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
IN_XML = KEYS.filter(lambda key: xml.can_carry(key))


@given(st.lists(IN_XML, max_size=5))
def test_deletes_say_what_is_meant(keys: list[str]) -> None:
    tree = ElementTree.fromstring(xml.render_delete(keys))
    assert [item.text for item in tree.iter(f"{NAMESPACE}Key")] == keys
    assert tree.findtext(f"{NAMESPACE}Quiet") == "true"


@given(st.lists(KEYS, max_size=5), st.lists(KEYS, max_size=3))
def test_listings_are_read_as_they_are_meant(keys: list[str], prefixes: list[str]) -> None:
    contents = "".join(f"<Contents><Key>{escape(quote_plus(key))}</Key><Size>7</Size></Contents>" for key in keys)
    common = "".join(f"<CommonPrefixes><Prefix>{quote_plus(name)}</Prefix></CommonPrefixes>" for name in prefixes)
    body = f"<ListBucketResult><EncodingType>url</EncodingType>{contents}{common}</ListBucketResult>"
    page, token, _ = xml.parse_list(body.encode())
    assert list(page.keys) == keys
    assert list(page.prefixes) == prefixes
    assert [entry.size for entry in page.entries] == [7] * len(keys)
    assert token is None


@given(KEYS)
def test_references_are_resolved(text: str) -> None:
    assert xml.unescape(escape(text, {'"': "&quot;", "'": "&apos;"})) == text
    assert xml.unescape("".join(f"&#{ord(c)};" for c in text)) == text
    assert xml.unescape("".join(f"&#x{ord(c):x};" for c in text)) == text


@pytest.mark.parametrize("text", ["&nbsp;", "&copy", "& ", "&", "&#;", "&#x;", "&#xg;"])
def test_what_is_no_reference_stays(text: str) -> None:
    assert xml.unescape(text) == text


def test_failures() -> None:
    body = b"<Error><Code>NoSuchKey</Code><Message>a &lt; b</Message><RequestId>R</RequestId><Region>x</Region></Error>"
    assert xml.parse_failure(body) == ("NoSuchKey", "a < b", "R", "x")
    assert xml.parse_failure(b"<html>") is None
    assert xml.parse_failure(b"") is None
    assert xml.parse_failure(b"\xff<Code>\xff</Code>") is not None


def test_keys_that_could_not_be_deleted() -> None:
    body = (
        '<DeleteResult xmlns="x"><Error><Key>a&amp;&#13;ä</Key><Code>AccessDenied</Code><Message>no</Message></Error>'
        "<Error><Key>b</Key><Code>InternalError</Code><Message/></Error></DeleteResult>"
    )
    failed = xml.parse_delete(body.encode())
    assert [(key, failure.code) for key, failure in failed] == [("a&\rä", "AccessDenied"), ("b", "InternalError")]
    with pytest.raises(ProtocolError):
        xml.parse_delete(b"<html>")
    with pytest.raises(ProtocolError):
        xml.parse_delete(b"<DeleteResult>\xff</DeleteResult>")


def test_completions_name_every_part() -> None:
    body = xml.render_complete([(1, '"a&b"', None), (2, '"c"', "AAAAAA==")])
    tree = ElementTree.fromstring(body)
    parts = [[child.text for child in part] for part in tree.iter(f"{NAMESPACE}Part")]
    assert parts == [["1", '"a&b"'], ["2", '"c"', "AAAAAA=="]]


@given(st.dictionaries(IN_XML, IN_XML, max_size=4))
def test_tags_round_trip(tags: dict[str, str]) -> None:
    assert xml.parse_tags(xml.render_tags(tags.items())) == tags


def test_buckets() -> None:
    body = (
        b"<ListAllMyBucketsResult><Buckets><Bucket><Name>b1</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>"
        b"</Bucket></Buckets><ContinuationToken>t</ContinuationToken></ListAllMyBucketsResult>"
    )
    assert xml.parse_buckets(body) == ([("b1", "2026-01-01T00:00:00.000Z")], "t")
    with pytest.raises(ProtocolError):
        xml.parse_buckets(b"<html>")


def test_keys_and_entries_that_differ_in_number() -> None:
    body = b"<ListBucketResult><Contents><Key>a</Key></Contents><Key>b</Key></ListBucketResult>"
    with pytest.raises(ProtocolError, match="differ"):
        _ = xml.parse_list(body)[0].entries
