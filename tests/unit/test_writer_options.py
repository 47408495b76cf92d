"""Options of streaming writers: attributes and chains, refused where they are set, the sizes that follow."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import s3dlio
from s3dlio.errors import ConfigError, InvalidURIError

MIB = 1 << 20


def test_attributes_and_chains_set_the_same() -> None:
    by_name = s3dlio.PyWriterOptions()
    by_name.compression = "ZSTD"
    by_name.compression_level = 7
    by_name.chunk_size = 4 << 20
    chained = s3dlio.WriterOptions()
    assert chained.with_buffer_size("4MiB").with_compression("zstd", 7) is chained
    assert by_name == chained == s3dlio.WriterOptions(compression="zstd", compression_level=7, buffer_size=4 << 20)
    assert (chained.compression, chained.chunk_size, chained.buffer_size) == ("zstd", 4 << 20, 4 << 20)
    assert repr(chained) == "WriterOptions(compression='zstd', compression_level=7, buffer_size=4194304)"
    assert pickle.loads(pickle.dumps(chained)) == copy.deepcopy(chained) == chained != s3dlio.WriterOptions()
    assert chained.with_compression("none").level is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compression", "gzip"), ("compression", 3), ("compression_level", 0), ("compression_level", 23),
        ("compression_level", 99), ("compression_level", -5), ("compression_level", True), ("compression_level", "3"),
        ("buffer_size", 0), ("chunk_size", -1), ("part_size", 4 * MIB), ("part_size", "many"), ("expected_size", -1),
        ("max_in_flight", 0), ("adaptive", True), ("put_options", {}),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_and_changes_nothing(name: str, value: Any) -> None:
    options = s3dlio.WriterOptions().with_compression("zstd", 5)
    before = copy.copy(options)
    with pytest.raises(ConfigError):
        setattr(options, name, value)
    with pytest.raises(ConfigError):
        s3dlio.create_stream_writer("memory://options/x", {name: value})
    if hasattr(options, f"with_{name}"):
        with pytest.raises(ConfigError):
            getattr(options, f"with_{name}")(value)
    assert options == before


def test_an_unknown_name_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(AttributeError, match="did you mean compression"):
        s3dlio.WriterOptions().compresion = "zstd"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="did you mean compression_level"):
        s3dlio.create_stream_writer("memory://options/x", {"compression_levl": 3})
    with pytest.raises(ConfigError, match="not a str"):
        s3dlio.create_stream_writer("memory://options/x", "zstd")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="level"):
        s3dlio.WriterOptions().with_compression("gzip", 99)
    with pytest.raises(ConfigError, match="compression is not"):
        s3dlio.create_stream_writer("memory://options/x", s3dlio.WriterOptions(compression_level=3))
    assert not s3dlio.exists("memory://options/x")


def test_adaptive_options_choose_what_is_not_given() -> None:
    options = s3dlio.WriterOptions()
    assert options.parts() == {"part_size": None, "expected_size": None, "max_in_flight": None}
    assert options.enable_adaptive() is options
    assert options.parts()["part_size"] == 16 * MIB
    assert options.with_expected_size(MIB).parts()["part_size"] == 8 * MIB
    assert options.with_expected_size(1 << 30).parts()["part_size"] == 32 * MIB
    options.adaptive = s3dlio.AdaptiveConfig.enabled("batch", min_concurrency=70, max_part_size=6 * MIB)
    assert options.parts() == {"part_size": 6 * MIB, "expected_size": 1 << 30, "max_in_flight": 70}
    options.with_part_size(7 * MIB).with_max_in_flight(2)
    assert options.parts() == {"part_size": 7 * MIB, "expected_size": 1 << 30, "max_in_flight": 2}


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "s3": (s3dlio.create_s3_writer, "create_s3_writer"),
    "az": (s3dlio.create_azure_writer, "create_azure_writer"),
    "gs": (s3dlio.create_gcs_writer, "create_gcs_writer"),
    "file": (s3dlio.create_filesystem_writer, "create_filesystem_writer"),
    "direct": (s3dlio.create_direct_filesystem_writer, "create_direct_filesystem_writer"),
}


@pytest.mark.parametrize("scheme", VERBS)
def test_a_verb_of_another_scheme_names_the_right_one(scheme: str) -> None:
    for other, (verb, name) in VERBS.items():
        if other == scheme or (other, scheme) == ("direct", "file"):
            continue
        with pytest.raises(InvalidURIError, match=f"{name} writes to {other}://, not {scheme}://") as caught:
            verb(f"{scheme}://account/container/key")
        assert VERBS[scheme][1] in str(caught.value)
    with pytest.raises(InvalidURIError):
        VERBS[scheme][0]("no uri")


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/", "az://account/container/", "gs://bucket/", "file://"])
def test_a_container_is_no_object_compressed_neither(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in (None, {"compression": "zstd"}):
        with pytest.raises(InvalidURIError):
            s3dlio.create_stream_writer(uri, options)
