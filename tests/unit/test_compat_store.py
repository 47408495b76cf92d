"""The store level: verbs beneath one URI, and configurations whose every option acts, is refused, or says something."""

from __future__ import annotations

import datetime
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.compat.configs import CloudConfig
from s3dlio.config import settings
from s3dlio.errors import (
    ConfigError,
    IntegrityError,
    InvalidURIError,
    ObjectNotFoundError,
    UnsupportedOperationError,
)
from s3dlio.memory.pool import default_pool
from s3dlio.stores.local.direct import DirectStore
from s3dlio.stores.local.file import FileStore

MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("fresh_settings")


@pytest.fixture(params=["memory", "file"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}" if request.param == "file" else f"memory://{request.node.name.partition('[')[0]}"


# -- verbs


def test_verbs_take_uris_and_names_beneath_the_stores_own(base: str) -> None:
    store = s3dlio.store_for_uri(f"{base}/data/")
    store.put("a/x", b"hello")
    assert store.get("a/x") == store.get(f"{base}/data/a/x") == s3dlio.get(f"{base}/data/a/x") == b"hello"
    assert store.get_range("a/x", 1, 2) == b"el"
    assert store.stat("a/x")["size"] == 5
    assert (store.exists("a/x"), store.exists("a/y")) == (True, False)
    store.put_multipart("a/y", b"z" * 10, 7 * MIB)
    assert store.list(recursive=True) == [*store.list_stream(recursive=True)] == [
        f"{base}/data/a/x", f"{base}/data/a/y",
    ]  # fmt: skip
    assert store.list("a/", pattern="y$") == [f"{base}/data/a/y"]
    store.copy("a/x", "b/x")
    store.rename("b/x", "c/x")
    assert (store.exists("b/x"), store.get("c/x")) == (False, b"hello")
    assert store.pre_stat_and_cache(["a/x", f"{base}/data/a/y"], 100) == 2
    store.delete("a/x")
    store.delete("a/x")
    store.delete_batch(["a/y", "nope"])
    store.put("c/y", b"")
    store.delete_prefix("c/")
    assert store.list(recursive=True) == []
    with pytest.raises(ObjectNotFoundError):
        store.rename("nope", "other")


def test_directories_and_containers(tmp_path: Path) -> None:
    store = s3dlio.store_for_uri(tmp_path)
    store.mkdir("a/b")
    assert (tmp_path / "a/b").is_dir()
    store.rmdir("a", recursive=True)
    store.create_container("c")
    assert (tmp_path / "c").is_dir()
    store.delete_container("c")
    assert not (tmp_path / "c").exists()
    clouds = s3dlio.store_for_uri("memory://one/prefix/")
    clouds.create_container("two")
    assert "memory://two" in [found["uri"] for found in s3dlio.list_containers("memory://")]
    clouds.delete_container("memory://two")


@pytest.mark.parametrize(
    ("uri", "name", "expected"),
    [
        ("s3://b/p/", "other", "s3://other"),
        ("s3://host:9000/b/p/", "other", "s3://host:9000/other"),
        ("az://account/bucket/p/", "other", "az://account/other"),
        ("gs://bucket/", "other", "gs://other"),
        ("gs://bucket/", "gs://third", "gs://third"),
    ],
)
def test_a_container_is_named_beside_the_stores_own(uri: str, name: str, expected: str) -> None:
    assert s3dlio.store_for_uri(uri)._container(name) == expected


def test_checksums_are_compared(base: str) -> None:
    store = s3dlio.store_for_uri(base)
    store.put("x", b"123456789")
    assert store.get_with_validation("x") == store.get_with_validation("x", "crc32c:e3069283") == b"123456789"
    assert store.get_range_with_validation("x", 0, 9, "CRC32C:E3069283") == b"123456789"
    with pytest.raises(IntegrityError, match="crc32c:e3069283, not crc32c:00000000"):
        store.get_with_validation("x", "crc32c:00000000")
    with pytest.raises(ConfigError, match="no checksum of this kind"):
        store.get_range_with_validation("x", 0, 9, "md5:00")


def test_metadata_and_properties() -> None:
    store = s3dlio.store_for_uri("memory://properties")
    store.put("x", b"data", content_type="text/plain", metadata={"a": "1", "b": "2"})
    store.update_metadata("x", {"b": "3", "c": "4"})
    about = store.stat("x")
    assert (about["metadata"], about["content_type"]) == ({"a": "1", "b": "3", "c": "4"}, "text/plain")
    store.update_properties("x", {"content_type": "text/csv"}, cache_control="no-cache")
    about = store.stat("x")
    assert (about["content_type"], about["cache_control"]) == ("text/csv", "no-cache")
    assert about["metadata"] == {"a": "1", "b": "3", "c": "4"}
    with pytest.raises(ConfigError, match="unknown property 'expires'"):
        store.update_properties("x", expires="never")


def test_files_keep_no_metadata(tmp_path: Path) -> None:
    store = s3dlio.store_for_uri(tmp_path)
    store.put("x", b"data")
    with pytest.raises(UnsupportedOperationError):
        store.update_metadata("x", {"a": "1"})
    assert store.get("x") == b"data"


def test_writers_of_names_beneath_the_store() -> None:
    store = s3dlio.store_for_uri("memory://writers/base")
    with store.get_writer("x") as writer:
        writer.write(b"data")
    with store.get_writer_with_compression("x", level=1) as packed, store.create_writer("y") as other:
        packed.write(b"data")
        other.write(b"more")
    assert [store.get("x"), store.get("y")] == [b"data", b"more"]
    assert store.exists("x.zst")
    with store.open("z", "w") as file:
        file.write("text")
    with store.open("z") as file:
        assert file.read() == "text"


def test_uris_of_other_schemes_are_refused() -> None:
    store = s3dlio.store_for_uri("memory://schemes")
    with pytest.raises(InvalidURIError, match="this store is of memory://, not s3://"):
        store.get("s3://b/x")
    with pytest.raises(InvalidURIError):
        s3dlio.store_for_uri("no-scheme")


def test_a_store_shares_the_default_client_unless_it_has_options() -> None:
    assert s3dlio.store_for_uri("memory://b").client is s3dlio.default_client()
    with s3dlio.store_for_uri("s3://b", endpoint_url="http://127.0.0.1:9", range={"chunk": MIB}) as store:
        assert store.client is not s3dlio.default_client()
        now = store.client.settings
        assert (now.s3.endpoint_url, now.range.chunk) == ("http://127.0.0.1:9", MIB)
    copied = pickle.loads(pickle.dumps(store))
    assert (copied.uri, copied.client.settings.range.chunk) == ("s3://b", MIB)
    with pytest.raises(ConfigError, match="did you mean endpoint_url"):
        s3dlio.store_for_uri("s3://b", endpoint="x")


def test_a_logger_hears_of_every_operation(tmp_path: Path) -> None:
    seen: list[s3dlio.Observation] = []
    store = s3dlio.store_for_uri_with_logger(tmp_path, seen.append)
    store.put("x", b"12")
    store.rename("x", "y")
    store.get("y")
    assert [(one.operation, one.bytes) for one in seen] == [("PUT", 2), ("RENAME", 0), ("GET", 2)]


# -- configurations


def settings_of(uri: str, config: Any) -> settings.Settings:
    return s3dlio.store_for_uri_with_config(uri, config).client.settings


@pytest.mark.parametrize(
    ("uri", "kind"),
    [("s3://b/", s3dlio.S3Config), ("az://account/bucket/", s3dlio.AzureConfig), ("gs://bucket/", s3dlio.GcsConfig)],
)
def test_options_of_clouds_become_settings(uri: str, kind: type[CloudConfig]) -> None:
    engine = s3dlio.RangeEngineConfig(8 * MIB, 5, 4 * MIB, datetime.timedelta(seconds=9))
    now = settings_of(uri, kind(enable_range_engine=False, range_engine=engine, size_cache_ttl_secs=7))
    assert now.range == settings.RangeSettings(
        enabled=False, threshold=4 * MIB, chunk=8 * MIB, concurrency=5, size_cache_seconds=7
    )
    assert now.http.read_timeout == 9
    plain = settings_of(uri, kind())
    assert (plain.range, plain.http) == (settings.RangeSettings(), settings.HttpSettings())
    assert settings_of(uri, engine).range.concurrency == 5


def test_ranges_can_be_turned_off_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DLIO_ENABLE_RANGE_OPTIMIZATION", "0")
    assert not settings_of("s3://b/", s3dlio.S3Config(size_cache_ttl_secs=1)).range.enabled
    store = s3dlio.store_for_uri_with_high_performance_cloud("s3://b/")
    assert store.client.settings.range.enabled
    assert s3dlio.high_performance_store_for_uri("gs://bucket/").client.settings.range.concurrency == 32


@pytest.mark.parametrize(
    ("workload", "part", "each"), [("SmallFile", 8, 8), ("MediumFile", 16, 4), ("LargeFile", 32, 2), ("Batch", 16, 8)]
)
def test_adaptive_parts(workload: str, part: int, each: int) -> None:
    config = s3dlio.AdaptiveConfig.enabled(workload, min_concurrency=1, max_concurrency=10_000)
    now = settings_of("s3://b/", config).multipart
    assert (now.part_size, now.max_in_flight) == (part * MIB, each * s3dlio.hardware.available_cpus())
    bounded = s3dlio.AdaptiveConfig.enabled(workload, min_part_size=20 * MIB, max_part_size=20 * MIB, max_concurrency=8)
    assert (bounded.part_size(), bounded.concurrency()) == (20 * MIB, 8)


def test_adaptive_parts_by_size_or_not_at_all() -> None:
    config = s3dlio.AdaptiveConfig.enabled()
    sizes = [config.part_size(size) for size in (None, MIB, 100 * MIB, 1000 * MIB)]
    assert sizes == [size * MIB for size in (16, 8, 16, 32)]
    assert config.concurrency() == 32
    off = s3dlio.AdaptiveConfig()
    assert (off.part_size(MIB), off.concurrency()) == (None, None)
    assert settings_of("s3://b/", s3dlio.S3Config(adaptive=off)).multipart == settings.MultipartSettings()


def test_options_of_files_become_settings(tmp_path: Path) -> None:
    config = s3dlio.FileSystemConfig(
        alignment=512, min_io_size=1024, sync_writes=True, page_cache_mode=s3dlio.PageCacheMode.DontNeed
    )
    now = settings_of(f"file://{tmp_path}", config).file
    assert (now.alignment, now.direct_min_size, now.durable, now.page_cache) == (512, 1024, True, "dontneed")
    assert settings_of(f"file://{tmp_path}", s3dlio.FileSystemConfig.default()).file == settings.FileSettings()
    assert s3dlio.FileSystemConfig(page_cache_mode="DontNeed").page_cache_mode is s3dlio.PageCacheMode.DontNeed


def test_direct_io_of_uris_that_say_file(tmp_path: Path) -> None:
    seen: list[str] = []
    for store in (
        s3dlio.direct_io_store_for_uri(f"file://{tmp_path}/", logger=lambda one: seen.append(one.uri)),
        s3dlio.high_performance_store_for_uri(f"file://{tmp_path}/"),
    ):
        store.put("x", b"a" * 100_000)
        assert store.get(f"file://{tmp_path}/x") == b"a" * 100_000
        assert store.list() == [f"file://{tmp_path}/x"]
        assert isinstance(store.client.store_for(store._real("x"))[0], DirectStore)
    assert seen[0] == f"direct://{tmp_path}/x"
    assert s3dlio.direct_io_store_for_uri("memory://b/").get_range
    assert s3dlio.FileSystemConfig.direct_io().direct_io is True
    assert s3dlio.FileSystemConfig().direct_io is None
    assert s3dlio.FileSystemConfig.high_performance().sync_writes is True


def test_a_buffer_pool_is_room_in_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = default_pool()
    monkeypatch.setattr(pool, "max_idle_bytes", 1000)
    s3dlio.store_for_uri(tmp_path, config=s3dlio.FileSystemConfig(buffer_pool=(2, 4 * MIB)))
    assert pool.max_idle_bytes == 8 * MIB
    s3dlio.store_for_uri(tmp_path, config=s3dlio.FileSystemConfig(buffer_pool=(1, MIB)))
    assert pool.max_idle_bytes == 8 * MIB


def test_ranges_of_files_say_that_they_have_no_meaning() -> None:
    with pytest.warns(DeprecationWarning, match="ranges of files have no meaning here"):
        s3dlio.FileSystemConfig(enable_range_engine=True)


@pytest.mark.parametrize(
    ("uri", "config", "message"),
    [
        ("az://a/c/", s3dlio.S3Config(), "S3Config is for stores of s3://"),
        ("file:///x", s3dlio.RangeEngineConfig(), "RangeEngineConfig is for stores of s3://, az://, gs://"),
        ("s3://b/", s3dlio.FileSystemConfig(), "FileSystemConfig is for stores of file://, direct://"),
        ("direct:///x", s3dlio.FileSystemConfig(direct_io=False), "direct_io=False, and the URI says direct://"),
        ("s3://b/", s3dlio.PoolConfig(), "PoolConfig is no configuration of a store"),
        ("s3://b/", {"chunk_size": 1}, "dict is no configuration of a store"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(uri: str, config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        s3dlio.store_for_uri_with_config(uri, config)


@pytest.mark.parametrize(
    "make",
    [
        lambda: s3dlio.RangeEngineConfig(chunk_size=0),
        lambda: s3dlio.RangeEngineConfig(max_concurrent_ranges=0),
        lambda: s3dlio.RangeEngineConfig(range_timeout=-1),
        lambda: s3dlio.S3Config(size_cache_ttl_secs=-1),
        lambda: s3dlio.S3Config(range_engine={"chunk_size": 1}),  # type: ignore[arg-type]
        lambda: s3dlio.AdaptiveConfig(mode="sometimes"),
        lambda: s3dlio.AdaptiveConfig(workload_type="Huge"),
        lambda: s3dlio.AdaptiveConfig(min_part_size=MIB),
        lambda: s3dlio.AdaptiveConfig(min_concurrency=9, max_concurrency=8),
        lambda: s3dlio.FileSystemConfig(page_cache_mode="Maybe"),
        lambda: s3dlio.FileSystemConfig(alignment=5),
        lambda: s3dlio.FileSystemConfig(direct_io="yes"),  # type: ignore[arg-type]
        lambda: s3dlio.FileSystemConfig(buffer_pool=5),  # type: ignore[arg-type]
        lambda: s3dlio.PoolConfig(pool_size=0),
        lambda: s3dlio.PoolConfig(batch_timeout=-1),
        lambda: s3dlio.PoolConfig().options("Random"),
    ],
)
def test_wrong_values_are_refused_when_a_configuration_is_made(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


# -- the page cache


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("normal", 70 * MIB, []),
        ("sequential", 10, ["sequential"]),
        ("random", 100_000, ["random"]),
        ("dontneed", 100_000, ["dontneed"]),
        ("auto", 10, ["random"]),
        ("auto", 64 * MIB - 1, ["random"]),
        ("auto", 64 * MIB, ["sequential"]),
    ],
)
def test_the_page_cache_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, size: int, expected: list[str]
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    os.truncate(path, size)
    told: list[str] = []
    names = {getattr(os, f"POSIX_FADV_{name.upper()}"): name for name in ("sequential", "random", "dontneed")}
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, offset, length, advice: told.append(names[advice]))
    store = FileStore(settings=settings.FileSettings(page_cache=mode))
    assert len(store.get_range(str(path), 0, 5)) == 5
    assert told == expected
    told.clear()
    assert len(store.get(str(path))) == size
    assert told == expected


def test_what_is_too_small_for_direct_io_goes_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct: list[str] = []
    monkeypatch.setattr(DirectStore, "_read_direct", lambda self, *_: direct.append("read"))
    store = DirectStore(settings=settings.FileSettings(direct_min_size=4096))
    path = str(tmp_path / "x")
    store.put(path, b"a" * 5000)
    assert store.get_range(path, 0, 4095) == b"a" * 4095
    assert direct == []
    store.get_range(path, 0, 4096)
    assert direct == ["read"]
    store.put(path, b"small")
    assert store.get(path) == b"small"
