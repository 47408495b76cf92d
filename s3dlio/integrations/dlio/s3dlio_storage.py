"""The storage of DLIO over s3dlio: its root is any URI. It may be copied into DLIO's ``storage`` folder as it is."""

from __future__ import annotations

import os
from posixpath import basename
from typing import Any

from dlio_benchmark.common.enumerations import MetadataType, NamespaceType
from dlio_benchmark.storage.storage_handler import DataStorage, Namespace

import s3dlio

#: DLIO's option -> the variables that say the same, of which the first is set where none is.
_OPTIONS = {
    "endpoint_uris": ("S3_ENDPOINT_URIS",),
    "endpoint_template": ("S3_ENDPOINT_TEMPLATE", "S3_ENDPOINT_URIS"),
    "endpoint_file": ("S3_ENDPOINT_FILE", "S3_ENDPOINT_URIS", "S3_ENDPOINT_TEMPLATE"),
    "load_balance_strategy": ("S3_LOAD_BALANCE_STRATEGY",),
    "endpoint_url": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "S3_ENDPOINT_URIS"),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}


class S3dlioStorage(DataStorage):
    """What DLIO asks of a storage, on ``s3://``, ``az://``, ``gs://``, ``file://`` and ``direct://``.

    ``storage_options`` with ``endpoint_url``, ``access_key_id``, ``secret_access_key`` and ``region`` count where the
    environment says nothing else: DLIO's worker processes have them from there. So do those of several endpoints:
    ``endpoint_uris``, ``endpoint_template`` or ``endpoint_file``, and ``load_balance_strategy``.

    Args:
        namespace: DLIO's ``storage_root``: a URI; a name without a scheme is of ``storage_options.uri_scheme`` (s3).
        framework: as DLIO passes it.
    """

    def __init__(self, namespace: str, framework: Any = None) -> None:
        super().__init__(framework)
        options = getattr(self._args, "storage_options", None) or {}
        for option, variables in _OPTIONS.items():
            if options.get(option) and not any(os.environ.get(variable) for variable in variables):
                value = options[option]
                os.environ[variables[0]] = value if isinstance(value, str) else ",".join(map(str, value))
        self.namespace = Namespace(namespace, NamespaceType.FLAT)
        scheme = options.get("uri_scheme", "s3")
        self.root = (namespace if "://" in namespace else f"{scheme}://{namespace}").rstrip("/")
        self._has_directories = self.root.startswith(("file:", "direct:"))

    def get_uri(self, id: str) -> str:
        """The URI of what DLIO calls ``id``; a URI is one already."""
        return id if "://" in id else f"{self.root}/{id.lstrip('/')}"

    def create_namespace(self, exist_ok: bool = False) -> bool:
        """Make the root's directory. A bucket is not made: it has an owner and a region that DLIO knows nothing of."""
        return self.create_node("", exist_ok)

    def get_namespace(self) -> str:
        """The root's name, as it was given."""
        return str(self.namespace.name)

    def create_node(self, id: str, exist_ok: bool = False) -> bool:
        """Make a directory, where such things exist."""
        if self._has_directories:
            s3dlio.mkdir(self.get_uri(id))
        return True

    def get_node(self, id: str = "") -> Any:
        """What is there: ``MetadataType.FILE``, ``DIRECTORY`` (something is below it), or None."""
        uri = self.get_uri(id).rstrip("/")
        if self._names(f"{uri}/"):
            return MetadataType.DIRECTORY
        return MetadataType.FILE if self.isfile(uri) else None

    def walk_node(self, id: str, use_pattern: bool = False) -> list[str]:
        """The names directly below, sorted; with ``use_pattern`` the URIs of a glob (its suffix in capitals, too)."""
        uri = self.get_uri(id)
        if not use_pattern:
            return [basename(name.rstrip("/")) for name in self._names(f"{uri.rstrip('/')}/")]
        stem, dot, suffix = uri.rpartition(".")
        return sorted({name for form in (suffix.lower(), suffix.upper()) for name in self._names(f"{stem}{dot}{form}")})

    @staticmethod
    def _names(uri: str) -> list[str]:
        try:
            return sorted(s3dlio.list(uri))
        except FileNotFoundError:  # a directory that nobody made, as DLIO's valid/ often is
            return []

    def delete_node(self, id: str) -> bool:
        """Delete an object, or all that is below a directory."""
        uri = self.get_uri(id).rstrip("/")
        if self.get_node(uri) is MetadataType.DIRECTORY:
            s3dlio.delete(f"{uri}/", recursive=True)
        else:
            s3dlio.delete(uri)
        return True

    def put_data(self, id: str, data: Any, offset: int | None = None, length: int | None = None) -> None:
        """Write an object: bytes, a buffer or an ``io.BytesIO``; large ones go in parts.

        Raises:
            ValueError: ``offset`` and ``length`` exceed the data.
        """
        uri = self.get_uri(id)
        view = memoryview(data.getbuffer() if hasattr(data, "getbuffer") else data).cast("B")
        begin = offset or 0
        end = len(view) if length is None else begin + length
        if not 0 <= begin <= end <= len(view):
            raise ValueError(f"{uri}: bytes {begin} to {end} of data that has {len(view)}")
        s3dlio.put_bytes(uri, view[begin:end])

    def get_data(self, id: str, data: Any = None, offset: int | None = None, length: int | None = None) -> Any:
        """Read an object, or ``length`` bytes of it from ``offset`` on: a ``BytesView``. ``data`` is not used."""
        uri = self.get_uri(id)
        if offset is None and length is None:
            return s3dlio.get(uri)
        return s3dlio.get_range(uri, offset or 0, length)

    def isfile(self, id: str) -> bool:
        """Whether an object of this name exists."""
        return s3dlio.exists(self.get_uri(id))

    def get_basename(self, id: str) -> str:
        """The last part of a name."""
        return basename(id)
