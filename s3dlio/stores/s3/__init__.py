"""s3://: Amazon S3 and everything that speaks its API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from s3dlio.settings import Settings
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.store import S3Store
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["S3Account", "S3Store", "open_store"]


@lru_cache(maxsize=64)
def _account(settings: Settings, endpoint: str | None) -> S3Account:
    """All buckets of one service share credentials, connections and the retry budget."""
    return S3Account(settings, endpoint)


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> S3Store:
    """The store of the bucket that ``location`` names. It does no I/O, but may read ``~/.aws``."""
    account = _account(settings, location.endpoint)
    return S3Store(account, location.container, location.root, settings, observers)
