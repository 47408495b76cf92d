"""What samples are, by the format of the objects: which stretches hold one each, and what becomes of their bytes.

An object of the formats raw, NPY and NPZ is one sample; the records of a TFRecord file, the samples of a tar archive
and the row groups of a Parquet file are one each, read by a range of their own, at any position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from s3dlio.engine.batch import each
from s3dlio.engine.session import Session
from s3dlio.errors import BatchError, ConfigError, CorruptDataError, S3dlioError
from s3dlio.formats.npz import read_npy_bytes, read_npz_arrays
from s3dlio.formats.parquet_read import (
    FOOTER_CAP,
    Footer,
    column_indices,
    decode_row_group,
    fetch_footer,
    row_group_table,
)
from s3dlio.formats.tar import decode_tar_sample
from s3dlio.formats.tfrecord import record_data
from s3dlio.loader.entries import Entry, StretchEntries, uri_of
from s3dlio.loader.option_fields import FORMATS
from s3dlio.loader.tar_shards import load_indexes
from s3dlio.loader.tfrecord_shards import load_record_indexes
from s3dlio.memory.view import BytesView
from s3dlio.transfer import many
from s3dlio.types import Conditions, ObjectMetadata
from s3dlio.verbs import objects

if TYPE_CHECKING:
    from s3dlio.stores.cloud.store import CloudStore

#: Objects whose indexes are in memory at a time: each takes ten times what is kept of it.
_AT_ONCE = 256
#: What stores tell about objects, by URI.
Abouts = Mapping[str, ObjectMetadata]
#: Any format: the stored bytes of a sample, as they are.
RAW = "raw"


class Format:
    """How objects of one format become samples. It pickles.

    Args:
        decode: one of ``decodes``.
    """

    #: What ``decode`` may be; the first is the default.
    decodes: tuple[str, ...] = (RAW,)

    def __init__(self, decode: str | None = None) -> None:
        if decode is not None and decode not in (*self.decodes, RAW):
            raise ConfigError(
                f"decode={decode!r} is nothing that this format has", hint=f"it has {', '.join((*self.decodes, RAW))}"
            )
        self._decode = decode or self.decodes[0]

    def entries(self, session: Session, uris: Sequence[str]) -> Sequence[Entry]:
        """What is to be read for each sample of these objects, in order: a URI, or (URI, offset, length).

        Raises:
            ObjectNotFoundError, CorruptDataError, ...: an object, or its index, cannot be read; with its URI.
        """
        return uris

    def decode(self, entry: Entry, data: BytesView) -> Any:
        """The sample of an entry whose bytes are there.

        Raises:
            CorruptDataError: they are damaged, or not those of a sample; with the URI.
        """
        try:
            if isinstance(entry, tuple) and len(data) != entry[2]:
                raise CorruptDataError(f"the object ends within a sample, of which {len(data)} bytes are there")
            return data if self._decode == RAW else self._sample(entry, data)
        except S3dlioError as error:
            error.locate(uri_of(entry), "DECODE")
            if isinstance(entry, tuple):
                error.add_note(f"in bytes {entry[1]} to {entry[1] + entry[2]}")
            raise

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        return data


class RawFormat(Format):
    """Each object is a sample: its bytes."""


class NpyFormat(Format):
    """Each object is an array."""

    decodes = ("array",)

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        return read_npy_bytes(data)


class NpzFormat(Format):
    """Each object is a dictionary of arrays: views of its bytes where that can be."""

    decodes = ("arrays",)

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        return read_npz_arrays(data)


class StretchFormat(Format, ABC):
    """A sample is a stretch of an object."""

    def entries(self, session: Session, uris: Sequence[str]) -> Sequence[Entry]:
        wanted = self.samples_of(uris)
        entries = StretchEntries()
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            abouts = _versions(session, some)  # first, so that what is replaced meanwhile is another version later
            found = self._stretches(session, abouts)
            for uri in some:
                stretches = found.pop(uri)
                if isinstance(stretches, BaseException):
                    raise stretches
                entries.add(uri, stretches, _pin_of(session, uri, abouts[uri]))
        return entries

    def samples_of(self, uris: Sequence[str]) -> list[str]:
        """The objects that have samples: not the indexes that lie beside them."""
        return list(uris)

    @abstractmethod
    def _stretches(self, session: Session, abouts: Abouts) -> dict[str, Iterable[tuple[int, int]] | BaseException]:
        """(offset, length) of each sample of each object, or the error in their place."""


def _versions(session: Session, uris: Sequence[str]) -> Abouts:
    """What the stores tell about objects.

    Raises:
        ObjectNotFoundError, ...: one is not there.
    """
    try:
        return dict(zip(uris, many.stat_many(session, uris, 64), strict=True))
    except BatchError as error:
        raise error.failures[0].error from error


def _pin_of(session: Session, uri: str, about: ObjectMetadata) -> Conditions | None:
    """What holds a read to this version of an object; None where its store has nothing."""
    store, _ = session.store_for(uri)
    if store.is_cloud:
        return cast("CloudStore", store).service.pin_of(about)
    return None if about.etag is None else Conditions(if_match=about.etag)


class TFRecordFormat(StretchFormat):
    """A sample is a record, whose checksums are looked at (``unverified``: are not)."""

    decodes = ("record", "unverified")

    def samples_of(self, uris: Sequence[str]) -> list[str]:
        known = set(uris)
        return [uri for uri in uris if not (uri.endswith(".idx") and uri.removesuffix(".idx") in known)]

    def _stretches(self, session: Session, abouts: Abouts) -> dict[str, Iterable[tuple[int, int]] | BaseException]:
        return {**load_record_indexes(session, {uri: about.size for uri, about in abouts.items()})}

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        return BytesView(record_data(data, verify=self._decode != "unverified"))


class TarFormat(StretchFormat):
    """A sample is the files that follow each other in an archive and have their name up to the first dot in common:
    a dictionary of their bytes by extension, with ``__key__`` and ``__url__``, as WebDataset has it."""

    decodes = ("files",)

    def samples_of(self, uris: Sequence[str]) -> list[str]:
        known = set(uris)
        return [uri for uri in uris if not (uri.endswith(".idx") and f"{uri.removesuffix('.idx')}.tar" in known)]

    def _stretches(self, session: Session, abouts: Abouts) -> dict[str, Iterable[tuple[int, int]] | BaseException]:
        return {
            uri: known if isinstance(known, BaseException)
            else ((sample.start, sample.end - sample.start) for sample in known.members.samples())
            for uri, known in load_indexes(session, list(abouts)).items()
        }  # fmt: skip

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        return {"__url__": entry[0], **decode_tar_sample(data)}


class ParquetFormat(StretchFormat):
    """A sample is a row group: its columns as an Arrow IPC stream, or as a ``pyarrow.Table``.

    Args:
        decode: ``arrow``, ``table`` or ``raw``.
        columns: indices of leaves of the schema, or names of columns; None: all.
        footer_cap: bytes from the end of a file that are read for its footer.
    """

    decodes = ("arrow", "table")

    def __init__(
        self, decode: str | None = None, columns: Sequence[int | str] | None = None, footer_cap: int = FOOTER_CAP
    ) -> None:
        super().__init__(decode)
        self._columns = columns
        self._footer_cap = footer_cap
        self._files: dict[str, tuple[Footer, dict[int, int]]] = {}

    def samples_of(self, uris: Sequence[str]) -> list[str]:
        """All but those whose names begin with ``_`` or ``.``: notes of the programs that write data sets."""
        return [uri for uri in uris if uri.rpartition("/")[2][:1] not in ("_", ".")]

    def _stretches(self, session: Session, abouts: Abouts) -> dict[str, Iterable[tuple[int, int]] | BaseException]:
        return {**each(session.executor, partial(self._row_groups, _Reader(session, abouts)), abouts, 16)}

    def _row_groups(self, reader: _Reader, uri: str) -> list[tuple[int, int]]:
        footer = fetch_footer(reader, uri, self._footer_cap)
        wanted = column_indices(footer, uri, self._columns)
        groups = range(len(footer.row_offsets) - 1)
        ranges = [footer.row_group_range(uri, group, wanted) for group in groups]
        self._files[uri] = footer, {offset: group for group, (offset, _) in zip(groups, ranges, strict=True)}
        return ranges

    def row_group(self, entry: Entry) -> int:
        """Which row group of its file an entry is."""
        uri, offset, _ = entry
        return self._files[uri][1][offset]

    def rows(self, entry: Entry) -> int:
        """How many rows the row group of an entry has."""
        group = self.row_group(entry)
        offsets = self._files[entry[0]][0].row_offsets
        return offsets[group + 1] - offsets[group]

    def _sample(self, entry: Entry, data: BytesView) -> Any:
        uri, offset, _ = entry
        footer = self._files[uri][0]
        wanted = column_indices(footer, uri, self._columns)
        make = row_group_table if self._decode == "table" else decode_row_group
        return make(footer, uri, self.row_group(entry), wanted, offset, data.memoryview())


class _Reader:
    """Reads stored objects for footers (``formats.RangeReader``)."""

    def __init__(self, session: Session, abouts: Abouts) -> None:
        self._session = session
        self._abouts = abouts

    def size(self, uri: str) -> int:
        return self._abouts[uri].size

    def read(self, uri: str, offset: int, length: int) -> BytesView:
        return objects.get_range(self._session, uri, offset, length)


_FORMATS: dict[str, type[Format]] = {
    "raw": RawFormat, "bytes": RawFormat, "npy": NpyFormat, "npz": NpzFormat, "tfrecord": TFRecordFormat,
    "tar": TarFormat, "webdataset": TarFormat,
}  # fmt: skip


def format_of(
    name: str | None, *, columns: Sequence[int | str] | None = None, footer_cap: int = FOOTER_CAP,
    decode: str | None = None,
) -> Format:  # fmt: skip
    """The format of a name.

    Args:
        name: one of ``FORMATS``; None: raw.
        columns, footer_cap: of Parquet.
        decode: what becomes of a sample's bytes; None: what the format has for it; ``raw``: nothing.

    Raises:
        ConfigError: there is no such format, or it has no such ``decode``.
    """
    if name == "parquet":
        return ParquetFormat(decode, columns, footer_cap)
    if columns is not None:
        raise ConfigError("columns are of format 'parquet'", hint=f"format is {name!r}")
    kind = _FORMATS.get(name or RAW)
    if kind is None:
        raise ConfigError(f"there is no format {name!r}", hint=f"there are {', '.join(sorted(FORMATS))}")
    return kind(decode)
