"""A destination that looks like a mistyped URI does not become a local directory of that name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.errors import AlreadyExistsError, InvalidURIError, ObjectNotFoundError

TRANSFERS: dict[str, Callable[[Client, str, str], Any]] = {
    "upload": lambda client, src, dst: client.upload(src, dst),
    "download": lambda client, src, dst: client.download(f"file://{src}", dst),
    "copy": lambda client, src, dst: client.copy(src, dst),
    "move": lambda client, src, dst: client.move(src, dst),
    "sync": lambda client, src, dst: client.sync(str(Path(src).parent), dst),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x").write_bytes(b"data")
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("verb", TRANSFERS)
@pytest.mark.parametrize(
    ("wrong", "right"),
    [("s3//b/t/", "s3://b/t/"), ("s3:b/", "s3://b/"), ("s3:/b/t", "s3://b/t"), ("GS//b", "gs://b"), ("az:a/c", "az://a/c")],
)
def test_a_mistyped_uri_is_refused_with_the_right_form(here: Path, verb: str, wrong: str, right: str) -> None:
    with Client() as client, pytest.raises(InvalidURIError) as caught:
        TRANSFERS[verb](client, str(here.parent / "files" / "x"), wrong)
    assert right in str(caught.value)
    assert f"./{wrong}" in str(caught.value)
    assert not list(here.iterdir())


def test_an_upload_to_a_name_that_is_not_there_is_refused(here: Path) -> None:
    source = here.parent / "files" / "x"
    with Client() as client:
        with pytest.raises(InvalidURIError, match="s3://bucket/t/"):
            client.upload(source, "bucket/t/")
        assert not list(here.iterdir())
        client.upload(source, "./bucket/t/")
        client.upload(source, "bucket/u/")  # it is there now
        client.upload(source, here / "s3:odd")  # a Path is a path
        client.upload(source, "./s3:odd/")
        client.copy(source, "new/")
    found = sorted(str(path.relative_to(here)) for path in here.rglob("x"))
    assert found == ["bucket/t/x", "bucket/u/x", "new/x", "s3:odd/x"]


def test_a_mistyped_source_names_what_was_meant() -> None:
    with Client() as client, pytest.raises(ObjectNotFoundError, match="s3://b/k"):
        client.upload("s3//b/k", "memory://b/")


def test_a_file_where_the_directory_should_be_is_told_with_the_verb_that_takes_one(here: Path) -> None:
    (here / "y").write_bytes(b"kept")
    with Client() as client, pytest.raises(AlreadyExistsError, match=r"cp \(copy\) takes the name of a file"):
        client.download(f"file://{here.parent}/files/x", str(here / "y"))
    assert (here / "y").read_bytes() == b"kept"
