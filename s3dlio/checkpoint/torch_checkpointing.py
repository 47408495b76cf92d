"""A storage for ``torch-checkpointing``, PyTorch's package of asynchronous checkpoints, on any store.

Import it from here: the package is needed then. ``CheckpointManager.Config(storage_config=S3dlioStorageConfig())``.
"""

from __future__ import annotations

import errno
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_checkpointing.metadata_serialization import METADATA_FILE_NAME
from torch_checkpointing.storage.base_storage import ReadArgs, Storage, StorageConfig

from s3dlio import api
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, ObjectNotFoundError
from s3dlio.foreign_errors import from_os_error
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.store import LocalStore
from s3dlio.transfer.copy import copy
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.places import place_uri
from s3dlio.types import PutOptions
from s3dlio.uri import SCHEMES
from s3dlio.verbs import files

#: ``pathlib`` leaves one slash of the two behind a scheme.
_COLLAPSED = re.compile(rf"({'|'.join(SCHEMES)}):/+", re.IGNORECASE)
_DURABLE = PutOptions(durable=True)


@dataclass
class S3dlioStorageConfig(StorageConfig):
    """What ``CheckpointManager`` makes its storage of, in worker processes, too.

    Attributes:
        client: whose settings count; None: the default client of each process. It travels without its secrets, which
            are found again in the environment.
    """

    client: Any = None

    def create_storage(self) -> S3dlioStorage:
        return S3dlioStorage(self.client)


class S3dlioStorage(Storage):
    """Files of checkpoints as objects. A path is a URI (``s3://bucket/run/step_100``) or a local path.

    A checkpoint is renamed by copying its objects inside the service, its metadata last, and deleting the old ones;
    local directories are renamed in one step.

    Args:
        client: whose settings count; None: the default client.
    """

    def __init__(self, client: Session | None = None) -> None:
        self._client = client

    @property
    def _session(self) -> Session:
        return self._client or api.default_client()

    @property
    def mmap_fill_workers(self) -> int | None:
        """One: a read of a large file is concurrent by itself."""
        return 1

    def remap_path(self, path: Path) -> str:
        """The URI of a path."""
        text = os.fspath(path)
        if match := _COLLAPSED.match(text):
            slashes = ":///" if match[1].lower() in ("file", "direct") else "://"
            return match[1].lower() + slashes + text[match.end() :]
        return place_uri(text)

    def stream_read(self, path: Path, read_args: ReadArgs | None = None) -> io.RawIOBase:
        """The file, to be read at any position."""
        return files.open(self._session, self.remap_path(path), "rb", 0)  # type: ignore[return-value]

    def stream_write(self, path: Path) -> io.IOBase:
        """A file to be written. It is there when it is closed; after an exception in its ``with`` it is not."""
        return files.open(self._session, self.remap_path(path), "wb", 0, options=_DURABLE)  # type: ignore[return-value]

    def read(self, path: Path, read_args: ReadArgs | None = None) -> bytes:
        store, key = self._find(path)
        return bytes(store.get(key))

    def write(self, path: Path, data: Any) -> None:
        store, key = self._find(path)
        store.put(key, data, options=_DURABLE)

    def delete(self, path: Path) -> None:
        store, key = self._find(path)
        store.head(key)  # deleting what is not there is no error elsewhere
        store.delete(key)

    def mkdir(self, path: Path, recursive: bool = True) -> None:
        store, key = self._find(path)
        store.mkdir(key)

    def rmdir(self, path: Path) -> None:
        store, key = self._find(path)
        store.rmdir(key, recursive=True)

    def getsize(self, path: Path) -> int:
        store, key = self._find(path)
        return store.head(key).size

    def exists(self, path: Path) -> bool:
        store, key = self._find(path)
        return _is_file(store, key) or _is_directory(store, key)

    def isdir(self, path: Path) -> bool:
        return _is_directory(*self._find(path))

    def ls(self, path: Path) -> list[str]:
        store, key = self._find(path)
        prefix = key.rstrip("/") + "/"
        names = []
        for page in store.list(prefix, recursive=False):
            names += [name.removeprefix(prefix).rstrip("/") for name in (*page.keys, *page.prefixes)]
        return [name for name in names if name]

    def rename(
        self, src_path: Path, dst_path: Path, is_directory: bool = False, background_cleanup: bool = False
    ) -> None:
        """Rename a file or a directory; what stands at the destination is replaced only if both are files.

        Raises:
            AlreadyExistsError: the destination is occupied.
            ObjectNotFoundError: there is nothing to rename.
        """
        source, key = self._find(src_path)
        target, new_key = self._find(dst_path)
        directory = _is_directory(source, key)
        if not directory and not _is_file(source, key):
            raise ObjectNotFoundError("there is nothing to rename", uri=source.uri(key), operation="RENAME")
        if isinstance(source, LocalStore) and isinstance(target, LocalStore):
            _rename_local(source, key, new_key, directory)
            return
        if _is_directory(target, new_key) or (directory and _is_file(target, new_key)):
            raise _occupied(target, new_key)
        self._move(source, key, target, new_key, directory)

    def _move(self, source: ObjectStore, key: str, target: ObjectStore, new_key: str, directory: bool) -> None:
        """Copy inside the service where it can, the metadata of a checkpoint last; then delete what was copied."""
        slash = "/" if directory else ""
        old, new = source.uri(key.rstrip("/") + slash), target.uri(new_key.rstrip("/") + slash)
        if directory:
            how = TransferOptions(recursive=True, exclude=(METADATA_FILE_NAME,))
            metadata = key.rstrip("/") + slash + METADATA_FILE_NAME
            has_metadata = _is_file(source, metadata)
            if not has_metadata or len(self.ls(Path(old))) > 1:
                copy(self._session, old, new, how)
            if has_metadata:
                copy(self._session, old + METADATA_FILE_NAME, new + METADATA_FILE_NAME, TransferOptions())
            source.rmdir(key, recursive=True)
        else:
            copy(self._session, old, new, TransferOptions())
            source.delete(key)

    def _find(self, path: Path) -> tuple[ObjectStore, str]:
        return self._session.store_for(self.remap_path(path))


def _is_file(store: ObjectStore, key: str) -> bool:
    if isinstance(store, LocalStore):
        return os.path.isfile(key)
    try:
        store.head(key)
    except ObjectNotFoundError:
        return False
    return True


def _is_directory(store: ObjectStore, key: str) -> bool:
    """Whether there is a local directory, or an object beneath the key."""
    if isinstance(store, LocalStore):
        return os.path.isdir(key)
    page = next(iter(store.list(key.rstrip("/") + "/", recursive=False)), None)
    return page is not None and bool(page.keys or page.prefixes)


def _rename_local(store: ObjectStore, key: str, new_key: str, directory: bool) -> None:
    try:
        (os.rename if directory else os.replace)(key, new_key)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise _occupied(store, new_key) from error
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise _occupied(store, new_key) from error
        raise from_os_error(error, uri=store.uri(new_key), operation="RENAME") from error


def _occupied(store: ObjectStore, key: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "there is something already, and a rename replaces files only", uri=store.uri(key), operation="RENAME",
        hint="delete it first, if it is to be replaced",
    )  # fmt: skip
