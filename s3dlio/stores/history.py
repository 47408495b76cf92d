"""What only some services keep: older versions of objects, and uploads in parts that were never completed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from s3dlio.errors import ProtocolError
from s3dlio.stores.call import BaseStore, Call
from s3dlio.stores.checks import unsupported
from s3dlio.stores.paging import Paging
from s3dlio.types import UploadEntry, VersionPage

T = TypeVar("T")


class HistoryStore(BaseStore):
    """The verbs for both; elsewhere they are an UnsupportedOperationError. Parameters as of :class:`BaseStore`."""

    @abstractmethod
    def execute(self, call: Call[T]) -> T:
        """Run one call to its end on the calling thread."""

    def list_versions(self, prefix: str = "", *, recursive: bool = True) -> Iterator[VersionPage]:
        """All versions of the objects whose key starts with ``prefix``, page by page, those of one object together.

        Not ``recursive``: keys with a ``/`` after the prefix are folded into ``VersionPage.prefixes``.

        Raises:
            UnsupportedOperationError: the store keeps no versions, or this transport cannot list them.
        """

        def ask(token: str | None) -> Any:
            return self._versions_page(prefix, recursive, token)

        pages: Iterator[VersionPage] = self._all_pages("LIST_VERSIONS", prefix, ask)
        return pages

    def list_uploads(self, prefix: str = "") -> Iterator[Sequence[UploadEntry]]:
        """The uploads in parts of keys that start with ``prefix`` which are open, page by page.

        Raises:
            UnsupportedOperationError: the store has none, or this transport cannot list them.
        """
        pages: Iterator[Sequence[UploadEntry]] = self._all_pages(
            "LIST_UPLOADS", prefix, lambda token: self._uploads_page(prefix, token)
        )
        return pages

    def abort_upload_call(self, key: str, upload_id: str) -> Call[None]:
        """Gives up an upload, and drops its parts; one that is not there any more is no error."""
        self.check_key(key, "ABORT_UPLOAD")
        return Call(self, "ABORT_UPLOAD", key, lambda: self._abort_upload(key, upload_id))

    def _all_pages(self, operation: str, prefix: str, ask: Callable[[str | None], Any]) -> Iterator[Any]:
        token: str | None = None
        paging = Paging()
        while True:
            call: Call[tuple[Any, str | None]] = Call(self, operation, prefix, partial(ask, token))
            call.objects = 0
            page, token = self.execute(call)
            try:
                paging.check(page, token)
            except ProtocolError as error:
                error.locate(self.uri(prefix), operation)
                raise
            yield page
            if token is None:
                return

    # -- what a store fills in: each returns its result, or (cloud) the Steps that lead to it

    def _versions_page(self, prefix: str, recursive: bool, token: str | None) -> Any:
        raise unsupported(self, prefix, "list versions")

    def _uploads_page(self, prefix: str, token: str | None) -> Any:
        raise unsupported(self, prefix, "list uploads")

    def _abort_upload(self, key: str, upload_id: str) -> Any:
        raise unsupported(self, key, "abort uploads")
