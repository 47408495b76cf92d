"""Consolidation: the parts of tensors that ranks have written become a model of whole tensors, by all ranks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from s3dlio import api
from s3dlio.checkpoint.ranks import Ranks, torch_ranks
from s3dlio.checkpoint.regions import as_bytes, shape_of, whole
from s3dlio.checkpoint.safetensors_writer import MAX_SHARD, shard_names, split, write_index
from s3dlio.checkpoint.sharded_tensors import (
    INDEX_SUFFIX,
    SHARDING,
    SHARDING_OF_RANKS,
    SUFFIX,
    Part,
    StoredTensor,
    open_directory,
    tensors_of,
)
from s3dlio.config.sizes import parse_size
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, ConfigError
from s3dlio.formats.safetensors import build_header
from s3dlio.memory.pool import default_pool
from s3dlio.records import replace
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.transfer.range_reads import RangeRead, read_ranges
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import URI

#: Bytes of a tensor that are in memory at a time; the writer holds those that are on their way.
_AT_ONCE = 64 << 20


def consolidate_safetensors(
    source: URI,
    target: URI,
    *,
    file_of: Mapping[str, int] | None = None,
    max_shard_size: int | str = MAX_SHARD,
    ranks: Ranks | None = None,
    max_in_flight: int = 64,
    options: PutOptions = NO_OPTIONS,
    client: Session | None = None,
) -> list[str]:
    """Make a directory of parts of tensors (or any other) one of whole tensors, as Hugging Face's packages load it.

    With several ranks all of them call it: each writes its share of the files, and when all are there, rank 0 writes
    the index. Bytes go from ranges of the parts through memory, 64 MiB (or a row) at a time, through no local file.

    Args:
        source: the directory of the parts: of ``save_sharded_safetensors``, or of ``torch.distributed.checkpoint``.
        target: the directory of the model, which has none yet.
        file_of: name of a tensor -> number of its file, from 1; None: files are filled in order.
        max_shard_size: bytes of the tensors of one file, without ``file_of``.
        ranks: who takes part; None: all of ``torch.distributed``, or this process alone.
        max_in_flight: how many requests at a time.
        options: content type, storage class and the like, for every file. Local files are fsynced.
        client: whose settings count; None: the default client.

    Returns:
        The URIs of all files, the index last where there are several.

    Raises:
        CorruptDataError: parts of a tensor are missing, or there twice.
        AlreadyExistsError: there is a model in ``target``.
        ConfigError: ``file_of`` does not name each tensor.
        S3dlioError: another rank failed; there is no index then.
    """
    ranks = ranks or torch_ranks()
    limit = parse_size(max_shard_size, name="max_shard_size", minimum=1)
    session = client or api.default_client()
    job = _Job(session, place_uri(source), destination_uri(target), replace(options, durable=True), max_in_flight)
    ranks.all_do(lambda: job.plan(file_of, limit))  # nobody writes before all have looked
    ranks.all_do(lambda: job.write(ranks.rank, ranks.world_size))
    index = ranks.all_do(lambda: job.write_index() if ranks.rank == 0 else [])[0]
    return [job.store.uri(job.prefix + name) for name in (*job.names, *index)]


class _Job:
    """One consolidation, as each rank knows it."""

    def __init__(self, session: Session, source: str, target: str, options: PutOptions, width: int) -> None:
        self._session = session
        self._source = source
        self._target = target
        self._options = options
        self._width = width
        self.store, self.prefix = session.store_for(target.rstrip("/") + "/")
        self._tensors: dict[str, StoredTensor] = {}
        self._metadata: dict[str, str] = {}
        self._shards: list[list[str]] = []
        self.names: list[str] = []

    def plan(self, file_of: Mapping[str, int] | None, limit: int) -> None:
        """What there is, and which file gets what: the same on every rank. Nothing is written."""
        found = [key for page in self.store.list(self.prefix, recursive=False) for key in page.keys]
        if any(key.endswith((SUFFIX, INDEX_SUFFIX)) for key in found):
            raise AlreadyExistsError(
                "there is a model already", uri=self._target, operation="PUT", hint="write elsewhere"
            )
        files = open_directory(self._session, self._source, self._width)
        self._tensors = tensors_of(files, self._source)
        self._metadata = _metadata_of(files[0].header.metadata)
        self._shards = _shards(self._tensors, file_of, limit)
        self.names = shard_names(len(self._shards))

    def write(self, rank: int, world_size: int) -> None:
        """Write this rank's share of the files."""
        for number in range(rank, len(self._shards), world_size):
            self._write(self.names[number], {name: self._tensors[name] for name in self._shards[number]})

    def write_index(self) -> list[str]:
        """All files are there: say so."""
        if len(self._shards) < 2:
            return []
        described = {name: (stored.dtype, stored.shape) for name, stored in self._tensors.items()}
        shards = zip(self.names, self._shards, strict=True)
        return write_index(self.store, self.prefix, shards, described, self._options)

    def _write(self, name: str, tensors: Mapping[str, StoredTensor]) -> None:
        """Write one file of whole tensors, whole or not at all."""
        described = {each: (stored.dtype, stored.shape) for each, stored in tensors.items()}
        head, header = build_header(described, self._metadata)
        key = self.prefix + name
        with self.store.writer(key, options=self._options, expected_size=header.size) as writer:
            writer.write(head)
            for each in header.tensors:
                for size, reads in _pieces(tensors[each]):
                    memory = default_pool().lease(size)
                    read_ranges(self._session, list(reads(memory)), self._width)
                    writer.write_owned(memory)


