"""az://: Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.config.settings import Settings
from s3dlio.stores.azure.account import AzureAccount, account_of
from s3dlio.stores.azure.store import AzureStore
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["AzureAccount", "AzureStore", "open_store"]


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> AzureStore:
    """The store of the container that ``location`` names. It does no I/O.

    Raises:
        InvalidURIError, ConfigError, PermissionDeniedError, MissingDependencyError: as of :func:`account_of`.
    """
    return AzureStore(account_of(location, settings), location.container, location.root, observers)
