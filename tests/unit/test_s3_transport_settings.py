"""Settings that a transport of S3DLIO_BACKEND cannot honour are told, once; the documents list them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.stores.registry import open_store
from s3dlio.stores.sdk import boto
from s3dlio.stores.sdk.arrow import ArrowStore
from s3dlio.stores.sdk.boto import BotoStore
from s3dlio.uri import parse

KINDS: dict[str, type[BotoStore]] = {"boto3": BotoStore, "arrow": ArrowStore}
#: A value other than the default for each setting that may be among them.
VALUES: dict[str, Any] = {
    "http.pool_idle_seconds": 1, "http.operation_timeout": 1, "http.follow_redirects": False, "http.redirect_max": 1,
    "http.tls_direct": False, "http.read_timeout": 1, "retry.base_delay": 1, "retry.max_delay": 1,
    "retry.retry_after_cap": 1, "range.enabled": False, "range.threshold": 1, "range.chunk": 1 << 20,
    "range.concurrency": 1, "range.size_cache_seconds": 1, "range.size_cache_entries": 1,
    "s3.h2c": True, "s3.https_h2": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto, "_warned", set())


def opened(backend: str, *names: str) -> None:
    sections: dict[str, dict[str, Any]] = {"s3": {"backend": backend, "endpoint_url": "http://127.0.0.1:9"}}
    for name in names:
        section, _, setting = name.partition(".")
        sections.setdefault(section, {})[setting] = VALUES[name]
    open_store(parse("s3://bucket/"), Settings.resolve({}, **sections))


@pytest.mark.parametrize("backend", KINDS)
def test_each_is_told_once_with_its_origin(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    for name in KINDS[backend].unheeded:
        caplog.clear()
        opened(backend, name)
        assert [record.message for record in caplog.records] == [
            f"the transport {backend} has no use for {name}, which is set (argument)"
        ]
    caplog.clear()
    opened(backend, *KINDS[backend].unheeded)
    assert not caplog.records


@pytest.mark.parametrize("backend", [*KINDS, "native"])
def test_what_is_honoured_or_not_set_is_not_told(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    unheeded = KINDS[backend].unheeded if backend in KINDS else ()
    opened(backend, *(name for name in VALUES if name not in unheeded))
    assert not caplog.records


def test_the_document_lists_them() -> None:
    text = (Path(boto.__file__).parents[3] / "docs" / "s3.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (`.*`) \|$", text, re.MULTILINE))
    for backend, kind in KINDS.items():
        assert set(re.findall(r"`([\w.]+)`", listed[backend])) == set(kind.unheeded)
