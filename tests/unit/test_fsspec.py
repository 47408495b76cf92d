"""The file systems of fsspec: paths, options, listings, files, batches, pickles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec")

import fsspec

from s3dlio.client import Client
from s3dlio.errors import (
    AlreadyExistsError,
    ConfigError,
    InvalidURIError,
    IsDirectoryError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnsupportedOperationError,
)
from s3dlio.fsspec import (
    AzureFileSystem,
    DirectFileSystem,
    FileFileSystem,
    GcsFileSystem,
    S3dlioFileSystem,
    S3FileSystem,
    register,
    schemes,
)
from s3dlio.types import Observation


@pytest.fixture
def fs(tmp_path: Path) -> S3dlioFileSystem:
    """Files, by the paths that name their scheme."""
    return S3dlioFileSystem()


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"file{tmp_path}"


@pytest.fixture
def objects() -> S3dlioFileSystem:
    """Objects in memory: keys without directories."""
    fs = S3dlioFileSystem()
    fs.rm("memory/fsspec-bucket", recursive=True)
    fs.makedirs("memory/fsspec-bucket", exist_ok=True)
    fs.pipe({f"memory/fsspec-bucket/{key}": key.encode() for key in ("a", "dir/b", "dir/deep/c", "dir/deep/d")})
    return fs


BUCKET = "memory/fsspec-bucket"


@pytest.mark.parametrize(
    ("kind", "given", "path", "uri"),
    [
        (S3dlioFileSystem, "s3dlio://s3/bucket/key/", "s3/bucket/key", "s3://bucket/key"),
        (S3dlioFileSystem, "s3://bucket/key", "s3/bucket/key", "s3://bucket/key"),
        (S3dlioFileSystem, "gcs://bucket/a b", "gs/bucket/a b", "gs://bucket/a b"),
        (S3dlioFileSystem, "file:///tmp/x", "file/tmp/x", "file:///tmp/x"),
        (S3dlioFileSystem, "s3/bucket", "s3/bucket", "s3://bucket"),
        (S3dlioFileSystem, "s3dlio://az/account/container/key", "az/account/container/key", "az://account/container/key"),
        (S3FileSystem, "s3://bucket/a//b", "bucket/a//b", "s3://bucket/a//b"),
        (S3FileSystem, "s3://host:9000/bucket/key", "host:9000/bucket/key", "s3://host:9000/bucket/key"),
        (GcsFileSystem, "gcs://bucket/key", "bucket/key", "gs://bucket/key"),
        (AzureFileSystem, "az://account/container/key", "account/container/key", "az://account/container/key"),
        (FileFileSystem, "file:///tmp/x/", "/tmp/x", "file:///tmp/x"),
        (FileFileSystem, "/", "/", "file:///"),
        (DirectFileSystem, "direct:///tmp/x", "/tmp/x", "direct:///tmp/x"),
    ],
)  # fmt: skip
def test_paths_and_uris_lead_to_each_other(kind: Any, given: str, path: str, uri: str) -> None:
    fs = kind()
    assert fs._strip_protocol(given) == path
    assert fs.uri(given) == fs.uri(path) == uri
    assert fs._strip_protocol(fs.unstrip_protocol(path)) == path


def test_a_path_without_a_scheme_is_refused() -> None:
    with pytest.raises(InvalidURIError, match="storage backend"):
        S3dlioFileSystem().info("bucket/key")


def test_the_package_has_entry_points() -> None:
    code = "import fsspec; print(fsspec.get_filesystem_class('s3dlio'), fsspec.get_filesystem_class('direct'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "S3dlioFileSystem" in ran.stdout, "the package was installed before it had entry points: pip install -e ."
    assert "DirectFileSystem" in ran.stdout


def test_uris_are_opened_by_fsspec(base: str) -> None:
    with fsspec.open(f"s3dlio://{base}/x", "w") as file:
        file.write("grüße")
    with fsspec.open(f"s3dlio://{base}/x", "rb") as file:
        assert file.read() == "grüße".encode()
    assert fsspec.filesystem("direct").cat(f"direct://{base.removeprefix('file')}/x") == "grüße".encode()


def test_schemes_are_opened_by_s3dlio_once_they_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {}
    monkeypatch.setattr(schemes, "register_implementation", lambda name, kind, clobber: known.update({name: kind}))
    with pytest.raises(ConfigError, match="no scheme"):
        register("s3", "http")
    register("s3", "gs")
    assert known == {"s3": S3FileSystem, "gs": GcsFileSystem}
    register()
    assert known.keys() == {"s3dlio", "s3", "az", "azure", "gs", "gcs", "direct"}


def test_listings_tell_names_sizes_and_types(objects: S3dlioFileSystem) -> None:
    assert [(about["name"], about["size"], about["type"]) for about in objects.ls(BUCKET)] == [
        (f"{BUCKET}/a", 1, "file"),
        (f"{BUCKET}/dir", 0, "directory"),
    ]
    assert objects.ls(f"{BUCKET}/dir/deep", detail=False) == [f"{BUCKET}/dir/deep/c", f"{BUCKET}/dir/deep/d"]
    assert objects.ls(f"{BUCKET}/a", detail=False) == [f"{BUCKET}/a"]
    with pytest.raises(ObjectNotFoundError):
        objects.ls(f"{BUCKET}/missing")
    about = objects.info(f"{BUCKET}/dir/b")
    assert about["ETag"]
    assert about["mtime"] == objects.modified(f"{BUCKET}/dir/b").timestamp()
    assert objects.info(f"{BUCKET}/dir") == {"name": f"{BUCKET}/dir", "size": 0, "type": "directory"}
    assert objects.du(f"{BUCKET}/dir") == len("dir/b") + 2 * len("dir/deep/c")


def test_trees_are_found_in_whole_and_to_a_depth(objects: S3dlioFileSystem) -> None:
    deep = [f"{BUCKET}/dir/deep/c", f"{BUCKET}/dir/deep/d"]
    assert objects.find(BUCKET) == [f"{BUCKET}/a", f"{BUCKET}/dir/b", *deep]
    assert objects.find(f"{BUCKET}/dir", withdirs=True) == [
        f"{BUCKET}/dir", f"{BUCKET}/dir/b", f"{BUCKET}/dir/deep", *deep,
    ]  # fmt: skip
    assert objects.find(BUCKET, maxdepth=1) == [f"{BUCKET}/a"]
    assert objects.find(BUCKET, maxdepth=2, withdirs=True) == [
        BUCKET, f"{BUCKET}/a", f"{BUCKET}/dir", f"{BUCKET}/dir/b", f"{BUCKET}/dir/deep",
    ]  # fmt: skip
    assert objects.find(f"{BUCKET}/a") == [f"{BUCKET}/a"]
    assert objects.glob(f"{BUCKET}/**/d") == [f"{BUCKET}/dir/deep/d"]
    assert [(path, sorted(names)) for path, _, names in objects.walk(f"{BUCKET}/dir")] == [
        (f"{BUCKET}/dir", ["b"]), (f"{BUCKET}/dir/deep", ["c", "d"]),
    ]  # fmt: skip


def test_listings_are_kept_where_that_is_asked_for_until_something_is_written(objects: S3dlioFileSystem) -> None:
    keeping = S3dlioFileSystem(use_listings_cache=True)
    assert len(keeping.ls(BUCKET)) == 2
    objects.pipe_file(f"{BUCKET}/behind-its-back", b"")
    assert len(keeping.ls(BUCKET)) == 2
    assert len(keeping.ls(BUCKET, refresh=True)) == 3
    keeping.pipe_file(f"{BUCKET}/by-itself", b"12")
    assert len(keeping.ls(BUCKET)) == 4
    assert keeping.info(f"{BUCKET}/by-itself")["size"] == 2


def test_ranges_are_read_as_one_batch(objects: S3dlioFileSystem) -> None:
    objects.pipe_file(f"{BUCKET}/long", bytes(range(256)) * 4096)
    seen: list[Observation] = []
    client = Client()
    client.add_observer(seen.append)
    fs = S3dlioFileSystem.of(client)
    paths = [f"{BUCKET}/long"] * 5 + [f"{BUCKET}/missing"]
    got = fs.cat_ranges(paths, [0, 10, 4096, 1 << 19, -2, 0], [5, 12, 4100, (1 << 19) + 3, None, 5])
    assert got[:5] == [bytes(range(5)), b"\x0a\x0b", bytes(range(4)), bytes(range(3)), b"\xfe\xff"]
    assert isinstance(got[5], FileNotFoundError)
    assert len([each for each in seen if each.operation == "GET_RANGE" and each.uri.endswith("long")]) == 3
    assert fs.cat_ranges(paths[:1], [(1 << 20) - 1], [1 << 30]) == [b"\xff"]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 5, on_error="raise")
    with pytest.raises(ValueError, match="fit together"):
        fs.cat_ranges(paths, [0], [5])


@pytest.mark.parametrize(("start", "end"), [(None, None), (2, None), (2, 5), (-3, None), (-3, -1), (0, -2), (5, 2)])
def test_a_part_of_a_file_is_what_a_slice_is(objects: S3dlioFileSystem, start: int | None, end: int | None) -> None:
    data = b"0123456789"
    objects.pipe_file(f"{BUCKET}/x", data)
    assert objects.cat_file(f"{BUCKET}/x", start, end) == data[start:end]


def test_many_files_are_read_at_once(objects: S3dlioFileSystem) -> None:
    paths = [f"{BUCKET}/dir/deep/c", f"{BUCKET}/missing", f"{BUCKET}/a"]
    assert objects.cat(f"{BUCKET}/dir", recursive=True, on_error="omit") == {
        f"{BUCKET}/dir/{name}": f"dir/{name}".encode() for name in ("b", "deep/c", "deep/d")
    }
    assert objects.cat(paths, on_error="omit") == {paths[0]: b"dir/deep/c", paths[2]: b"a"}
    assert isinstance(objects.cat(paths, on_error="return")[paths[1]], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        objects.cat(paths)


def test_text_is_utf_8_and_nothing_is_stored_after_an_exception(objects: S3dlioFileSystem) -> None:
    with objects.open(f"{BUCKET}/text", "w") as file:
        file.write("grüße\nzwei\n")
    assert objects.cat(f"{BUCKET}/text") == "grüße\nzwei\n".encode()
    with objects.open(f"{BUCKET}/text", "r") as file:
        assert list(file) == ["grüße\n", "zwei\n"]
    with pytest.raises(KeyError), objects.open(f"{BUCKET}/text", "w") as file:  # noqa: PT012
        file.write("half")
        raise KeyError
    assert objects.read_text(f"{BUCKET}/text") == "grüße\nzwei\n"
    with objects.open(f"{BUCKET}/text.gz", "wt", compression="infer") as file:
        file.write("grüße")
    assert objects.cat(f"{BUCKET}/text.gz")[:2] == b"\x1f\x8b"
    assert objects.read_text(f"{BUCKET}/text.gz", compression="gzip") == "grüße"
    with pytest.raises(KeyError), objects.open(f"{BUCKET}/text.xz", "wb", compression="infer") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyError
    assert not objects.exists(f"{BUCKET}/text.xz")


def test_files_tell_what_users_of_fsspec_ask(objects: S3dlioFileSystem) -> None:
    objects.pipe_file(f"{BUCKET}/lines", b"one\ntwo--three")
    with objects.open(f"{BUCKET}/lines") as file:
        assert (file.size, file.path, file.mode, file.fs) == (14, f"{BUCKET}/lines", "rb", objects)
        assert file.full_name == f"s3dlio://{BUCKET}/lines"
        assert file.info()["size"] == file.details["size"] == 14
        assert [file.readuntil(), file.readuntil(b"--", blocks=4), file.readuntil(b"--"), file.read()] == [
            b"one\n", b"two--", b"three", b"",
        ]  # fmt: skip
    assert objects.read_block(f"{BUCKET}/lines", 2, 3, delimiter=b"\n") == b"two--three"
    assert objects.head(f"{BUCKET}/lines", 3) == b"one"
    assert objects.tail(f"{BUCKET}/lines", 3) == b"ree"


def test_a_pickled_file_reads_on_in_the_same_version(objects: S3dlioFileSystem) -> None:
    objects.pipe_file(f"{BUCKET}/x", b"0123456789")
    file = objects.open(f"{BUCKET}/x")
    file.read(4)
    again = pickle.loads(pickle.dumps(file))
    assert again.read() == b"456789"
    again = pickle.dumps(file)
    objects.pipe_file(f"{BUCKET}/x", b"abcdefghij")
    with pytest.raises(PreconditionFailedError):
        pickle.loads(again)


def test_caches_of_fsspec_read_where_they_are_asked_for(objects: S3dlioFileSystem) -> None:
    objects.pipe_file(f"{BUCKET}/x", bytes(1 << 16))
    with objects.open(f"{BUCKET}/x", cache_type="bytes", block_size=4096) as file:
        assert file.read(10) == bytes(10)
        assert file.cache.name == "bytes"
    with pytest.raises(ConfigError, match="cache_type"):
        objects.open(f"{BUCKET}/x", cache_type="bytes", version_id="1")


def test_modes_that_objects_do_not_have_are_refused(objects: S3dlioFileSystem) -> None:
    with pytest.raises(UnsupportedOperationError):
        objects.open(f"{BUCKET}/a", "ab")
    with pytest.raises(AlreadyExistsError):
        objects.open(f"{BUCKET}/a", "xb")
    with objects.open(f"{BUCKET}/new", "xb") as file:
        objects.pipe_file(f"{BUCKET}/other", b"")
        file.write(b"1")
    assert objects.cat(f"{BUCKET}/new") == b"1"


def test_files_of_a_transaction_appear_together_or_not_at_all(objects: S3dlioFileSystem) -> None:
    with objects.transaction:
        with objects.open(f"{BUCKET}/one", "wb") as file:
            file.write(b"1" * 300_000)
        assert not objects.exists(f"{BUCKET}/one")
    assert objects.info(f"{BUCKET}/one")["size"] == 300_000
    with pytest.raises(KeyError), objects.transaction:  # noqa: PT012
        with objects.open(f"{BUCKET}/two", "wb") as file:
            file.write(b"2")
        raise KeyError
    assert not objects.exists(f"{BUCKET}/two")


def test_what_is_removed_is_what_was_meant(objects: S3dlioFileSystem) -> None:
    with pytest.raises(IsDirectoryError, match="recursive"):
        objects.rm(f"{BUCKET}/dir")
    with pytest.raises(ObjectNotFoundError):
        objects.rm(f"{BUCKET}/missing")
    objects.rm(f"{BUCKET}/dir/deep", recursive=True)
    assert objects.find(BUCKET) == [f"{BUCKET}/a", f"{BUCKET}/dir/b"]
    objects.rm(BUCKET, recursive=True)
    assert objects.find(BUCKET) == []


def test_moving_leaves_nothing_behind(fs: S3dlioFileSystem, base: str) -> None:
    fs.pipe({f"{base}/from/x": b"1", f"{base}/from/deep/y": b"2"})
    fs.mv(f"{base}/from", f"{base}/to", recursive=True)
    assert fs.find(base) == [f"{base}/to/deep/y", f"{base}/to/x"]
    assert not fs.exists(f"{base}/from")
    with pytest.raises(FileNotFoundError):
        fs.mv(f"{base}/missing", f"{base}/there")


def test_trees_go_to_local_files_and_come_back(objects: S3dlioFileSystem, tmp_path: Path) -> None:
    class Counts(fsspec.Callback):  # type: ignore[misc]
        pass

    counts = Counts()
    objects.get(f"{BUCKET}/dir", f"{tmp_path}/here", recursive=True, callback=counts)
    assert (counts.size, counts.value) == (3, 3)
    assert (tmp_path / "here/deep/c").read_bytes() == b"dir/deep/c"
    objects.put(f"{tmp_path}/here", f"{BUCKET}/again", recursive=True)
    assert objects.cat(f"{BUCKET}/again/deep/d") == b"dir/deep/d"
    one = Counts()
    objects.get_file(f"{BUCKET}/a", f"{tmp_path}/one", callback=one)
    assert (one.size, one.value) == (0, 1)
    with pytest.raises(FileNotFoundError):
        objects.get(f"{BUCKET}/missing", f"{tmp_path}/missing")
    assert not (tmp_path / "missing").exists()


def test_files_that_are_named_one_by_one_may_be_behind_links(objects: S3dlioFileSystem, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    objects.get([f"{BUCKET}/a", f"{BUCKET}/dir/b"], [f"{tmp_path}/link/a", f"{tmp_path}/there/b"])
    assert (tmp_path / "real/a").read_bytes() == b"a"
    assert (tmp_path / "there/b").read_bytes() == b"dir/b"


def test_what_is_missing_is_said_with_the_line_that_installs_it() -> None:
    code = "import sys; sys.modules['fsspec'] = None; import s3dlio.fsspec"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 's3dlio[fsspec]'" in ran.stderr


def test_directories_of_files_are_made_and_removed(fs: S3dlioFileSystem, base: str) -> None:
    with pytest.raises(ObjectNotFoundError):
        fs.mkdir(f"{base}/a/b", create_parents=False)
    fs.makedirs(f"{base}/a/b")
    assert fs.isdir(f"{base}/a/b")
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{base}/a/b")
    fs.makedirs(f"{base}/a/b", exist_ok=True)
    fs.rmdir(f"{base}/a/b")
    assert fs.ls(f"{base}/a") == []
    fs.touch(f"{base}/a/file")
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{base}/a/file", exist_ok=True)


def test_options_are_those_of_the_client_and_of_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = S3FileSystem(
        key="key", secret="a secret", client_kwargs={"endpoint_url": "http://127.0.0.1:9", "region_name": "here"},
        http={"read_timeout": 5}, skip_instance_cache=True,
    )  # fmt: skip
    settings = fs.client.settings
    assert (settings.s3.access_key_id, settings.s3.secret_access_key) == ("key", "a secret")
    assert (settings.s3.endpoint_url, settings.s3.region) == ("http://127.0.0.1:9", "here")
    assert settings.http.read_timeout == 5
    again = S3FileSystem(
        key="key", secret="a secret", client_kwargs={"endpoint_url": "http://127.0.0.1:9", "region_name": "here"},
        http={"read_timeout": 5}, skip_instance_cache=True,
    )  # fmt: skip
    assert again.client is fs.client
    assert AzureFileSystem(account_name="me", account_key="a2V5").client.settings.azure.account == "me"
    with pytest.raises(ConfigError, match="did you mean endpoint_url"):
        S3FileSystem(endpoint_ur="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="did you mean endpoint_url"):
        S3FileSystem(client_kwargs={"endpoint_ur": "http://127.0.0.1:9"})
    with pytest.raises(ConfigError, match="coroutines"):
        S3FileSystem(asynchronous=True)


def test_pickles_have_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = S3FileSystem(key="key", secret="very secret", anon=False, http={"read_timeout": 5})
    pickled = pickle.dumps(fs)
    assert b"very secret" not in pickled
    with pytest.raises(ConfigError, match="not pickled"):
        pickle.loads(pickled)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    assert pickle.loads(pickled).client.settings.http.read_timeout == 5
    options = {"client_kwargs": {"aws_secret_access_key": "very secret", "region_name": "here"}, "token": "very secret"}
    told = S3FileSystem(**options).to_json(include_password=False)
    assert "very secret" not in told
    assert '"region_name": "here"' in told
    plain = S3dlioFileSystem()
    assert pickle.loads(pickle.dumps(plain)) is plain


def test_a_client_of_ones_own_is_used_and_travels() -> None:
    client = Client(http={"read_timeout": 7})
    fs = S3dlioFileSystem.of(client)
    assert fs.client is client
    assert fs != S3dlioFileSystem()
    assert pickle.loads(pickle.dumps(fs)).client.settings.http.read_timeout == 7


def test_directories_with_many_files_are_listed_beside_each_other_and_whole(objects: S3dlioFileSystem) -> None:
    names = [f"{BUCKET}/many-{d}/{n:04}" for d in range(3) for n in range(1100 if d == 1 else 2)]
    objects.pipe(dict.fromkeys(names, b""))
    assert objects.glob(f"{BUCKET}/many-*/*") == names
