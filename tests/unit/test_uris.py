"""Several URIs written as one text."""

from __future__ import annotations

from pathlib import Path

import pytest

import s3dlio
from s3dlio.errors import ConfigError, InvalidURIError, ObjectNotFoundError


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("s3://b/x", ["s3://b/x"]),
        ("s3://b-{1...3}/", ["s3://b-1/", "s3://b-2/", "s3://b-3/"]),
        ("s3://10.0.0.{9...10}:9000/b/", ["s3://10.0.0.9:9000/b/", "s3://10.0.0.10:9000/b/"]),
        ("s3://r{1...2}-n{1...2}", ["s3://r1-n1", "s3://r1-n2", "s3://r2-n1", "s3://r2-n2"]),
        ("file:///d{1...2}/{1...2}", ["file:///d1/1", "file:///d1/2", "file:///d2/1", "file:///d2/2"]),
        ("s3://b-{09...10}/", ["s3://b-09/", "s3://b-10/"]),
        ("s3://b-{8...010}/", ["s3://b-008/", "s3://b-009/", "s3://b-010/"]),
        ("s3://b-{0...1}/", ["s3://b-0/", "s3://b-1/"]),
        ("s3://b/{}/{a...b}/{1..2}", ["s3://b/{}/{a...b}/{1..2}"]),
    ],
)
def test_templates(template: str, expected: list[str]) -> None:
    assert s3dlio.expand_uri_template(template) == expected


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("s3://b-{3...1}/", ConfigError, "backwards"),
        ("s3://b-{1...9999999}/", ConfigError, "more than"),
        ("b-{1...2}/", InvalidURIError, "no scheme"),
    ],
)
def test_templates_that_are_refused(template: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        s3dlio.expand_uri_template(template)


def test_lists() -> None:
    assert s3dlio.parse_uri_list(" s3://a/ ,,s3://b/") == ["s3://a/", "s3://b/"]
    assert s3dlio.parse_uri_list("gs://a/,GCS://b/") == ["gs://a/", "GCS://b/"]
    for text, message in ((" ,", "no URIs"), ("s3://a/,b", "no scheme"), ("s3://a/,file:///b", "file, s3")):
        with pytest.raises(InvalidURIError, match=message):
            s3dlio.parse_uri_list(text)


def test_files_of_uris(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.txt"
    path.write_text("# two\ns3://a/\n\n  s3://b/  \n")
    uris = ["s3://a/", "s3://b/"]
    assert s3dlio.load_uris_from_file(path) == s3dlio.load_uris_from_file(str(path)) == uris
    assert s3dlio.load_uris_from_file(f"file://{path}") == uris
    path.write_text("# none\n")
    with pytest.raises(InvalidURIError, match=r"no URIs in .*endpoints.txt"):
        s3dlio.load_uris_from_file(path)
    with pytest.raises(ObjectNotFoundError):
        s3dlio.load_uris_from_file(tmp_path / "nope")


@pytest.mark.parametrize(
    ("file", "endpoint", "target", "expected"),
    [
        ("file:///tmp/data/x", "file:///tmp/", "s3://b/test/", "s3://b/test/data/x"),
        ("/bucket/data/x", "/bucket/", "s3://new", "s3://new/data/x"),
        ("/bucket/data/x", "/bucket", "s3://new/", "s3://new/data/x"),
        ("data/x", "s3://other/", "s3://new", "s3://new/data/x"),
    ],
)
def test_translation(file: str, endpoint: str, target: str, expected: str) -> None:
    assert s3dlio.translate_uri(file, endpoint, target) == expected
