"""What transfers say of new objects arrives at every store, in one request, in parts and in copies by the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import s3dlio
from s3dlio import errors
from s3dlio.client import Client
from s3dlio.types import PutOptions
from tests.conformance.stores import Case

MIB = 1 << 20
#: Text that every store with metadata keeps.
SAID = {
    "content_type": "text/x-test", "cache_control": "max-age=60", "content_language": "en",
    "content_disposition": "attachment",
}  # fmt: skip


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(multipart={"threshold": 5 * MIB, "part_size": 5 * MIB}) as client:
        yield client


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file, and one that is written in parts."""
    root = tmp_path_factory.mktemp("files")
    (root / "small.html").write_bytes(b"<p>")
    (root / "large.json").write_bytes(b"{" * (5 * MIB + 9))
    return root


def needs_metadata(case: Case, client: Client, files: Path) -> None:
    """Where there is no place for metadata, all of it is refused before anything is written."""
    if case.keeps_metadata:
        return
    for said in ({"content_type": "text/plain"}, {"metadata": {"a": "b"}}, {"storage_class": "GLACIER"},
                 {"sse": "AES256"}, {"tags": {"a": "b"}}, {"cache_control": "no-store"}):  # fmt: skip
        with pytest.raises(errors.UnsupportedOperationError, match="a file has none"):
            client.upload(files / "small.html", case.store.uri(case.key("to/")), **said)
    assert case.names() == []
    pytest.skip("files keep no metadata")


def test_new_objects_carry_what_is_said(case: Case, client: Client, files: Path) -> None:
    needs_metadata(case, client, files)
    place = case.store.uri(case.key("to/"))
    done = client.upload([files / "small.html", files / "large.json"], place, metadata={"Colour": "blue"}, **SAID)
    assert done.succeeded == 2
    for name in ("small.html", "large.json"):
        about = client.head(f"{place}{name}")
        assert {field: getattr(about, field) for field in SAID} == SAID
        assert {key.lower(): value for key, value in about.metadata.items()} == {"colour": "blue"}


def test_names_tell_content_types_unless_they_shall_not(case: Case, client: Client, files: Path) -> None:
    if not case.keeps_metadata:
        client.upload(files / "small.html", case.store.uri(case.key("to/")))  # nothing is guessed, nothing refused
        return
    place = case.store.uri(case.key("to/"))
    client.upload([files / "small.html", files / "large.json"], place)
    assert client.head(f"{place}small.html").content_type == "text/html"
    assert client.head(f"{place}large.json").content_type == "application/json"
    client.upload(files / "small.html", place, guess_content_type=False)
    assert client.head(f"{place}small.html").content_type != "text/html"


def test_copies_keep_what_is_not_said(case: Case, client: Client, files: Path) -> None:
    needs_metadata(case, client, files)
    source, target = case.store.uri(case.key("a")), case.store.uri(case.key("b"))
    client.put_bytes(source, b"data", content_type="text/x-one", metadata={"who": "me"})
    client.copy(source, target)
    about = client.head(target)
    assert (about.content_type, dict(about.metadata)) == ("text/x-one", {"who": "me"})
    case.needs("properties")
    client.copy(source, target, cache_control="no-store")
    about = client.head(target)
    assert (about.content_type, about.cache_control) == ("text/x-one", "no-store")
    assert dict(about.metadata) == {"who": "me"}
    client.copy(source, target, metadata={"now": "others"})
    about = client.head(target)
    assert (about.content_type, dict(about.metadata)) == ("text/x-one", {"now": "others"})


