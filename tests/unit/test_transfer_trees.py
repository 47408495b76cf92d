"""Trees of files up, down, across and in step, through the client's stores."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3dlio.client import Client
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import (
    BatchError,
    ConfigError,
    InvalidURIError,
    IsDirectoryError,
    ObjectNotFoundError,
    S3dlioError,
    UnsupportedOperationError,
)
from s3dlio.transfer.delete import delete
from s3dlio.transfer.sync import Action
from s3dlio.types import Observation, PutOptions

_numbers = itertools.count()


@pytest.fixture(params=["threads", "inline"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client() as made:
        if request.param == "inline":
            made.executor = InlineExecutor()  # type: ignore[assignment]
        yield made


@pytest.fixture
def bucket() -> str:
    return f"memory://trees-{next(_numbers)}"


FILES = {"a.txt": 5, "b/c.bin": 100_000, "b/d/e": 0, "b/d/f g é": 1, "z/big": 9_000_000}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("place", ["memory", "file", "direct"])
def test_there_and_back(client: Client, tree: Path, bucket: str, tmp_path: Path, place: str, verify: bool) -> None:
    there = f"{bucket}/p" if place == "memory" else f"{place}://{tmp_path}/there"
    sent = client.upload(tree, there, recursive=True, verify=verify)
    assert (sent.attempted, sent.succeeded, sent.failed, sent.bytes) == (5, 5, 0, sum(FILES.values()))
    fetched = client.download(there + "/", tmp_path / "back", verify=verify)
    assert fetched.succeeded == 5
    assert contents(tmp_path / "back") == contents(tree)


@pytest.mark.parametrize(("source", "target"), [*itertools.product(["memory", "file", "direct"], repeat=2)])
def test_copies_between_all_schemes(
    client: Client, tree: Path, bucket: str, tmp_path: Path, source: str, target: str
) -> None:
    def place(scheme: str, name: str) -> str:
        return f"{bucket}-{name}/p/" if scheme == "memory" else f"{scheme}://{tmp_path}/{name}/"

    client.copy(tree, place(source, "one"), recursive=True)
    done = client.copy(place(source, "one"), place(target, "two"), recursive=True, verify=True)
    assert (done.succeeded, done.bytes) == (5, sum(FILES.values()))
    client.copy(place(target, "two"), tmp_path / "out", recursive=True)
    assert contents(tmp_path / "out") == contents(tree)


def test_a_file_gets_exactly_the_name_asked_for(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    client.copy(tree / "a.txt", f"{bucket}/x/name")
    client.copy(tree / "a.txt", f"{bucket}/x/")
    client.copy(tree / "a.txt", bucket)
    assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/a.txt", f"{bucket}/x/a.txt", f"{bucket}/x/name"]
    client.copy(f"{bucket}/x/name", tmp_path / "new" / "local")
    client.copy(f"{bucket}/x/name", tmp_path)
    (tmp_path / "dir").mkdir()
    client.copy([tree / "a.txt", tree / "b" / "c.bin"], tmp_path / "dir")
    wanted = (tree / "a.txt").read_bytes()
    assert (tmp_path / "new" / "local").read_bytes() == wanted == (tmp_path / "name").read_bytes()
    assert sorted(os.listdir(tmp_path / "dir")) == ["a.txt", "c.bin"]


def test_the_destination_of_a_glob_is_a_directory(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    client.copy(f"{tree}/a*", tmp_path / "out")
    client.copy(f"{tree}/a*", f"{bucket}/p")
    client.copy(f"{bucket}/p/a*", tmp_path / "back")
    assert set(contents(tmp_path / "out")) == set(contents(tmp_path / "back")) == {"a.txt"}
    (tree / "a[1]").write_bytes(b"a name, and no glob")
    client.copy(tree / "a[1]", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"a name, and no glob"


def test_upload_always_means_a_directory(client: Client, tree: Path, bucket: str) -> None:
    client.upload([f"{tree}/a.txt"], f"{bucket}/p")
    assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/p/a.txt"]


def test_upload_of_a_directory_without_recursive(
    client: Client, tree: Path, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    done = client.upload([str(tree)], bucket)
    assert (done.succeeded, done.skipped) == (1, 2)
    assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/a.txt"]
    assert "/tree/b" in caplog.text
    assert "-r" in caplog.text


def test_download_takes_one_object_a_directory_or_a_glob(client: Client, bucket: str, tmp_path: Path) -> None:
    for key in ("d/1", "d/10", "d/1/x", "d/sub/y", "d/"):
        client.put_bytes(f"{bucket}/{key}", key.encode())
    client.download(f"{bucket}/d/10", tmp_path / "one")
    assert contents(tmp_path / "one") == {"10": b"d/10"}
    done = client.download(f"{bucket}/d/", tmp_path / "flat", recursive=False)
    assert contents(tmp_path / "flat") == {"1": b"d/1", "10": b"d/10"}
    assert done.skipped == 3
    client.download(f"{bucket}/d/1*", tmp_path / "glob")
    assert contents(tmp_path / "glob") == {"1": b"d/1", "10": b"d/10"}
    client.download(f"{bucket}/d/", tmp_path / "re", pattern=r"^s.*y$", continue_on_error=True)
    assert contents(tmp_path / "re") == {"sub/y": b"d/sub/y"}


def test_times_are_kept_on_request(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    client.upload(tree, bucket, recursive=True, preserve_mtime=True)
    assert client.stat(f"{bucket}/a.txt")["metadata"] == {"mtime": "1600000000.123456789"}
    client.copy(f"{bucket}/", f"{bucket}-2/", recursive=True)
    for target in (f"file://{tmp_path}/f", f"direct://{tmp_path}/d"):
        client.copy(f"{bucket}-2/", target, recursive=True, preserve_mtime=True)
    client.copy(tree, tmp_path / "c", recursive=True, preserve_mtime=True)
    for name in "fdc":
        times = {p.stat().st_mtime_ns for p in (tmp_path / name).rglob("*") if p.is_file()}
        assert times == {1_600_000_000_123_456_789}
    client.download(f"{bucket}/a.txt", tmp_path / "now")
    assert (tmp_path / "now" / "a.txt").stat().st_mtime_ns > 1_700_000_000 * 10**9


def test_metadata_travel_through_a_relay(client: Client, bucket: str, tmp_path: Path) -> None:
    client.put_bytes(f"{bucket}/k", b"x", content_type="text/css", metadata={"who": "me"})
    client.copy(f"{bucket}/k", f"{bucket}-2/k")
    about = client.head(f"{bucket}-2/k")
    assert (about.content_type, dict(about.metadata)) == ("text/css", {"who": "me"})


def test_options_are_kept_or_refused_but_never_dropped(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    client.upload(tree / "a.txt", bucket, options=PutOptions(content_type="text/plain"))
    assert client.head(f"{bucket}/a.txt").content_type == "text/plain"
    with pytest.raises(UnsupportedOperationError, match="content type"):
        client.upload(tree / "a.txt", tmp_path / "x", options=PutOptions(content_type="text/plain"))
    client.upload(tree / "a.txt", tmp_path / "x", options=PutOptions(durable=True))
    assert (tmp_path / "x" / "a.txt").read_bytes() == (tree / "a.txt").read_bytes()


def test_a_replaced_file_keeps_its_mode(client: Client, bucket: str, tmp_path: Path) -> None:
    client.put_bytes(f"{bucket}/k", b"new")
    (tmp_path / "k").write_bytes(b"old")
    (tmp_path / "k").chmod(0o640)
    client.download(f"{bucket}/k", tmp_path)
    assert (tmp_path / "k").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o640


def test_move_leaves_nothing_behind(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    before = contents(tree)
    client.move(tree, bucket, recursive=True)
    assert contents(tree) == {}
    client.move(f"{bucket}/", f"{bucket}-2/", recursive=True)
    assert client.list(f"{bucket}/", recursive=True) == []
    client.move(f"{bucket}-2/", f"direct://{tmp_path}/x", recursive=True, verify=True)
    client.move(f"direct://{tmp_path}/x", tmp_path / "out", recursive=True)
    assert contents(tmp_path / "out") == before
    assert client.list(f"{bucket}-2/", recursive=True) == []


def test_move_keeps_what_could_not_be_moved(client: Client, bucket: str, tmp_path: Path) -> None:
    client.put_bytes(f"{bucket}/d/../evil", b"1")
    client.put_bytes(f"{bucket}/d/good", b"2")
    with pytest.raises(BatchError):
        client.move(f"{bucket}/d/", tmp_path / "out", recursive=True)
    assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/d/../evil"]
    assert contents(tmp_path / "out") == {"good": b"2"}


@pytest.fixture
def elsewhere(tree: Path, tmp_path: Path) -> Path:
    """A directory with one file, to which a link in the tree leads."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_bytes(b"x")
    (tree / "b" / "link").symlink_to(folder)
    return folder


