"""s3://: Amazon S3 and everything that speaks its API."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.config.settings import Settings
from s3dlio.stores.s3.account import S3Account, account_of
from s3dlio.stores.s3.hosts import zone_of
from s3dlio.stores.s3.store import S3Store
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["S3Account", "S3Store", "open_store"]


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> S3Store:
    """The store of the bucket that ``location`` names. It does no I/O, but may read ``~/.aws``.

    Raises:
        ConfigError: as of :class:`S3Account`.
        MissingDependencyError: signatures need a package that is not installed.
    """
    account = account_of(location, settings)
    store: type[S3Store] = S3Store
    if zone_of(location.container):
        from s3dlio.stores.s3.express import ExpressStore

        store = ExpressStore
    return store(account, location.container, location.root, account.settings, observers)