def test_nothing_is_replaced_without_clobbering(case: Case, client: Client, files: Path) -> None:
    place = case.store.uri(case.key("to/"))
    client.put_bytes(f"{place}small.html", b"there")
    done = client.upload([files / "small.html", files / "large.json"], place, no_clobber=True)
    assert (done.succeeded, done.skipped, done.failed) == (1, 1, 0)
    assert client.get(f"{place}small.html") == b"there"
    client.put_bytes(case.store.uri(case.key("other")), b"other")
    done = client.copy(case.store.uri(case.key("other")), f"{place}small.html", no_clobber=True)
    assert (done.succeeded, done.skipped) == (0, 1)
    done = client.move(case.store.uri(case.key("other")), f"{place}small.html", no_clobber=True)
    assert (done.succeeded, done.skipped) == (0, 1)
    assert client.get(f"{place}small.html") == b"there"
    assert client.get(case.store.uri(case.key("other"))) == b"other"


def test_a_dry_run_changes_nothing(case: Case, client: Client, files: Path, tmp_path: Path) -> None:
    place = case.store.uri(case.key("to/"))
    seen: list[tuple[str, str, int]] = []
    done = client.upload(
        files, place, dry_run=True, on_action=lambda action: seen.append((action.verb, action.target, action.size))
    )
    assert (done.attempted, done.succeeded, done.bytes) == (2, 0, 3 + 5 * MIB + 9)
    assert sorted(seen) == [("copy", f"{place}large.json", 5 * MIB + 9), ("copy", f"{place}small.html", 3)]
    assert case.names() == []
    client.put_bytes(f"{place}a", b"abc")
    for run in (client.copy, client.move):
        assert run(place, case.store.uri(case.key("other/")), recursive=True, dry_run=True).bytes == 3
    assert client.download(place, tmp_path / "new", dry_run=True).attempted == 1
    assert not (tmp_path / "new").exists()
    assert case.names() == ["to/a"]


def test_metadata_that_cannot_be_sent_are_refused_before_any_request(case: Case, client: Client, files: Path) -> None:
    needs_metadata(case, client, files)
    if case.store.scheme == "memory":
        pytest.skip("nothing is sent")
    place = case.store.uri(case.key("to/"))
    for said in ({"metadata": {"a": "x\r\ny: z"}}, {"metadata": {"a\n": "x"}}, {"content_type": "text/plain\r\n"},
                 {"cache_control": "a\nb"}):  # fmt: skip
        with pytest.raises(errors.ConfigError):
            client.upload(files, place, **said)
        with pytest.raises(errors.ConfigError):
            client.upload(files, place, dry_run=True, **said)
        with pytest.raises(errors.ConfigError):
            case.store.writer(case.key("to/a"), options=PutOptions(**said))  # type: ignore[arg-type]
    assert case.names() == []


def test_only_objects_of_some_size_and_age(case: Case, client: Client, tmp_path: Path) -> None:
    place = case.store.uri(case.key("from/"))
    for size in (1, 10, 100):
        client.put_bytes(f"{place}{size}", bytes(size))
    assert client.download(place, tmp_path / "a", min_size=2, max_size="10").succeeded == 1
    assert client.download(place, tmp_path / "b", max_age="1h").succeeded == 3
    done = client.download(place, tmp_path / "c", min_age="1h")
    assert (done.succeeded, done.skipped) == (0, 3)


def test_tags_and_storage_class(case: Case, client: Client, files: Path) -> None:
    needs_metadata(case, client, files)
    scheme = case.store.scheme
    place = case.store.uri(case.key("to/"))
    if scheme == "gs" or scheme == "memory":
        with pytest.raises(errors.UnsupportedOperationError, match="tags"):
            client.upload(files / "small.html", place, tags={"a": "b"})
    with pytest.raises((errors.ConfigError, errors.UnsupportedOperationError), match="tags"):
        client.upload(files, place, tags={str(number): "x" for number in range(11)})
    assert case.names() == []


def test_keywords_that_there_are_not() -> None:
    with pytest.raises(TypeError, match="content_type"):
        s3dlio.upload("a", "s3://b/", content_typ="text/plain")
    with pytest.raises(TypeError, match="no_clobber"):
        s3dlio.download("s3://b/", "a", no_clobbr=True)
    with pytest.raises(errors.ConfigError, match="server-side encryption"):
        s3dlio.upload("a", "s3://b/", sse="rot13")
