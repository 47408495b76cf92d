"""s3://: Amazon S3 and everything that speaks its API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from s3dlio.config.settings import Settings
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.express import ExpressStore
from s3dlio.stores.s3.hosts import zone_of
from s3dlio.stores.s3.store import S3Store
from s3dlio.types import Observer
from s3dlio.uri import Location

if TYPE_CHECKING:
    from s3dlio.stores.sdk.boto import BotoStore

__all__ = ["ExpressStore", "S3Account", "S3Store", "open_store"]


@lru_cache(maxsize=64)
def _account(settings: Settings, endpoint: str | None, origins: frozenset[tuple[str, str]]) -> S3Account:
    """All buckets of one service share credentials, connections and the retry budget. Where a setting comes from
    matters, too: a profile that the program names wins over keys in the environment."""
    return S3Account(settings, endpoint)


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> ObjectStore:
    """The store of the bucket that ``location`` names, over the transport that ``settings.s3.backend`` chooses.

    It does no I/O, but may read ``~/.aws``.

    Raises:
        MissingDependencyError: the transport needs a package that is not installed.
    """
    if endpoint := location.endpoint or settings.s3.endpoint_url:
        settings = settings.at(endpoint)
    account = _account(settings, location.endpoint, frozenset(settings.origins.items()))
    transport = _transport(settings.s3.backend)
    if transport is S3Store and zone_of(location.container):
        transport = ExpressStore
    return transport(account, location.container, location.root, account.settings, observers)


def _transport(backend: str) -> type[S3Store] | type[BotoStore]:
    if backend == "native":
        return S3Store
    if backend == "boto3":
        from s3dlio.stores.sdk.boto import BotoStore

        return BotoStore
    from s3dlio.stores.sdk.arrow import ArrowStore

    return ArrowStore
