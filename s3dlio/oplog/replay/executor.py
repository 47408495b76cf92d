"""What a program of one's own does in place of the stores: the interface of an executor."""

from __future__ import annotations

from s3dlio.datagen import generate_data
from s3dlio.engine.session import Session
from s3dlio.errors import UnsupportedOperationError
from s3dlio.verbs import objects


class OpExecutor:
    """Carries out the operations of a replay; subclasses say how, and what they do not say is an error. Methods are
    called from several threads at a time; what they raise is counted as a failure of the operation.

    Reads return how many bytes there were, or None: as many as were recorded.
    """

    def get(self, uri: str) -> int | None:
        """Read an object."""
        raise _missing("GET", uri)

    def get_range(self, uri: str, offset: int, length: int | None) -> int | None:
        """Read a part of one; without a length to its end. Unless there is another way, read all of it."""
        return self.get(uri)

    def put(self, uri: str, size: int) -> int | None:
        """Write an object of so many bytes."""
        raise _missing("PUT", uri)

    def delete(self, uri: str) -> int | None:
        """Remove an object."""
        raise _missing("DELETE", uri)

    def list(self, uri: str) -> int | None:
        """List what is below a prefix."""
        raise _missing("LIST", uri)

    def stat(self, uri: str) -> int | None:
        """Look at an object."""
        raise _missing("HEAD", uri)


def _missing(operation: str, uri: str) -> UnsupportedOperationError:
    hint = "give it the method, or replay other operations only"
    return UnsupportedOperationError("the executor does no such operation", uri=uri, operation=operation, hint=hint)


class S3dlioExecutor(OpExecutor):
    """The verbs of a client, to be changed by a subclass. A replay without an executor does the same, on fewer threads.

    Args:
        session: the client; None: the default one.
        dedup, compress: of what is written, as of ``generate_data``.
    """

    def __init__(self, session: Session | None = None, *, dedup: int = 1, compress: int = 1) -> None:
        if session is None:
            from s3dlio.api import default_client

            session = default_client()
        self.session = session
        self._factors = dedup, compress

    def get(self, uri: str) -> int | None:
        return len(objects.get(self.session, uri))

    def get_range(self, uri: str, offset: int, length: int | None) -> int | None:
        return len(objects.get_range(self.session, uri, offset, length))

    def put(self, uri: str, size: int) -> int | None:
        objects.put_bytes(self.session, uri, generate_data(size, *self._factors))
        return size

    def delete(self, uri: str) -> int | None:
        objects.delete(self.session, uri)
        return 0

    def list(self, uri: str) -> int | None:
        store, key = self.session.store_for(uri)
        store.execute(store.list_page_call(key, True, None))
        return 0

    def stat(self, uri: str) -> int | None:
        objects.head(self.session, uri)
        return 0