def test_move_takes_nothing_from_behind_a_link(client: Client, tree: Path, bucket: str, elsewhere: Path) -> None:
    with pytest.raises(BatchError, match="it is a link to a directory"):
        client.move(tree, bucket, recursive=True, continue_on_error=True)
    assert contents(elsewhere) == {"precious": b"x"}
    assert not client.exists(f"{bucket}/b/link/precious")
    assert not (tree / "b" / "c.bin").exists()


@pytest.mark.parametrize("place", ["memory", "file"])
def test_move_keeps_a_file_that_grew_meanwhile(client: Client, bucket: str, tmp_path: Path, place: str) -> None:
    log = tmp_path / "service.log"
    log.write_bytes(b"one")
    there = f"{bucket}/" if place == "memory" else f"file://{tmp_path}/moved/"
    growing = iter([b"one, two"])

    def grow(seen: Observation) -> None:  # the bytes have just been read, or written
        if (longer := next(growing, None)) is not None:
            log.write_bytes(longer)

    client.add_observer(grow)
    with pytest.raises(BatchError, match=r"changed while it was (moved, and was kept|read; nothing was stored)"):
        client.move(log, there)
    assert log.read_bytes() == b"one, two"
    client.move(log, there)
    assert (bytes(client.get(f"{there}service.log")), log.exists()) == (b"one, two", False)


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("{t}", "{t}/b/inside", InvalidURIError),
        ("{t}", "s3:/bucket/x", InvalidURIError),
        ("File:/x", "{b}", InvalidURIError),
        ("{t}", "{t}", InvalidURIError),
        ("{t}", "direct://{t}/x", InvalidURIError),
        ("{t}/a.txt", "{t}/a.txt", InvalidURIError),
        ("{t}/a.txt", "{t}/", InvalidURIError),
        ("{b}/p/", "{b}/p/q/", InvalidURIError),
        ("{b}/p", "{b}/p", InvalidURIError),
        ("{b}", "{b}/q", InvalidURIError),
        ("{b}/none/", "{t}/x", ObjectNotFoundError),
        ("{t}/none", "{b}/", ObjectNotFoundError),
        ("bogus://x/y", "{b}/", InvalidURIError),
        ("{t}", "bogus://x/y", InvalidURIError),
        ("", "{b}", InvalidURIError),
    ],
)
def test_bad_places_are_refused(
    client: Client, tree: Path, bucket: str, source: str, target: str, error: type[Exception]
) -> None:
    client.put_bytes(f"{bucket}/p/k", b"")
    before = contents(tree)
    with pytest.raises(error):
        client.copy(source.format(t=tree, b=bucket), target.format(t=tree, b=bucket), recursive=True)
    assert contents(tree) == before


