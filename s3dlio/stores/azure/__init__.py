"""az://: Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError, InvalidURIError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.names import check_container
from s3dlio.stores.azure.store import AzureStore
from s3dlio.stores.base import ObjectStore
from s3dlio.types import Observer
from s3dlio.uri import Location

__all__ = ["AzureAccount", "AzureStore", "open_store"]


@lru_cache(maxsize=64)
def _account(settings: Settings, name: str, origins: frozenset[tuple[str, str]]) -> AzureAccount:
    """All containers of one account share credentials, connections and the retry budget."""
    return AzureAccount(settings, name)


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> ObjectStore:
    """The store of the container that ``location`` names. It does no I/O.

    Raises:
        InvalidURIError: no account is named, or no container can have that name.
        ConfigError: ``azure.crc64`` with the SDK; and as of :class:`AzureAccount`.
        PermissionDeniedError, MissingDependencyError: as of :class:`AzureAccount`.
    """
    if not location.account:
        raise InvalidURIError(
            "the URI names no storage account",
            uri=str(location),
            hint="write az://account/container/key, or set AZURE_STORAGE_ACCOUNT",
        )
    if location.container:
        check_container(location.container, location.root)
    account = _account(settings, location.account, frozenset(settings.origins.items()))
    if settings.azure.backend == "sdk":
        if settings.azure.crc64:
            raise ConfigError("the SDK computes no CRC64", hint="use azure.backend=native, or azure.content_md5")
        from s3dlio.stores.sdk.azure import AzureSdkStore

        return AzureSdkStore(account, location.container, location.root, observers)
    return AzureStore(account, location.container, location.root, observers)
