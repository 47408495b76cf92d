"""What stores over a cloud's own SDK share: a client that is made late, and writers that want to know the size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from s3dlio.forking import ForkLock, renewed_in_child
from s3dlio.memory.sinks import Sink
from s3dlio.net.bandwidth import bandwidth_of
from s3dlio.stores.blocking import BlockingStore
from s3dlio.stores.cloud.account import Account
from s3dlio.stores.cloud.spooled import SpooledWriter
from s3dlio.stores.writer import PartOptions, StoreWriter
from s3dlio.types import Conditions, ObjectMetadata, Observer, PutOptions


class SdkStore(BlockingStore):
    """One container, through the client of an SDK.

    Args:
        account: credentials and endpoint; a subclass names the type of it.
        container: its name; empty for the account itself (list_containers).
        root: the URI of the container.
        observers: as of ObjectStore.
    """

    account: Account

    def __init__(
        self, account: Account, container: str, root: str | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        super().__init__(root or account.root_of(container), observers)
        self.account = account
        self.container = container
        self.settings = account.settings
        self._client: Any = None
        self._lock = ForkLock()
        renewed_in_child(self)

    def sending(self, count: int) -> None:
        """So many bytes go: the next wait for their turn, where bandwidth is limited."""
        if self.settings.http.bwlimit is not None:
            bandwidth_of(self.settings.http.bwlimit).up.spend_and_wait(count)

    def receiving(self, count: int) -> None:
        """So many bytes have come."""
        if self.settings.http.bwlimit is not None:
            bandwidth_of(self.settings.http.bwlimit).down.spend_and_wait(count)

    @abstractmethod
    def _make_client(self) -> Any:
        """A new client of the SDK."""

    @property
    def client(self) -> Any:
        """The client of the SDK; made when it is first needed, because importing the SDK takes a while."""
        if self._client is None:
            with self._lock:
                if self._client is None:  # another thread may have been quicker
                    self._client = self._make_client()
        return self._client

    def renew(self) -> None:
        """A forked child makes a client of its own: the sockets of this one are its parent's."""
        self._client = None

    def _read_nothing(self, key: str, sink: Sink, conditions: Conditions) -> ObjectMetadata:
        """A read of no bytes: only the metadata."""
        about: ObjectMetadata = self._head(key, conditions)
        sink.begin(0)
        sink.end(0)
        return about

    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter:
        return SpooledWriter(self, key, options)
