"""Keys are data that somebody else wrote: whatever they say, a download stays within its directory."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s3dlio.client import Client
from s3dlio.errors import AlreadyExistsError, BatchError, IsDirectoryError, LocalIOError, UnsafeKeyError
from s3dlio.transfer.destination_directory import DestinationDirectory, safe_segments
from s3dlio.types import Observation

_numbers = itertools.count()


def bucket_of(client: Client, *keys: str) -> str:
    bucket = f"memory://keys-{next(_numbers)}"
    for key in keys:
        client.put_bytes(f"{bucket}/{key}", key.encode("utf-8", "surrogatepass"))
    return bucket


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


EVIL = [
    "../evil", "a/../../evil", "a/../b", "..", "p/..", "/etc/evil", "//evil", "a//b", "./a", "a/./b", ".", "nul\0nul",
    "lone\ud800surrogate", ".s3dlio-00.partial",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["file", "direct"])
@pytest.mark.parametrize("run", [Client.download, Client.copy, Client.sync])
def test_evil_keys_are_refused_and_the_others_go_on(tmp_path: Path, scheme: str, run: Callable[..., object]) -> None:
    with Client() as client:
        store, _ = client.store_for("memory://x/")
        bucket = bucket_of(client, "p/good", "p/sub/fine")
        for key in EVIL:
            store, _ = client.store_for(f"{bucket}/")
            store.put("p/" + key, b"evil")
        more = {"recursive": True} if run is Client.copy else {}
        with pytest.raises(BatchError) as caught:
            run(client, f"{bucket}/p/", f"{scheme}://{tmp_path}/in/out/", **more)
    failures = {failure.uri.partition("/p/")[2]: failure.error for failure in caught.value.failures}
    assert sorted(failures) == sorted(EVIL)
    for error in failures.values():
        assert isinstance(error, UnsafeKeyError)
        assert str(tmp_path / "in" / "out") in str(error)
        assert bucket in str(error)
        assert str(error).isprintable()
    assert everything(tmp_path) == {"in/out/good": b"p/good", "in/out/sub/fine": b"p/sub/fine"}


keys = st.text(st.sampled_from("ab./\\:\0 ~éE\n"), max_size=12) | st.text(max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(keys.filter(bool), min_size=1, max_size=6, unique=True))
@example(names=["a", "a/b"])
@example(names=["x" * 300])
def test_no_set_of_keys_writes_outside(tmp_path: Path, names: list[str]) -> None:
    top = tmp_path / f"run-{next(_numbers)}"
    top.mkdir()
    with Client() as client:
        bucket = f"memory://keys-{next(_numbers)}"
        store, _ = client.store_for(f"{bucket}/")
        for name in names:
            store.put("p/" + name, name.encode("utf-8", "surrogatepass"))
        failed: set[str] = set()
        try:
            client.download(f"{bucket}/p/", top / "in")
        except BatchError as error:
            failed = {failure.uri.partition("/p/")[2] for failure in error.failures}
    landed = {n: n.encode("utf-8", "surrogatepass") for n in names if n not in failed and not n.endswith("/")}
    assert everything(top / "in") == landed
    assert os.listdir(top) == ["in"]


def test_links_in_the_destination_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    for scheme in ("file", "direct"):
        inside = tmp_path / scheme
        inside.mkdir()
        (inside / "link").symlink_to(outside)
        (inside / "deep").mkdir()
        (inside / "deep" / "link").symlink_to("../../outside")
        with Client() as client:
            bucket = bucket_of(client, "link/precious", "deep/link/new", "good")
            with pytest.raises(BatchError) as caught:
                client.copy(f"{bucket}/", f"{scheme}://{inside}/", recursive=True)
        assert len(caught.value.failures) == 2
        assert all(isinstance(failure.error, UnsafeKeyError) for failure in caught.value.failures)
        assert (inside / "good").read_bytes() == b"good"
    assert everything(outside) == {"precious": b"precious"}


def test_a_link_of_the_file_s_own_name_is_replaced_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    for scheme in ("file", "direct"):
        (tmp_path / scheme).mkdir()
        (tmp_path / scheme / "name").symlink_to(target)
    with Client() as client:
        bucket = bucket_of(client, "name")
        for scheme in ("file", "direct"):
            client.download(f"{bucket}/", f"{scheme}://{tmp_path}/{scheme}")
            assert (tmp_path / scheme / "name").read_bytes() == b"name"
            assert not (tmp_path / scheme / "name").is_symlink()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("size", [10, 9 << 20], ids=["small", "large"])
@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_parent_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path, scheme: str, size: int) -> None:
    outside, there = tmp_path / "outside", tmp_path / "there"
    outside.mkdir()
    (there / "d").mkdir(parents=True)

    def swap(seen: Observation) -> None:
        if seen.operation.startswith("GET") and not (there / "d").is_symlink():
            (there / "d").rename(there / "before")
            (there / "d").symlink_to(outside)

    with Client() as client:
        bucket = bucket_of(client)
        client.put_bytes(f"{bucket}/d/k", bytes(size))
        client.add_observer(swap)
        client.download(f"{bucket}/", f"{scheme}://{there}", preserve_mtime=True)
    assert everything(outside) == {}
    assert (there / "before" / "k").stat().st_size == size


def test_the_destination_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Client() as client:
        client.download(bucket_of(client, "a/b") + "/", tmp_path / "link")
    assert everything(tmp_path / "real") == {"a/b": b"a/b"}


def test_a_link_that_appears_while_directories_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    mkdir = os.mkdir

    def replaced(path: str, *args: int, dir_fd: int | None = None) -> None:
        if path == "sub":
            os.symlink(outside, path, dir_fd=dir_fd)
        else:
            mkdir(path, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", replaced)
    with Client() as client, pytest.raises(BatchError):
        client.download(bucket_of(client, "sub/x") + "/", tmp_path / "in")
    assert os.listdir(outside) == []


def test_a_file_where_a_directory_is_needed_and_the_reverse(tmp_path: Path) -> None:
    with Client() as client:
        with pytest.raises(BatchError) as caught:
            client.download(bucket_of(client, "a", "a/b", "a/c", "z") + "/", tmp_path / "one")
        assert sorted(everything(tmp_path / "one")) in (["a", "z"], ["a/b", "a/c", "z"])
        for failure in caught.value.failures:
            assert isinstance(failure.error, (AlreadyExistsError, IsDirectoryError))
        (tmp_path / "two" / "dir").mkdir(parents=True)
        with pytest.raises(BatchError, match="directory of the name 'dir'"):
            client.download(bucket_of(client, "dir") + "/", tmp_path / "two")
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(AlreadyExistsError):
            client.download(bucket_of(client, "x") + "/", tmp_path / "file")


def test_devices_fifos_and_sockets_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix, Client() as client:
        unix.bind(str(tmp_path / "socket"))
        with pytest.raises(BatchError, match="would destroy") as caught:
            client.download(bucket_of(client, "fifo", "socket", "good") + "/", tmp_path)
        assert len(caught.value.failures) == 2
        assert (tmp_path / "fifo").is_fifo()
        assert (tmp_path / "socket").is_socket()
        with pytest.raises(BatchError, match="would destroy"):
            client.copy(bucket_of(client, "x") + "/x", "/dev/null")


@pytest.mark.parametrize("leads_to", ["/dev/null", "fifo"])
def test_links_by_which_others_find_a_device_or_pipe_are_not_replaced(leads_to: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "stdout").symlink_to(leads_to)
    with Client() as client:
        source = bucket_of(client, "stdout", "good")
        with pytest.raises(BatchError, match="device, fifo or socket"):
            client.copy(source + "/stdout", tmp_path / "stdout")
        with pytest.raises(BatchError, match="device, fifo or socket"):
            client.download(source + "/", tmp_path, continue_on_error=True)
    assert (tmp_path / "stdout").readlink() == Path(leads_to)
    assert (tmp_path / "good").is_file()


def test_names_that_are_too_long_are_refused_one_by_one(tmp_path: Path) -> None:
    with Client() as client:
        bucket = bucket_of(client, "n" * 256, "n" * 255, "d" * 256 + "/x")
        with pytest.raises(BatchError) as caught:
            client.download(f"{bucket}/", tmp_path, continue_on_error=True)
    assert [type(failure.error) for failure in caught.value.failures] == [LocalIOError, LocalIOError]
    assert sorted(everything(tmp_path)) == ["n" * 255]


def test_two_keys_of_one_file_where_case_is_ignored(tmp_path: Path) -> None:
    with DestinationDirectory(str(tmp_path), ignores_case=True) as directory:
        directory.claim("Readme", "s3://b/Readme")
        directory.claim("Readme", "s3://b/Readme")  # the same key again: a retry
        with pytest.raises(UnsafeKeyError, match="takes it for 'Readme'"):
            directory.claim("README", "s3://b/README")
    with DestinationDirectory(str(tmp_path)) as directory:
        assert directory.ignores_case is False  # Linux file systems, those of tests at least, do not


@pytest.mark.parametrize("name", ["a\\b", "c:x", "c:/x", "dir./x", "trailing ", "trailing."])
def test_what_windows_makes_of_a_path(name: str) -> None:
    with pytest.raises(UnsafeKeyError):
        safe_segments(name, uri="s3://b/k", destination="C:\\out", windows=True)
    assert safe_segments(name, uri="s3://b/k", destination="/out", windows=False) == name.split("/")


def test_folder_markers_are_skipped(tmp_path: Path) -> None:
    with Client() as client:
        done = client.download(bucket_of(client, "p/", "p/q/", "p/q/x") + "/", tmp_path / "out")
    assert (done.succeeded, done.skipped) == (1, 2)
    assert everything(tmp_path / "out") == {"p/q/x": b"p/q/x"}


def test_a_download_that_cannot_write_fails_before_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refused(path: str, flags: int, *args: int, **more: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", refused)
    with Client() as client, pytest.raises(PermissionError):
        client.download(bucket_of(client, "x") + "/", tmp_path)
