"""gs:// and gcs://: Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from s3dlio.config.settings import Settings
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.names import check_bucket
from s3dlio.stores.gcs.store import GcsStore
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["GcsAccount", "GcsStore", "open_store"]


@lru_cache(maxsize=64)
def _account(settings: Settings, origins: frozenset[tuple[str, str]]) -> GcsAccount:
    """All buckets share credentials, connections and the retry budget."""
    return GcsAccount(settings)


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> ObjectStore:
    """The store of the bucket that ``location`` names. It does no I/O.

    Raises:
        InvalidURIError: no bucket can have that name.
        ConfigError: as of :class:`GcsAccount`.
    """
    if location.container:
        check_bucket(location.container, location.root)
    account = _account(settings, frozenset(settings.origins.items()))
    if settings.gcs.backend == "sdk":
        from s3dlio.stores.sdk.gcs import GcsSdkStore

        return GcsSdkStore(account, location.container, location.root, observers)
    return GcsStore(account, location.container, location.root, observers)