def test_a_directory_needs_recursive(client: Client, tree: Path, bucket: str) -> None:
    client.put_bytes(f"{bucket}/p/k", b"")
    for source in (tree, f"{bucket}/p/", f"{bucket}/p", bucket):
        with pytest.raises(IsDirectoryError, match="recursive=True"):
            client.copy(source, f"{bucket}-2/x")
    with pytest.raises(ObjectNotFoundError):
        client.copy(f"{bucket}/none", f"{bucket}-2/x")


def test_bad_arguments_are_refused(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_in_flight"):
        client.upload(tree, bucket, max_in_flight=0)
    with pytest.raises(ConfigError, match="regex"):
        client.download(f"{bucket}/", tmp_path / "x", pattern="(")
    with pytest.raises(InvalidURIError, match="local directory"):
        client.download(f"{bucket}/", bucket)
    with pytest.raises(InvalidURIError, match="one by one"):
        client.copy([f"{bucket}/a", f"{bucket}/b"], tmp_path)
    with pytest.raises(TypeError):
        client.copy(5, tmp_path)  # type: ignore[arg-type]


# -- sync


def test_sync_transfers_differences_only(client: Client, tree: Path, bucket: str) -> None:
    there = f"{bucket}/p"
    assert client.sync(tree, there).succeeded == 5
    again = client.sync(tree, there)
    assert (again.succeeded, again.skipped) == (0, 5)
    (tree / "a.txt").write_bytes(b"longer than before")  # another size
    (tree / "b" / "c.bin").write_bytes(os.urandom(100_000))  # the same size, but newer
    os.utime(tree / "b" / "c.bin", ns=(0, 4_000_000_000 * 10**9))
    (tree / "new").write_bytes(b"")
    done = client.sync(tree, there)
    assert (done.succeeded, done.skipped) == (3, 3)
    assert client.get(f"{there}/b/c.bin") == (tree / "b" / "c.bin").read_bytes()


def test_sync_by_checksum_sees_what_times_hide(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    for there in (f"{bucket}/p", f"direct://{tmp_path}/s"):
        client.sync(tree, there)
        (tree / "a.txt").write_bytes(os.urandom(5))
        os.utime(tree / "a.txt", ns=(0, 1))
        assert client.sync(tree, there).succeeded == 0
        done = client.sync(tree, there, checksum=True)
        assert (done.succeeded, done.skipped, done.bytes) == (1, 4, 5)
        assert client.get(f"{there}/a.txt") == (tree / "a.txt").read_bytes()


@pytest.mark.parametrize("place", ["memory", "file"])
def test_a_dry_run_by_checksum_reads_and_changes_nothing(client: Client, tree: Path, bucket: str, place: str) -> None:
    there = f"{bucket}/p/" if place == "memory" else f"file://{tree.parent}/mirror/"
    client.sync(tree, there)
    client.put_bytes(f"{there}b/c.bin", bytes(FILES["b/c.bin"]))
    client.put_bytes(f"{there}surplus", b"")
    seen: list[Action] = []
    done = client.sync(tree, there, dry_run=True, checksum=True, delete=True, on_action=seen.append)
    assert (done.attempted, done.succeeded, done.skipped, done.bytes, done.deleted) == (1, 0, 4, FILES["b/c.bin"], 1)
    told = [(verb, target.removeprefix(there)) for verb, _, target, _ in seen]
    assert told == [("copy", "b/c.bin"), ("delete", "surplus")]
    assert bytes(client.get(f"{there}b/c.bin")) == bytes(FILES["b/c.bin"])
    (tree / "dangling").symlink_to("nowhere")
    with pytest.raises(BatchError, match="attempted=2, succeeded=0, failed=1"):
        client.sync(tree, there, dry_run=True, checksum=True)


@pytest.mark.parametrize("place", ["memory", "file"])
def test_sync_deletes_on_request(client: Client, tree: Path, bucket: str, tmp_path: Path, place: str) -> None:
    there = f"{bucket}/p/" if place == "memory" else f"file://{tmp_path}/mirror/"
    client.sync(tree, there)
    for name in ("0", "b/c.bin2", "b/d/zz", "zz", "keep.me"):
        client.put_bytes(there + name, b"surplus")
    assert client.sync(tree, there).deleted == 0
    seen: list[Action] = []
    rehearsal = client.sync(tree, there, delete=True, dry_run=True, exclude=["*.me"], on_action=seen.append)
    assert (rehearsal.deleted, rehearsal.attempted, rehearsal.skipped) == (4, 0, 5)
    done = client.sync(tree, there, delete=True, exclude=["*.me"], on_action=seen.append)
    assert done.deleted == 4
    assert seen[:4] == seen[4:]
    assert [action.target[len(there) :] for action in seen[:4]] == ["0", "b/c.bin2", "b/d/zz", "zz"]
    client.download(there, tmp_path / "check")
    assert contents(tmp_path / "check") == {**contents(tree), "keep.me": b"surplus"}


def test_a_pattern_selects_on_both_sides(client: Client, tree: Path, bucket: str) -> None:
    assert client.upload(tree, f"{bucket}/p", recursive=True, pattern=r"^b/.*[a-e]$").succeeded == 1
    client.put_bytes(f"{bucket}/p/surplus.bin", b"")
    client.put_bytes(f"{bucket}/p/kept", b"")
    done = client.sync(tree, f"{bucket}/p", pattern=r"\.bin$", delete=True)
    assert (done.succeeded, done.deleted) == (1, 1)
    names = [uri.removeprefix(f"{bucket}/p/") for uri in client.list(f"{bucket}/p/", recursive=True)]
    assert names == ["b/c.bin", "b/d/e", "kept"]
    for transfer in (client.upload, client.sync):
        with pytest.raises(ConfigError, match="regex"):
            transfer(tree, f"{bucket}/p", pattern="(")


def test_a_dry_run_changes_nothing(client: Client, tree: Path, tmp_path: Path) -> None:
    seen: list[Action] = []
    done = client.sync(tree, tmp_path / "new", dry_run=True, on_action=seen.append)
    assert (done.attempted, done.succeeded, done.bytes) == (5, 0, sum(FILES.values()))
    assert {action.verb for action in seen} == {"copy"}
    assert not (tmp_path / "new").exists()


def test_sync_never_deletes_for_an_empty_or_damaged_source(client: Client, tree: Path, bucket: str) -> None:
    client.put_bytes(f"{bucket}/p/precious", b"x")
    with pytest.raises(ObjectNotFoundError, match="nothing was deleted"):
        client.sync(f"{bucket}-empty/", f"{bucket}/p/", delete=True)
    with pytest.raises(ObjectNotFoundError):
        client.sync(tree / "missing", f"{bucket}/p/", delete=True)
    (tree / "dangling").symlink_to("nowhere")
    with pytest.raises(BatchError):
        client.sync(tree, f"{bucket}/p/", delete=True)
    assert client.exists(f"{bucket}/p/precious")


def test_sync_deletes_nothing_behind_a_link(client: Client, tree: Path, bucket: str, elsewhere: Path) -> None:
    client.put_bytes(f"{bucket}/p/new", b"1")
    assert client.sync(f"{bucket}/p/", tree, delete=True).deleted == len(FILES)
    assert contents(elsewhere) == {"precious": b"x"}


@pytest.mark.parametrize("inner", ["", "/b"])
def test_sync_of_a_directory_with_itself_is_refused(client: Client, tree: Path, inner: str) -> None:
    reason = f"/b/: it is inside file://{tree}/," if inner else "the destination is the source itself"
    for one, other in ((tree, f"{tree}{inner}"), (f"{tree}{inner}", tree)):
        with pytest.raises(InvalidURIError, match=reason):
            client.sync(one, other, delete=True)


# -- a move that overlaps


@pytest.mark.parametrize("options", [{}, {"metadata": {"a": "b"}}])
def test_an_object_that_is_moved_to_its_own_directory_stays(client: Client, bucket: str, options: Any) -> None:
    client.put_bytes(f"{bucket}/d/k", b"x")
    for source, recursive in ((f"{bucket}/d/k", False), (f"{bucket}/d/k", True), (f"{bucket}/d/?", False)):
        with pytest.raises(S3dlioError):
            client.move(source, f"{bucket}/d/", recursive=recursive, **options)
        assert client.get(f"{bucket}/d/k") == b"x"


@pytest.mark.parametrize("local", [False, True])
def test_what_moves_up_is_not_written_over_what_moves_with_it(
    client: Client, bucket: str, tmp_path: Path, local: bool
) -> None:
    root = f"file://{tmp_path}" if local else bucket
    for name in ("x/f", "x/x/z", "x/z"):
        client.put_bytes(f"{root}/{name}", name.encode())
    with pytest.raises(BatchError, match="inside what is moved"):
        client.move(f"{root}/x/", f"{root}/", recursive=True, continue_on_error=True)
    found = {name: bytes(client.get(f"{root}/{name}")) for name in ("f", "x/x/z", "z")}
    assert found == {"f": b"x/f", "x/x/z": b"x/x/z", "z": b"x/z"}


def test_only_the_stores_of_a_transfer_are_made_ready(
    client: Client, tree: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readied: list[str] = []
    for uri in (f"{bucket}/", "memory://elsewhere/"):
        store, _ = client.store_for(uri)
        monkeypatch.setattr(store, "prepare", partial(readied.append, store.root))
    client.upload(tree, f"{bucket}/", recursive=True)
    assert readied == [client.store_for(bucket)[0].root]


@pytest.mark.parametrize("how", ["objects", "files", "processes"])
def test_what_is_copied_up_is_not_written_over_what_is_still_to_be_copied(
    client: Client, bucket: str, tmp_path: Path, how: str
) -> None:
    root = bucket if how == "objects" else f"file://{tmp_path}"
    for name in ("x/f", "x/x/z", "x/z"):
        client.put_bytes(f"{root}/{name}", name.encode())
    copy = partial(client.upload, procs=2) if how == "processes" else client.copy
    with pytest.raises(BatchError, match="inside what is copied"):
        copy(tmp_path / "x" if how == "processes" else f"{root}/x/", f"{root}/", recursive=True, continue_on_error=True)
    found = {name: bytes(client.get(f"{root}/{name}")) for name in ("f", "x/f", "x/x/z", "x/z", "z")}
    assert found == {"f": b"x/f", "x/f": b"x/f", "x/x/z": b"x/x/z", "x/z": b"x/z", "z": b"x/z"}


def test_directories_that_move_into_one_another_are_refused(client: Client, tmp_path: Path) -> None:
    for name in ("x/y/z", "y/z"):
        client.put_bytes(f"file://{tmp_path}/{name}", name.encode())
    with pytest.raises(InvalidURIError, match="another directory would move into this one"):
        client.move([tmp_path / "x", tmp_path / "y"], f"{tmp_path}/", recursive=True)
    assert (tmp_path / "y/z").read_text() == "y/z"
    (tmp_path / "x/y/z").rename(tmp_path / "x/other")
    (tmp_path / "x/y").rmdir()
    client.move([tmp_path / "x", tmp_path / "y"], f"{tmp_path}/", recursive=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["other", "z"]


# -- delete


@pytest.mark.parametrize("root", ["file:///", "file:///tmp/..", "direct:///"])
def test_the_root_of_all_files_is_not_deleted(client: Client, root: str) -> None:
    with pytest.raises(InvalidURIError, match="root of all files"):
        delete(client, root, recursive=True, pattern="^there is no such name$", max_in_flight=1)



def test_delete_selects_like_a_listing(client: Client, bucket: str) -> None:
    for key in ("p/a.log", "p/b.txt", "p/q/c.log", "pp"):
        client.put_bytes(f"{bucket}/{key}", b"")
    seen: list[str] = []
    rehearsal = delete(client, f"{bucket}/p/", recursive=True, pattern=r"\.log$", dry_run=True, on_key=seen.append)
    assert (rehearsal.attempted, rehearsal.succeeded) == (2, 0)
    assert seen == [f"{bucket}/p/a.log", f"{bucket}/p/q/c.log"]
    assert delete(client, f"{bucket}/p/", recursive=True, exclude=["*.txt"]).succeeded == 2
    assert client.list(f"{bucket}/", recursive=True) == [f"{bucket}/p/b.txt", f"{bucket}/pp"]
    assert delete(client, f"{bucket}/pp").succeeded == 1
    assert delete(client, f"{bucket}/nope").failed == 0
    with pytest.raises(InvalidURIError, match=r"recursive=True .*nothing was deleted"):
        delete(client, bucket)
    assert delete(client, f"{bucket}/none/", recursive=True).attempted == 0


def test_delete_of_a_local_tree(client: Client, tree: Path) -> None:
    with pytest.raises(IsDirectoryError, match="recursive=True"):
        delete(client, tree)
    assert delete(client, tree / "b", recursive=True, include=["c.*"]).succeeded == 1
    assert (tree / "b" / "d").is_dir()
    (tree / "b" / "itself").symlink_to("itself")
    assert delete(client, f"file://{tree}/", recursive=True).succeeded == 4
    assert not tree.exists()


@pytest.mark.parametrize(("options", "count"), [({}, 5), ({"include": ["*"]}, 5), ({"pattern": "precious"}, 0)])
def test_delete_takes_nothing_from_behind_a_link(
    client: Client, tree: Path, elsewhere: Path, options: dict[str, Any], count: int
) -> None:
    assert delete(client, tree, recursive=True, dry_run=True, **options).attempted == count
    assert delete(client, tree, recursive=True, **options).succeeded == count
    assert contents(elsewhere) == {"precious": b"x"}
    assert delete(client, f"file://{elsewhere.parent}/**precious", recursive=True).succeeded == 1


def test_transfers_are_seen_by_observers(client: Client, tree: Path, bucket: str, tmp_path: Path) -> None:
    seen: list[Observation] = []
    client.add_observer(seen.append)
    client.upload(tree, bucket, recursive=True)
    client.download(f"{bucket}/", tmp_path / "out")
    delete(client, f"{bucket}/", recursive=True)
    totals = {
        verb: (sum(o.objects for o in seen if o.operation == verb), sum(o.bytes for o in seen if o.operation == verb))
        for verb in ("PUT", "GET", "DELETE_BATCH")
    }
    assert totals == {"PUT": (5, sum(FILES.values())), "GET": (5, sum(FILES.values())), "DELETE_BATCH": (5, 0)}