def _metadata_of(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in (SHARDING, SHARDING_OF_RANKS, "DCP_VERSION")}


def _shards(tensors: Mapping[str, StoredTensor], file_of: Mapping[str, int] | None, limit: int) -> list[list[str]]:
    """Which tensors go to which file: the same on every rank."""
    if file_of is None:
        return split({name: tensors[name].nbytes for name in sorted(tensors)}, limit)
    if file_of.keys() != tensors.keys():
        differ = sorted(file_of.keys() ^ tensors.keys())
        raise ConfigError(f"file_of does not name the tensors that there are: {', '.join(differ[:5])}")
    numbers = sorted(set(file_of.values()))
    if numbers != list(range(1, len(numbers) + 1)):
        raise ConfigError(f"files are numbered from 1, each with a tensor at least, not {numbers[:20]}")
    return [sorted(name for name in file_of if file_of[name] == number) for number in numbers]


def _pieces(stored: StoredTensor) -> Iterator[tuple[int, Callable[[memoryview], Iterator[RangeRead]]]]:
    """A tensor in pieces of its bytes: the size of each, and what has to be read into memory of that size.

    Pieces of a tensor of several parts are whole rows of it.
    """
    if len(stored.parts) == 1:
        for begin in range(0, stored.nbytes, _AT_ONCE):
            size = min(_AT_ONCE, stored.nbytes - begin)
            yield size, partial(_flat, stored.parts[0], begin)
    elif stored.nbytes:
        rows, row = stored.shape[0], stored.nbytes // stored.shape[0]
        step = max(1, _AT_ONCE // row)
        for begin in range(0, rows, step):
            end = min(rows, begin + step)
            yield (end - begin) * row, partial(_rows, stored, begin, end)


def _flat(part: Part, begin: int, memory: memoryview) -> Iterator[RangeRead]:
    file, info, _ = part
    yield RangeRead(
        file.store, file.key, info.start + begin, len(memory), place=memory, conditions=file.version
    )


def _rows(stored: StoredTensor, begin: int, end: int, memory: memoryview) -> Iterator[RangeRead]:
    region = [(begin, end), *whole(stored.shape[1:])]
    return stored.reads(region, as_bytes(memory, shape_of(region)))
