"""What every file system of fsspec here is: a client, and paths that stand for URIs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.fsspec.listing import Place
from s3dlio.fsspec.options import check_found_here, client_arguments, client_for, without_secrets
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, parse_container


class BaseFileSystem(AbstractFileSystem):
    """A client, and the paths of a scheme, or of all; the parameters are those of ``S3dlioFileSystem``."""

    protocol: ClassVar[str | tuple[str, ...]] = ("s3dlio",)
    #: Of all paths; empty: each path names its own.
    scheme: ClassVar[str] = ""
    root_marker = ""

    def __init__(
        self,
        *,
        use_listings_cache: bool = False,
        listings_expiry_time: float | None = None,
        max_paths: int | None = None,
        default_block_size: int | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        **options: Any,
    ) -> None:
        if self._cached:
            return
        super().__init__(
            use_listings_cache=use_listings_cache, listings_expiry_time=listings_expiry_time, max_paths=max_paths
        )
        if asynchronous or loop is not None:
            raise ConfigError(
                "this file system has no coroutines", hint="fsspec's AsyncFileSystemWrapper(fs) awaits it on threads"
            )
        self.block_size = default_block_size
        self._given: Client | None = None
        made = client_for(options, self.scheme or "s3")
        #: Without options it is whatever the default client is by then.
        self._made = made if client_arguments(options, self.scheme or "s3") else None

    @classmethod
    def of(cls, client: Client, **options: Any) -> Self:
        """The file system of a client of your own; ``options`` are those that say nothing of the client."""
        fs: Self = cls(skip_instance_cache=True, **options)
        fs._given = client
        fs._fs_token_ = f"{id(client):032x}"
        return fs

    @property
    def client(self) -> Client:
        """What runs the operations."""
        return self._given or self._made or client_for({}, "s3")

    def __reduce__(self) -> tuple[Any, ...]:
        options, left_out = without_secrets(self.storage_options, self.scheme or "s3")
        return _unpickled, (type(self), options, left_out, self._given)

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """As of fsspec; without ``include_password`` there is no secret in it."""
        made: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            options, _ = without_secrets(self.storage_options, self.scheme or "s3")
            for name in self.storage_options:
                made.pop(name, None)
            made |= options
        return made

    # -- paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path within the file system of a URI, or of several."""
        if isinstance(path, (list, tuple, set)):
            return [cls._strip_protocol(each) for each in path]
        text = stringify_path(path)
        for protocol in cls.protocol:
            text = text.removeprefix(f"{protocol}://").removeprefix(f"{protocol}::")
        return cls._inner(text)

    @classmethod
    def _inner(cls, text: str) -> str:
        head, separator, rest = text.partition("://")
        if separator and (scheme := SCHEMES.get(head.lower())):
            text = f"{scheme}/{rest.lstrip('/') if scheme in LOCAL_SCHEMES else rest}"
        return text.strip("/")

    def uri(self, path: Any) -> str:
        """The URI that s3dlio has for a path."""
        path = self._strip_protocol(path)
        scheme, rest = (self.scheme, path) if self.scheme else path.partition("/")[::2]
        if scheme in LOCAL_SCHEMES:
            rest = "/" + rest.lstrip("/")
        return f"{scheme}://{rest}"

    def _place(self, path: str) -> Place | None:
        """What a path stands for; None for a service, or what is above it, which has no keys."""
        uri = self.uri(path)
        scheme, _, rest = uri.partition("://")
        if "/" not in rest and (
            not rest or not parse_container(uri, azure_account=self.client.settings.azure.account).container
        ):
            return None
        store, key = self.client.store_for(uri)
        root = path[: len(path) - len(key)] if path.endswith(key) else path
        return Place(store, key, root if not root or root.endswith("/") or scheme in LOCAL_SCHEMES else root + "/")


def _unpickled(
    kind: type[BaseFileSystem], options: dict[str, Any], left_out: Sequence[Any], client: Client | None
) -> BaseFileSystem:
    check_found_here(list(left_out))
    return kind(**options) if client is None else kind.of(client, **options)
