"""gs:// and gcs://: Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.config.settings import Settings
from s3dlio.stores.gcs.account import GcsAccount, account_of
from s3dlio.stores.gcs.store import GcsStore
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["GcsAccount", "GcsStore", "open_store"]


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> GcsStore:
    """The store of the bucket that ``location`` names. It does no I/O.

    Raises:
        InvalidURIError, ConfigError: as of :func:`account_of`.
    """
    return GcsStore(account_of(location, settings), location.container, location.root, observers)
