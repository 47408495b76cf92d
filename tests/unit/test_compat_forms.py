"""Older names, and older forms of what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s3dlio
from s3dlio.errors import ConfigError, CorruptDataError, IntegrityError

pytestmark = pytest.mark.usefixtures("fresh_settings")


def test_the_version() -> None:
    assert s3dlio.version() == s3dlio.__version__


def test_lists_under_older_names() -> None:
    s3dlio.put_bytes("memory://older/d/x", b"")
    assert s3dlio.list_uris("memory://older/d/") == s3dlio.list("memory://older/d/") == ["memory://older/d/x"]
    assert s3dlio.list_keys_from_s3("memory://older/d/") == s3dlio.list_keys("memory://older/d/") == ["x"]


def test_an_object_by_bucket_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(s3dlio.Client, "get", lambda self, uri, **options: asked.append(uri))
    s3dlio.get_object("bucket", "dir/key")
    s3dlio.get_object("s3://bucket/", "/key")
    s3dlio.get_object("s3://bucket/other")
    assert asked == ["s3://bucket/dir/key", "s3://bucket//key", "s3://bucket/other"]


def test_configured_for_concurrency() -> None:
    s3dlio.configure_for_concurrency(1000)
    now = s3dlio.default_client().settings
    assert (now.http.max_connections, now.executor.threads) == (1000, 1000)
    s3dlio.configure_for_concurrency(2)
    assert s3dlio.default_client().settings.http.max_connections == 1000
    with pytest.raises(ConfigError):
        s3dlio.configure_for_concurrency(0)


@pytest.mark.parametrize("compress", [False, True])
def test_arrays(compress: bool) -> None:
    uri = "memory://arrays/a"
    array = np.arange(12, dtype="<i4").reshape(3, 4)
    checksum = s3dlio.save_numpy_array(uri, array, compress, validate=True)
    assert checksum.startswith("crc32c:")
    loaded = s3dlio.load_numpy_array(uri, validate_checksum=checksum)
    assert np.array_equal(loaded, array)
    assert s3dlio.load_numpy_array(uri, (12,), "<i4").tolist() == list(range(12))
    with pytest.raises(IntegrityError, match="not crc32c:0"):
        s3dlio.load_numpy_array(uri, validate_checksum="crc32c:0")
    for wrong in ({"shape": (5,)}, {"dtype": "f8"}):
        with pytest.raises(ConfigError):
            s3dlio.load_numpy_array(uri, **wrong)  # type: ignore[arg-type]


def test_arrays_of_bare_bytes() -> None:
    uri = "memory://arrays/bare"
    s3dlio.put_bytes(uri, np.ones(6, "f4"))
    assert s3dlio.load_numpy_array(uri, (2, 3)).tolist() == [[1, 1, 1], [1, 1, 1]]
    with pytest.raises(ConfigError, match="no NPY file"):
        s3dlio.load_numpy_array(uri)


def test_a_damaged_array_is_no_array() -> None:
    uri = "memory://arrays/damaged"
    s3dlio.save_numpy_array(uri, np.arange(5))
    whole = bytes(s3dlio.get(uri))
    for damaged in (whole[:-1], whole[:20], whole[:60] + b"9" + whole[61:], b"\x28\xb5\x2f\xfd" + whole):
        s3dlio.put_bytes(uri, damaged)
        with pytest.raises((CorruptDataError, ConfigError)):
            s3dlio.load_numpy_array(uri)


def test_object_type_binary_is_raw() -> None:
    s3dlio.put("memory://binary/", num=1, size=10, object_type="binary")
    assert s3dlio.stat("memory://binary/object-0")["size"] == 10


def test_an_unknown_mode_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"unknown data generation mode 'fast'.*data_gen_mode='streaming'"):
        s3dlio.put("memory://binary/", num=1, size=10, data_gen_mode="fast")


def test_the_index_by_its_other_names(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(s3dlio.build_tfrecord([b"x" * 10]))
    out = tmp_path / "out.idx"
    assert s3dlio.create_tfrecord_index(input_path=str(file), output_path=str(out)) == 1
    assert out.read_bytes() == b"0 26\n"
    with pytest.raises(TypeError, match="either tfrecord_path or input_path"):
        s3dlio.create_tfrecord_index()
    with pytest.raises(TypeError, match="either index_path or output_path"):
        s3dlio.create_tfrecord_index(file, "a", output_path="b")
