"""What `open` takes, and what it refuses before anything is sent."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest

import s3dlio

URI = "memory://open-arguments/key"


@pytest.fixture(autouse=True)
def _there() -> None:
    s3dlio.put_bytes(URI, b"line\r\nand \xff")


@pytest.mark.parametrize("mode", ["", "rw", "rr", "b", "z", "rbt", "wx", "U"])
def test_what_is_no_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="invalid mode"):
        s3dlio.open(URI, mode)


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [
        ("rb", {"encoding": "utf-8"}), ("wb", {"newline": ""}), ("rb", {"errors": "ignore"}), ("r", {"buffering": 0}),
        ("rb", {"part_size": 5 << 20}), ("rb", {"options": s3dlio.PutOptions()}), ("r", {"metadata": {}}),
        ("wb", {"version_id": "1"}), ("w", {"conditions": s3dlio.Conditions(if_match="x")}),
        ("wb", {"max_in_flight": 0}), ("wb", {"expected_size": -1}),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_the_mode_are_refused(mode: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(s3dlio.ConfigError):
        s3dlio.open(URI, mode, **arguments)
    assert s3dlio.get(URI) == b"line\r\nand \xff"


def test_an_encoding_that_is_none_leaves_the_object() -> None:
    for wrong in ({"encoding": "no-such"}, {"newline": "x"}):
        with pytest.raises(s3dlio.ConfigError):
            s3dlio.open(URI, "w", **wrong)
    assert s3dlio.get(URI).startswith(b"line")


def test_files_are_of_io() -> None:
    with s3dlio.open(URI, "rb") as reader:
        assert type(reader) is io.BufferedReader
        assert (reader.name, reader.mode) == (URI, "rb")
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(reader)
    with s3dlio.open(URI, "wb") as writer:
        assert isinstance(writer, io.BufferedWriter)
        assert (writer.name, writer.mode) == (URI, "wb")
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(writer)
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(writer.raw)
    with s3dlio.open(URI, "w", buffering=1) as text:
        assert isinstance(text, io.TextIOWrapper)
        assert text.line_buffering
        assert (text.encoding, text.mode) == ("utf-8", "w")
    with s3dlio.open(URI, "rb", buffering=0) as raw:
        assert isinstance(raw, io.RawIOBase)
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(raw)


def test_newlines_and_errors_of_text_are_those_of_io() -> None:
    with s3dlio.open(URI, errors="replace") as text:
        assert text.read() == "line\nand \ufffd"
    with s3dlio.open(URI, errors="replace", newline="") as text:
        assert text.readline() == "line\r\n"
    with s3dlio.open(URI) as text, pytest.raises(UnicodeDecodeError):
        text.read()


def test_conditions_and_metadata_reach_the_store() -> None:
    with s3dlio.open(URI, "wb", content_type="text/x", metadata={"a": "b"}) as file:
        file.write(b"with metadata")
    about = s3dlio.head(URI)
    assert (about.content_type, about.metadata) == ("text/x", {"a": "b"})
    with s3dlio.open(URI, "rb", conditions=s3dlio.Conditions(if_match=about.etag)) as file:
        assert file.read() == b"with metadata"
    with pytest.raises(s3dlio.PreconditionFailedError):
        s3dlio.open(URI, "rb", conditions=s3dlio.Conditions(if_match='"other"'))
    options = s3dlio.PutOptions(conditions=s3dlio.Conditions(if_match='"other"'))
    file = s3dlio.open(URI, "wb", options=options)
    file.write(b"unwanted")
    with pytest.raises(s3dlio.PreconditionFailedError):
        file.close()
    assert file.closed
    assert s3dlio.get(URI) == b"with metadata"


def test_a_local_file_that_is_written_to_is_no_mixture(tmp_path: Path) -> None:
    path = tmp_path / "changing"
    path.write_bytes(b"a" * 300_000)
    with s3dlio.open(f"file://{path}", "rb") as file:
        file.read(10)
        path.open("r+b").write(b"bbb")
        file.seek(200_000)
        with pytest.raises(s3dlio.ObjectChangedError):
            file.read(10)


def test_a_local_file_that_only_grows_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"a" * 300_000)
    with s3dlio.open(f"file://{path}", "rb") as file:
        with path.open("ab") as more:
            more.write(b"b")
        assert file.read() == b"a" * 300_000


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        s3dlio.open(f"file://{tmp_path}", "rb")
    with pytest.raises(FileNotFoundError):
        s3dlio.open(f"direct://{tmp_path}/missing", "rb")
    with s3dlio.open("file:///proc/self/status") as lines:  # it tells no size
        assert lines.readline().startswith("Name:")
