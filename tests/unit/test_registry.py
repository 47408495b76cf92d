"""A URI whose container was seen before is read as if it were new, only sooner."""

from __future__ import annotations

import pytest

from s3dlio.config.settings import Settings
from s3dlio.stores.registry import Stores
from s3dlio.uri import parse

URIS = [
    "az://mine/box/key", "az://mine/box/a//b", "az://mine/box/", "az://mine/box", "az://mine/boxes/key",
    "az://mine/boxe", "az://other/box/key", "az://other/box", "azure://other/box/key", "s3://bucket/a/b",
    "s3://host:9000/bucket/a/b", "s3://host:9000/bucke", "s3://host:9000/bucket", "gs://bucket/a", "gcs://bucket",
    "file:///a/b", "file://a", "memory://m/a",
]  # fmt: skip


@pytest.mark.parametrize("account", [None, "mine"])
def test_uris_that_were_seen_are_read_as_new_ones(account: str | None) -> None:
    anonymous = {"anonymous": True}
    stores = Stores(Settings.resolve({}, azure={"account": account, **anonymous}, s3=anonymous, gcs=anonymous))
    for uri in (*URIS, *URIS[::-1], *URIS):
        location = parse(uri, azure_account=account)
        store, key = stores.find(uri)
        assert (store.root.rstrip("/"), key) == (location.root.rstrip("/"), location.key)
