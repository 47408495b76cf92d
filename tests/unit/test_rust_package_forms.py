"""Forms that scripts of the Rust package use: keywords by its names, and errors that its ``except`` lines catch."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import InvalidURIError, MissingDependencyError, OutOfRangeError, S3dlioError
from s3dlio.signatures import also_named

pytestmark = pytest.mark.usefixtures("fresh_settings")


def test_a_bucket_by_the_name_of_the_rust_package() -> None:
    s3dlio.create_bucket(bucket_name="memory://named-so")
    s3dlio.put_bytes("memory://named-so/x", b"")
    s3dlio.delete("memory://named-so/x")
    s3dlio.delete_bucket(bucket_name="memory://named-so")
    client: Any = s3dlio.Client()
    client.create_bucket(bucket_name="memory://named-so")


def test_an_older_name_beside_the_newer_is_refused() -> None:
    @also_named(old="new")
    def function(new: int, other: int = 0) -> tuple[int, int]:
        return new, other

    call: Callable[..., tuple[int, int]] = function
    assert call(1) == call(new=1) == call(old=1) == (1, 0)
    assert call(old=1, other=2) == (1, 2)
    with pytest.raises(TypeError, match="'old' is an older name"):
        call(old=1, new=1)
    with pytest.raises(TypeError, match="multiple values"):
        call(1, old=1)


def test_endpoints_by_keyword(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("".join(f"{(tmp_path / name).as_uri()}/\n" for name in ("one", "two")))
    make: Any = s3dlio.create_multi_endpoint_store_from_file
    store = make(file_path=str(file), strategy="round_robin")
    store.put_to_endpoint(index=1, uri="x", data=b"1")
    assert store.get_from_endpoint(index=1, uri="x") == b"1"
    assert (tmp_path / "two/x").read_bytes() == b"1"
    store.delete_from_endpoint(index=1, uri="x")
    assert not (tmp_path / "two/x").exists()


def test_keywords_of_writers() -> None:
    options: Any = s3dlio.PyWriterOptions()
    assert options.with_compression(compression_type="zstd", level=3).compression == "zstd"
    with s3dlio.MultipartUploadWriter.from_uri("memory://keywords/x") as writer:
        writer.reserve(size=5)[:] = b"12345"
        writer.commit(nbytes=3)
    assert s3dlio.get("memory://keywords/x") == b"123"


def test_keywords_of_what_has_no_meaning_here() -> None:
    with pytest.warns(DeprecationWarning, match="no meaning here"):
        s3dlio.gcs_set_rapid_mode(force=None)
    assert s3dlio.gcs_query_rapid_bucket(bucket_or_uri="gs://b") is False
    values: Any = s3dlio.PyVecDataset
    assert len(values(obj=[1, 2])) == 2


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "s3://h:9000/bucket/", "memory://b/", "gs://bucket"])
def test_a_bucket_is_no_object(uri: str) -> None:
    assert s3dlio.exists(uri) is False
    assert asyncio.run(s3dlio.exists_async(uri)) is False


def test_of_what_is_no_uri_nothing_is_said_to_exist() -> None:
    for uri in ("bogus://x", "path"):
        with pytest.raises(InvalidURIError):
            s3dlio.exists(uri)
        with pytest.raises(InvalidURIError):
            asyncio.run(s3dlio.exists_async(uri))


@pytest.mark.parametrize("name", ["", "s3://", "s3://h:9000", "az://account", "gs://"])
def test_a_service_is_neither_created_nor_deleted(name: str) -> None:
    for verb in (s3dlio.create_bucket, s3dlio.delete_bucket):
        with pytest.raises(InvalidURIError, match="names no bucket"):
            verb(name)


def test_a_bucket_on_a_server_needs_no_slash() -> None:
    assert s3dlio.parse_s3_uri_full("s3://h:9000/b") == {"endpoint": "h:9000", "bucket": "b", "key": ""}


def test_no_threads_are_as_many_as_fit() -> None:
    assert len(s3dlio.generate_data_with_threads(100, 1, 1, 0)) == 100
    assert s3dlio.generate_into_buffer(bytearray(100), threads=0) == 100
    assert s3dlio.GeneratorConfig(100, threads=0).workers >= 1
    assert s3dlio.Generator(100, threads=0).fill_chunk(bytearray(100)) == 100


def test_a_sample_that_is_not_there_is_both_errors() -> None:
    uri = "memory://two-samples/"
    s3dlio.put_bytes(uri + "x", b"")
    dataset = s3dlio.create_dataset(uri)

    async def asked() -> Any:
        return await dataset.get_item(9)

    with pytest.raises(OutOfRangeError, match="Index 9 out of range") as caught:
        asyncio.run(asked())
    for kind in (RuntimeError, IndexError, S3dlioError):
        assert isinstance(caught.value, kind)
    with pytest.raises(RuntimeError, match="Index 5 out of range"):
        s3dlio.PyVecDataset([1, 2])[5]
    assert list(dataset) == [b""]  # the end of a loop


def test_a_missing_package_is_a_missing_module() -> None:
    error = MissingDependencyError("tensorflow", "tf")
    assert isinstance(error, ModuleNotFoundError)
    assert isinstance(error, RuntimeError)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, MissingDependencyError)
    assert (str(again), again.extra) == (str(error), "tf")


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b'{"lr": 0.1, "tags": ["a"]}', {"lr": 0.1, "tags": ["a"]}), (b"best so far", "best so far"), (b"", "")],
)
def test_metadata_of_a_checkpoint_as_bytes(tmp_path: Path, given: bytes, kept: Any) -> None:
    base = tmp_path.as_uri() + "/"
    key = s3dlio.save_checkpoint(base, 1, 0, "torch", b"state", user_meta=given)
    assert json.loads((tmp_path / key).read_bytes())["user_meta"] == kept
    with pytest.raises(TypeError, match="user_meta cannot be written as JSON"):
        s3dlio.save_checkpoint(base, 2, 0, "torch", b"state", user_meta=b"\xff")


def test_an_anchored_source_is_a_regular_expression(tmp_path: Path) -> None:
    for name in ("1.txt", "22.txt", "1.txt.bak", "x.txt"):
        (tmp_path / name).write_text(name)
    source, up = str(tmp_path), "memory://anchored/"
    for pattern, found in ((r"^\d+\.txt$", ["1.txt", "22.txt"]), (r"bak$", ["1.txt.bak"]), ("^x", ["x.txt"])):
        s3dlio.upload([f"{source}/{pattern}"], up + pattern.strip("^$") + "/")
        assert s3dlio.list_keys(up + pattern.strip("^$") + "/") == found
    (tmp_path / "a$").write_text("")
    (tmp_path / "aa$").write_text("")
    s3dlio.upload([f"{source}/a$"], up + "exact/")
    assert s3dlio.list_keys(up + "exact/") == ["a$"]
    with pytest.raises(FileNotFoundError):
        s3dlio.upload([f"{source}/2.txt"], up + "none/")
    with pytest.raises(FileNotFoundError, match="No files matched for upload"):
        s3dlio.upload([f"{source}/^none$"], up + "none/")


def test_options_of_a_loader_by_older_names(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    make: Any = s3dlio.create_async_loader
    uri = tmp_path.as_uri() + "/"
    forms = make(uri=uri, options={"batch_size": 2}), make(prefix=uri, batch_size=2), make(uri, {}, batch_size=2)
    for loader in forms:
        assert list(loader) == [[b"a", b"b"], [b"c"]]
    assert make(uri, {"batch_size": 2, "seed": 3}, batch_size=1).options.to_dict()["seed"] == 3
    with pytest.raises(s3dlio.ConfigError, match="did you mean batch_size"):
        make(uri, batchsize=2)


@pytest.mark.parametrize(
    ("adaptive", "tuned"),
    [
        ({"mode": "enabled"}, True),
        ({}, True),
        ({"mode": "disabled"}, False),
        (True, True),
        ("disabled", False),
        (s3dlio.AdaptiveConfig.enabled(), True),
        (s3dlio.AdaptiveConfig(), False),
    ],
)
def test_adaptive_is_auto_tune(adaptive: Any, tuned: bool) -> None:
    options = s3dlio.PyLoaderOptions(adaptive=adaptive)
    assert options.to_dict()["auto_tune"] is tuned
    assert options.replace(adaptive=adaptive) == options
    assert s3dlio.LoaderOptions().enable_adaptive().to_dict()["auto_tune"] is True
    with pytest.raises(s3dlio.ConfigError):
        s3dlio.LoaderOptions(adaptive={"mode": "sometimes"})


def test_the_extension_module_of_the_rust_package_is_the_package() -> None:
    import s3dlio._pymod as core

    assert core.get is s3dlio.get
    assert "put_bytes" in dir(core)
    with pytest.raises(AttributeError):
        core.bogus  # noqa: B018


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"\.npz\z", ["a.npz", "sub/q.npz"]),
        (r"(?<name>a)\.npz", ["a.npz"]),
        (r"^[[:alpha:]]+\.npz$", ["a.npz"]),
        (r"[[:digit:]]", ["1.txt"]),
        (r"^[^[:digit:][:upper:]/]+$", ["a.npz", "x-]y"]),
        (r"[]x]-[]]", ["x-]y"]),
        (r"\x{61}\.npz|\u{31}", ["1.txt", "a.npz"]),
        (r"[\x{5d}]", ["x-]y"]),
        (r"\<q", ["sub/q.npz"]),
        (r"sub\>", ["sub/q.npz"]),
        (r"(?<=b/)q|(?<!.)1", ["1.txt", "sub/q.npz"]),
        (r"\\z|\[z|B[.]", ["B.c"]),
        ("*.npz", ["a.npz", "sub/q.npz"]),
    ],
)
def test_patterns_are_written_as_in_the_rust_package(pattern: str, found: list[str]) -> None:
    base = "memory://patterns/"
    for name in ("1.txt", "B.c", "a.npz", "sub/q.npz", "x-]y"):
        s3dlio.put_bytes(base + name, b"")
    assert s3dlio.list(base, True, pattern) == [base + name for name in found]


@pytest.mark.parametrize(
    "pattern", ["[a-z&&[^b]]", "[a-z--m]", "[a~~b]", "[a[b]]", r"\p{L}", "[[:^alpha:]]", r"\x{110000}"]
)
def test_what_python_has_not_is_refused_and_not_taken_for_another(pattern: str) -> None:
    with pytest.raises(s3dlio.ConfigError, match="invalid regex pattern"):
        s3dlio.list("memory://patterns/", True, pattern)


def test_what_is_in_a_bucket_stands_for_the_service_when_buckets_are_listed() -> None:
    s3dlio.put_bytes("memory://listed-by-key/d/x", b"")
    found = s3dlio.list_containers("memory://")
    assert "listed-by-key" in [container["name"] for container in found]
    assert s3dlio.list_containers("memory://listed-by-key/d/x") == found
    with pytest.raises(InvalidURIError, match="names an object"):
        s3dlio.delete_bucket("memory://listed-by-key/d/x")
