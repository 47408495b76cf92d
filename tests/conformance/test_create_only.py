"""Whether a store creates only is found out by trying, without harm to what is there."""

from __future__ import annotations

import logging

import pytest

from s3dlio.checkpoint import create_only
from s3dlio.checkpoint.base import NEW
from s3dlio.errors import AlreadyExistsError
from tests.conformance.stores import Case


def test_a_store_that_overwrites_is_found_out_and_named(
    case: Case, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_only, "_known", type(create_only._known)())
    store, key = case.store, case.key("manifest.json")
    try:
        for data in (b"first", b"second"):
            store.put(case.key("other"), data, options=NEW)
        overwrites = True
    except AlreadyExistsError:
        overwrites = False
    assert overwrites <= (not case.creates_only)
    store.put(key, b"{}")
    with caplog.at_level(logging.WARNING, "s3dlio.checkpoint"):
        assert [create_only.creates_only(store, key, b"{}") for _ in range(2)] == [not overwrites] * 2
    assert store.get(key) == b"{}"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == overwrites
    assert all(store.uri("") in words and str(store.endpoint) in words for words in said)
