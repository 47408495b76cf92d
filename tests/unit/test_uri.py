"""URIs: what they name, and what is refused before any I/O."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dlio.errors import InvalidURIError
from s3dlio.uri import as_uri, has_scheme, parse, parse_container


@pytest.mark.parametrize(
    ("uri", "scheme", "root", "container", "key"),
    [
        ("s3://b/k", "s3", "s3://b", "b", "k"),
        ("s3://b", "s3", "s3://b", "b", ""),
        ("s3://b/", "s3", "s3://b", "b", ""),
        ("S3://b/k", "s3", "s3://b", "b", "k"),
        ("s3://b//a/../x", "s3", "s3://b", "b", "/a/../x"),
        ("s3://b/a%20b+c?d#e", "s3", "s3://b", "b", "a%20b+c?d#e"),
        ("s3://host:9000/b/k", "s3", "s3://host:9000/b", "b", "k"),
        ("s3://[::1]:9000/b/k", "s3", "s3://[::1]:9000/b", "b", "k"),
        ("az://account/c/k/l", "az", "az://account/c", "c", "k/l"),
        ("azure://account/c/k", "az", "az://account/c", "c", "k"),
        ("gs://b/k", "gs", "gs://b", "b", "k"),
        ("gcs://b/k", "gs", "gs://b", "b", "k"),
        ("file:///a/b", "file", "file://", "", "/a/b"),
        ("file://a/b", "file", "file://", "", "a/b"),
        ("direct:///a", "direct", "direct://", "", "/a"),
        ("memory://m/k", "memory", "memory://m", "m", "k"),
    ],
)
def test_the_parts_of_a_uri(uri: str, scheme: str, root: str, container: str, key: str) -> None:
    location = parse(uri)
    assert (location.scheme, location.root, location.container, location.key) == (scheme, root, container, key)


def test_an_endpoint_is_a_first_segment_with_a_port() -> None:
    assert parse("s3://10.0.0.1:9000/b/k").endpoint == "10.0.0.1:9000"
    assert parse("s3://my.bucket/9000/k").endpoint is None


def test_azure_containers_of_a_known_account() -> None:
    assert parse("az://c/k", azure_account="acc")[3:] == ("acc", "c", "k")
    assert parse("az://acc/c/k", azure_account="acc")[1:] == ("az://acc/c", None, "acc", "c", "k")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("bogus://x/y", "s3://"),
        ("no scheme at all", "s3://"),
        ("/data/file", "file:///data/file"),
        ("s3://s3://b/k", "did you mean 's3://b/k'"),
        ("file://file:///x", "twice"),
        ("s3://", "empty"),
        ("s3:///k", "empty"),
        ("gs:///k", "empty"),
        ("az://account", "container"),
        ("file://", "empty"),
        ("file:///a\0b", "NUL"),
        ("s3://b/a\0b", "NUL"),
        ("s3://bu cket/k", "bucket"),
        ("s3://../k", "bucket"),
    ],
)
def test_what_names_no_object_is_refused_and_named(uri: str, says: str) -> None:
    with pytest.raises(InvalidURIError, match=r"(?s).") as caught:
        parse(uri)
    assert says in str(caught.value)
    assert isinstance(caught.value, ValueError | RuntimeError)


@pytest.mark.parametrize("target", [3, None, b"s3://b/k", ["s3://b/k"]])
def test_what_is_no_uri_at_all(target: object) -> None:
    with pytest.raises(TypeError, match="PathLike"):
        parse(target)  # type: ignore[arg-type]


def test_a_path_object_names_a_local_file(tmp_path: Path) -> None:
    assert as_uri(tmp_path / "x") == f"file://{tmp_path}/x"
    assert as_uri(Path("x")) == f"file://{Path.cwd()}/x"


def test_has_scheme() -> None:
    assert has_scheme("GS://b/k")
    assert not has_scheme("http://b/k")
    assert not has_scheme("a/b")


@pytest.mark.parametrize(
    ("name", "root", "container"),
    [
        ("b", "s3://b", "b"),
        ("s3://b", "s3://b", "b"),
        ("s3://b/", "s3://b", "b"),
        ("s3://host:9000/b", "s3://host:9000/b", "b"),
        ("gs://b", "gs://b", "b"),
        ("az://account/c", "az://account/c", "c"),
    ],
)
def test_containers(name: str, root: str, container: str) -> None:
    location = parse_container(name)
    assert (location.root, location.container, location.key) == (root, container, "")


@pytest.mark.parametrize("uri", ["s3://", "s3://host:9000", "s3://host:9000/", "az://account", "gs://", "memory://"])
def test_a_service_has_no_container(uri: str) -> None:
    assert parse_container(uri).container == ""


def test_the_services_endpoint_and_account() -> None:
    assert parse_container("s3://host:9000").endpoint == "host:9000"
    assert parse_container("az://").account is None
    assert parse_container("az://", azure_account="acc").account == "acc"
    assert parse_container("az://c", azure_account="acc").container == "c"


@pytest.mark.parametrize("uri", ["s3://b/key", "gs://b/key", "bogus://b"])
def test_an_object_is_no_container(uri: str) -> None:
    with pytest.raises(InvalidURIError):
        parse_container(uri)
