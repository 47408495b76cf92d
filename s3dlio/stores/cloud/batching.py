"""What the stores of Azure and Google share: accounts with one URL, and batches of single deletes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from s3dlio.memory.sources import Source
from s3dlio.stores.base import KeyErrors, ObjectStore
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.account import Account
from s3dlio.stores.cloud.batch_delete import BatchDelete
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.writer import UploadState
from s3dlio.types import ListPage, Observer, PutOptions, PutResult


class SingleAccount(Account, Protocol):
    """An account behind one URL."""

    url: str


class Listing(Protocol):
    """The module that asks for a page of a listing."""

    def page(
        self, service: Any, prefix: str, recursive: bool, token: str | None, start_after: str | None, size: Any, /
    ) -> Steps[tuple[ListPage, str | None]]: ...


class BatchingStore(CloudStore):
    """One container of such an account; a subclass names the types of it and of the service.

    Args:
        account: whose container it is.
        batches: delete many, in the service of the container.
        observers: as of ObjectStore.
    """

    account: SingleAccount
    listing: ClassVar[Listing]
    #: Names asked for in one page of a listing; None: as many as the service likes.
    page_size: int | None

    def __init__(self, account: SingleAccount, batches: BatchDelete, observers: Sequence[Observer] = ()) -> None:
        super().__init__(batches.service, observers)
        self.account = account
        self._batches = batches

    def _write(self, key: str, source: Source, options: PutOptions) -> Steps[PutResult]:
        return self._write_on(key, source, options, None)

    @abstractmethod
    def _write_on(
        self, key: str, source: Source, options: PutOptions, resume: UploadState | None
    ) -> Steps[PutResult]: ...

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> Steps[tuple[ListPage, str | None]]:
        return self.listing.page(self.service, prefix, recursive, token, start_after, self.page_size)

    def _delete_many(self, keys: Sequence[str]) -> Steps[KeyErrors]:
        return self._batches.run(keys)

    def can_copy_from(self, source: ObjectStore) -> bool:
        return isinstance(source, type(self)) and source.account.url == self.account.url
