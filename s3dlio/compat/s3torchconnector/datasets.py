"""What both kinds of data sets have."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Self

from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.ahead import Habit
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.results import S3BucketKeyData
from s3dlio.compat.s3torchconnector.s3reader.constructor import S3ReaderConstructor
from s3dlio.compat.s3torchconnector.s3reader.protocol import S3ReaderConstructorProtocol
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader
from s3dlio.compat.s3torchconnector.source import ObjectSource
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri, uri_of
from s3dlio.compat.s3torchconnector.user_agent import UserAgent
from s3dlio.loader.items import name_sample
from s3dlio.signatures import also_named
from s3dlio.uri import has_scheme

#: Options of loaders, which data sets of this name in the Rust package take and do nothing with.
_OF_LOADERS = frozenset({"batch_size", "drop_last", "num_workers", "prefetch", "seed", "shuffle"})

GetObjects = Callable[[S3Client], Iterable[S3BucketKeyData]]


def identity(obj: S3Reader) -> S3Reader:
    """The transform of data sets that have none."""
    return obj


def get_objects_from_uris(object_uris: str | Iterable[str], client: S3Client) -> Iterable[S3BucketKeyData]:
    """The objects that URIs name. All are checked before the first is returned."""
    uris = [object_uris] if isinstance(object_uris, str) else object_uris
    return iter([S3BucketKeyData(*parse_s3_uri(uri)) for uri in uris])


def get_objects_from_prefix(s3_uri: str, client: S3Client) -> Iterable[S3BucketKeyData]:
    """The objects whose URI begins with this one, while they are listed."""
    bucket, prefix = parse_s3_uri(s3_uri)
    return _listed(client, bucket, prefix)


def _listed(client: S3Client, bucket: str, prefix: str) -> Iterator[S3BucketKeyData]:
    for page in client.list_objects(bucket, prefix):
        for info in page.object_info:
            yield S3BucketKeyData(bucket, info.key, info)


def _not_of_loaders(given: dict[str, Any], stacklevel: int) -> dict[str, Any]:
    if of_loaders := sorted(_OF_LOADERS & given.keys()):
        what = f"{', '.join(of_loaders)}: without effect, as they are options of a DataLoader"
        warnings.warn(what, DeprecationWarning, stacklevel=stacklevel)
    return {name: value for name, value in given.items() if name not in _OF_LOADERS}


def also_by_prefix(init: Callable[..., None]) -> Callable[..., None]:
    """Have a data set be made as in the Rust package, too: ``S3MapDataset("s3://bucket/prefix/", region=None)``."""

    @functools.wraps(init)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        uri = args[0] if args and isinstance(args[0], str) and has_scheme(args[0]) else kwargs.pop("uri", None)
        if uri is None:
            return init(self, *args, **kwargs)
        region = kwargs.pop("region", None) if len(args) < 2 else args[1]
        return init(self, region, partial(get_objects_from_prefix, uri), **_not_of_loaders(kwargs, 3))

    return made


class S3DatasetBase:
    """Objects of a data set, and how they are read. It pickles, for workers of a DataLoader.

    Args:
        region: of ``s3://``; None: as the settings say.
        get_dataset_objects: tells which objects.
        endpoint: of ``s3://``; None: as the settings say.
        transform: makes a sample of a reader.
        s3client_config: how the service is talked to.
        reader_constructor: how objects are read; see :class:`S3ReaderConstructor`.
    """

    _kind: str

    @also_by_prefix
    def __init__(
        self,
        region: str | None,
        get_dataset_objects: GetObjects,
        endpoint: str | None = None,
        transform: Callable[[S3Reader], Any] = identity,
        s3client_config: S3ClientConfig | None = None,
        reader_constructor: S3ReaderConstructorProtocol | None = None,
    ) -> None:
        self._region = region
        self._get_dataset_objects = get_dataset_objects
        self._endpoint = endpoint
        self._transform = transform
        self._s3client_config = s3client_config
        self._client: S3Client | None = None
        self._reader_constructor = reader_constructor or S3ReaderConstructor.default()
        self._habit = Habit()

    @property
    def region(self) -> str | None:
        return self._region

    @property
    def endpoint(self) -> str | None:
        return self._endpoint

    @classmethod
    def from_objects(
        cls, object_uris: str | Iterable[str], region: str | None = None, *, endpoint: str | None = None, **also: Any
    ) -> Self:
        """The data set of these objects.

        Args:
            object_uris: one URI or many, of any scheme.
            region, endpoint, also: as of the constructor.

        Raises:
            InvalidURIError: (when the objects are first needed) one is no URI.
        """
        if not isinstance(object_uris, str):
            object_uris = list(object_uris)  # a generator would serve one epoch, and does not pickle
        return cls(region, partial(get_objects_from_uris, object_uris), endpoint, **also)

    @classmethod
    @also_named(prefix="s3_uri")
    def from_prefix(cls, s3_uri: str, region: str | None = None, *, endpoint: str | None = None, **also: Any) -> Self:
        """The data set of all objects whose URI begins with this one.

        Args:
            s3_uri: of any scheme. ``s3://bucket/train/img_`` selects ``train/img_1`` too.
            region, endpoint, also: as of the constructor.
        """
        return cls(region, partial(get_objects_from_prefix, s3_uri), endpoint, **_not_of_loaders(also, 4))

    def _get_client(self) -> S3Client:
        if self._client is None:
            reads = S3ReaderConstructor.get_reader_type_string(self._reader_constructor)
            agent = UserAgent([f"md/dataset#{self._kind} md/reader_type#{reads}"])
            self._client = S3Client(self._region, self._endpoint, self._s3client_config, user_agent=agent)
        return self._client

    def _objects(self) -> Iterable[S3BucketKeyData]:
        return self._get_dataset_objects(self._get_client())

    @property
    def _reads_ahead(self) -> bool:
        """Whether readers take whole objects that were read before their turn."""
        return S3ReaderConstructor.get_reader_type_string(self._reader_constructor) == "sequential"

    def _source(self, entry: S3BucketKeyData, on_whole: Callable[[int], None]) -> ObjectSource:
        return self._get_client().source(entry.bucket, entry.key, on_whole=on_whole)

    def _sample(self, entry: S3BucketKeyData, source: ObjectSource) -> Any:
        """What the transform makes of an object."""
        bucket, key, info = entry
        reader = self._get_client().reader_of(source, bucket, key, info, self._reader_constructor)
        try:
            return self._transform(reader)
        except Exception as error:
            name_sample(error, uri_of(bucket, key))
            raise
