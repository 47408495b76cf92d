"""Data sets: objects that are samples, each known by its index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from operator import index as index_of
from typing import TYPE_CHECKING, Any, Self, overload

from s3dlio import api
from s3dlio.client import Client
from s3dlio.errors import ConfigError, ObjectNotFoundError, OutOfRangeError
from s3dlio.loader.entries import Entry, StretchEntries, check_size, uri_of
from s3dlio.loader.fetching import fetch
from s3dlio.loader.key_listing import keys_below
from s3dlio.loader.key_manifest import open_manifest
from s3dlio.loader.keys import BlockedKeys, ahead
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.stretches import NO_PINS, Pins
from s3dlio.memory.view import BytesView
from s3dlio.signatures import also_named
from s3dlio.types import NO_CONDITIONS
from s3dlio.uri import URI, as_uri

if TYPE_CHECKING:
    from s3dlio.loader.decoders import Format

#: Options, in whatever form they are given.
Options = LoaderOptions | LoaderValues | Mapping[str, Any] | None


class Dataset(Sequence[Any]):
    """The objects below a URI, sorted by their keys; ``dataset[i]`` reads one, and gives its bytes (``BytesView``).

    With a ``format`` the samples are what that has: arrays, the records of TFRecord files, the samples of tar archives,
    the row groups of Parquet files; see docs/batches.md. It pickles, so that worker processes have it, and lists
    nothing again there.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob: as of ``list``, with all that is below.
        opts: options, see docs/loaders.md; they are those of a loader that is given none.
        client: whose settings and connections are used; default: those of the package.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant.
    """

    def __init__(self, uri: URI, opts: Options = None, *, client: Client | None = None) -> None:
        self.options = LoaderOptions.from_any(opts)
        self._client = client
        self._bound: Client | None = None
        self._root = as_uri(uri)
        self._base, uris, sizes = keys_below(self.session, self._root, self.options.values)
        if not isinstance(self.options.values.list_once, bool):  # it is for this process alone
            self.options = self.options.replace(list_once=True)
        self._look_into(uris, sizes)

    @classmethod
    def from_manifest(cls, manifest: URI, opts: Options = None, *, client: Client | None = None) -> Self:
        """The objects that a manifest names, which ``create_key_manifest`` made; nothing is listed.

        Raises:
            ObjectNotFoundError: there is no manifest.
            IntegrityError: it is damaged.
        """
        self = cls._new(opts, client)
        keys, of = open_manifest(manifest, self.session)
        self._root, self._base = of.uri, of.named
        self._look_into(keys)
        return self

    @classmethod
    def from_uris(cls, uris: Iterable[URI], opts: Options = None, *, client: Client | None = None) -> Self:
        """The objects of these URIs, of any schemes, in this order.

        Raises:
            ConfigError: there are none.
            TypeError: a single URI, or one that is none.
        """
        if isinstance(uris, str | os.PathLike):
            raise TypeError("from_uris takes several URIs (a list), not a single one")
        names = [uri if type(uri) is str else as_uri(uri) for uri in uris]
        if not names:
            raise ConfigError("uris list must be non-empty")
        self = cls._new(opts, client)
        self._root, self._base = "", 0
        self._look_into(names)
        return self

    @classmethod
    def _new(cls, opts: Options, client: Client | None) -> Self:
        self = cls.__new__(cls)
        self.options = LoaderOptions.from_any(opts)
        self._client = client
        self._bound = None
        return self

    def with_options(self, opts: Options) -> Self:
        """The same objects with other options: another ``format`` has their samples looked for anew."""
        other = copy(self)
        other.options, other._bound = LoaderOptions.from_any(opts), None
        if _samples_of(other.options.values) != _samples_of(self.options.values):
            other._look_into(self._objects, self._sizes)
        return other

    @property
    def decodes(self) -> bool:
        """Whether samples are something else than the bytes of objects."""
        return self._format is not None

    @property
    def has_stretches(self) -> bool:
        """Whether samples are parts of objects."""
        return isinstance(self._entries, StretchEntries)

    def _look_into(self, uris: Sequence[str], sizes: Sequence[int] | None = None) -> None:
        """Find the samples of these objects, whose sizes are known or not."""
        values = self.options.values
        self._objects, self._sizes = uris, sizes
        self._format: Format | None = None
        self._entries: Sequence[Entry] = uris
        if values.format or values.columns or values.decode:
            from s3dlio.loader.decoders import format_of

            self._format = format_of(
                values.format, columns=values.columns, footer_cap=values.footer_cap, decode=values.decode
            )
            self._entries = self._format.entries(self.session, uris)
        if not self._entries:
            raise ObjectNotFoundError(
                f"there is no sample of format {values.format!r} in {len(uris)} objects", uri=uris[0], operation="INDEX"
            )

    @property
    def session(self) -> Client:
        """What reads the objects."""
        if self._bound is None:
            self._bound = _bound(self._client or api.default_client(), self.options.values)
        return self._bound

    def session_with(self, values: LoaderValues) -> Client:
        """What reads the objects for a loader of these options.

        Raises:
            ConfigError: the data set's own options say which objects it has.
        """
        pattern = self.options.values.pattern
        if values.pattern not in (None, pattern):
            raise ConfigError(
                f"pattern is an option of the data set, and this one has {pattern!r}",
                hint=f"make it by create_dataset(uri, {{'pattern': {values.pattern!r}}})",
            )
        if values.reader_mode == "sequential" and values.page_cache_mode == "auto":
            return self.session
        return _bound(self._client or api.default_client(), values)

    @property
    def format(self) -> Format | None:
        """What samples are; None: objects, as they are."""
        return self._format

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> Entry:
        """What is read for the sample at an index: a URI, or (URI, offset, length).

        Raises:
            OutOfRangeError: there is no such sample; an IndexError, too.
        """
        try:
            return self._entries[index_of(index)]
        except IndexError:
            raise OutOfRangeError(f"Index {index} out of range for a data set of {len(self)} samples") from None

    def entries_at(self, indices: Iterable[int]) -> Iterator[Entry]:
        """What is read for the samples at these indices, one after the other.

        Raises:
            OutOfRangeError: there is no such sample; an IndexError, too.
        """
        return map(self.entry, ahead(indices, self._entries))

    @property
    def identity(self) -> str:
        """What tells these samples from others, as far as it is known: that of their manifest."""
        return self._entries.identity if isinstance(self._entries, BlockedKeys) else ""

    @property
    def pins(self) -> Pins:
        """The versions of objects that stretches are meant of, by URI."""
        return self._entries.pins if isinstance(self._entries, StretchEntries) else NO_PINS

    @property
    def sizes(self) -> Sequence[int] | None:
        """Bytes of each sample, as its object was listed, where that is known."""
        return None if self.has_stretches or not self.options.values.check_sizes else self._sizes

    def sample(self, index: int, entry: Entry, data: BytesView) -> Any:
        """The sample at an index, whose bytes have been read.

        Raises:
            ObjectChangedError: the object has another size than when it was listed.
            CorruptDataError: the bytes are damaged.
        """
        sizes = self.sizes
        if sizes is not None:
            check_size(entry, sizes[index], len(data))
        return self.decoded(entry, data)

    def decoded(self, entry: Entry, data: BytesView) -> Any:
        """What the bytes of an entry are, as :meth:`sample` has it, without a look at their number.

        Raises:
            CorruptDataError: they are damaged.
        """
        return data if self._format is None else self._format.decode(entry, data)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Read the sample at an index, or those of a slice, all at a time.

        Raises:
            OutOfRangeError: there is no such sample; an IndexError, too.
            S3dlioError: it could not be read.
        """
        if isinstance(index, slice):
            return self._read(range(len(self))[index])
        return self._read([index])[0]

    def _read(self, indices: Sequence[int]) -> list[Any]:
        """Samples, all at a time."""
        return [self.sample(index, entry, data) for index, entry, data in self.read(indices)]

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, Entry, BytesView]]:
        """Each of these indices, its entry and its bytes, which are read at the same time. They are no samples yet.

        Raises:
            OutOfRangeError: there is no such sample; an IndexError, too; nothing was read.
            S3dlioError: one could not be read.
        """
        entries = list(self.entries_at(indices)) if len(indices) != 1 else [self.entry(indices[0])]
        if len(entries) == 1 and isinstance(entries[0], str):
            yield indices[0], entries[0], self.session.get(entries[0])
            return
        from s3dlio.loader.batch import read_batch

        for index, (entry, data) in zip(indices, read_batch(self.session, entries, pins=self.pins), strict=True):
            if isinstance(data, BaseException):
                raise data
            yield index, entry, data

    def __iter__(self) -> Iterator[Any]:
        """All samples in order, the next ones while the program works on those before."""
        return self._all(range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return self._all(range(len(self))[::-1])

    def _all(self, indices: Sequence[int]) -> Iterator[Any]:
        with fetch(self.session, self.entries_at(indices), near=self.has_stretches, pins=self.pins) as fetched:
            while True:
                try:
                    position, (entry, data) = fetched.take()
                except StopIteration:
                    return
                if isinstance(data, BaseException):
                    raise data
                yield self.sample(indices[position], entry, data)

    def __contains__(self, value: object) -> bool:
        """Whether an object of this URI is in it, or a stretch of one."""
        return value in self._entries

    def uri(self, index: int) -> str:
        """The URI of the object that has the sample at an index.

        Raises:
            OutOfRangeError: there is no such sample; an IndexError, too.
        """
        return uri_of(self.entry(index))

    def uris(self) -> list[str]:
        """The URIs of the objects of all samples."""
        return [uri_of(entry) for entry in self._entries]

    def keys(self) -> list[str]:
        """The names of the objects of all samples: in a bucket, their keys; of files, their paths below the directory;
        of a data set of URIs, these."""
        return [uri_of(entry)[self._base :] for entry in self._entries]

    async def get_item(self, index: int) -> Any:
        """Read the sample at an index.

        Raises:
            IndexError, S3dlioError: as of ``dataset[index]``.
        """
        from s3dlio.verbs import awaited  # imports asyncio

        entry = self.entry(index)
        uri, offset, length = entry if isinstance(entry, tuple) else (entry, 0, None)
        if length is None:
            data = await awaited.get(self.session, uri, NO_CONDITIONS)
        else:
            data = await awaited.get_range(self.session, uri, offset, length, self.pins.get(uri, NO_CONDITIONS))
        return self.sample(index, entry, data)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples at these indices, all at a time: what a ``torch`` loader asks a worker for."""
        return self._read(indices)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_bound": None}

    def __repr__(self) -> str:
        where = self._root or f"{self.uri(0)}, ..."
        return f"{type(self).__name__}({where!r}, {len(self)} samples)"


PyDataset = Dataset


def create_dataset(uri: URI, opts: Options = None) -> Dataset:
    """The objects below a URI; see :class:`Dataset`."""
    return Dataset(uri, opts)


class VecDataset(Sequence[Any]):
    """A list of values as a data set.

    Args:
        values: any values.

    Raises:
        TypeError: this is no sequence.
    """

    @also_named(obj="values")
    def __init__(self, values: Iterable[Any]) -> None:
        if isinstance(values, str | bytes):
            raise TypeError(f"a data set of values is a list, not {type(values).__name__}")
        self._values = list(values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._values[index]
        try:
            return self._values[index]
        except IndexError:
            raise OutOfRangeError(f"Index {index} out of range for a data set of {len(self)} values") from None

    def __repr__(self) -> str:
        return f"VecDataset({len(self)} values)"


PyVecDataset = VecDataset


def _samples_of(values: LoaderValues) -> tuple[Any, ...]:
    """The options that say what a sample is."""
    return values.format, values.columns, values.decode, values.footer_cap


def _bound(client: Client, values: LoaderValues) -> Client:
    """The client, with what options say about how objects are read."""
    changed: dict[str, dict[str, Any]] = {}
    if values.reader_mode == "range":
        changed["range"] = {
            "enabled": True, "threshold": values.part_size, "chunk": values.part_size,
            "concurrency": values.max_inflight_parts,
        }  # fmt: skip
    if values.page_cache_mode != "auto":
        changed["file"] = {"page_cache": values.page_cache_mode}
    return Client(client.settings.replace(**changed)) if changed else client
