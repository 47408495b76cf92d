"""The manifest of a checkpoint: what it is made of, as JSON, byte for byte as the Rust package writes it.

A manifest of ours vouches for itself. The fraction of its ``wall_time`` has nine digits for the nanoseconds, as always,
and ten more: the CRC32C of the whole manifest with these ten as zeros. Whoever reads times reads the first digits; we
find every flipped bit. A foreign manifest has at most nine digits, and is compared with what it names.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn

from s3dlio.checkpoint.layout import SHARDS, Name, check_inside, named_by
from s3dlio.errors import ConfigError, CorruptDataError, IntegrityError, UnsupportedOperationError
from s3dlio.memory.crc32c import crc32c
from s3dlio.records import Record, replace
from s3dlio.wording import either

FORMAT_VERSION = 1
COMPLETE = "complete"

_WALL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(?:Z|[+-]\d\d:\d\d)")
_SEAL = 10  # digits that any CRC32C has room in
_SEALED = 9 + _SEAL
_CHECKSUM = re.compile(r"crc32c:[0-9a-f]{8}")


class ShardMeta(Record):
    """One shard: the bytes of one rank.

    ``size`` is that of the stored object in bytes, ``checksum`` that of the bytes before compression
    (``crc32c:xxxxxxxx``), ``key`` is relative to the base.
    """

    rank: int
    key: str
    size: int
    etag: str | None = None
    checksum: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}


class Manifest(Record):
    """What one checkpoint is made of; the fields are those of the file, in its order."""

    format_version: int
    framework: str
    global_step: int
    epoch: int
    wall_time: str
    world_size: int
    shards: tuple[ShardMeta, ...]
    status: str = COMPLETE
    user_meta: Any = None

    @property
    def total_size(self) -> int:
        """Bytes of all shards as stored."""
        return sum(shard.size for shard in self.shards)

    def shard(self, rank: int) -> ShardMeta:
        """The shard of a rank.

        Raises:
            ConfigError: there is no such rank.
        """
        for shard in self.shards:
            if shard.rank == rank:
                return shard
        raise ConfigError(f"Rank {rank} not found: the checkpoint has the ranks 0 to {self.world_size - 1}")

    def as_dict(self) -> dict[str, Any]:
        """The manifest as the dictionary that JSON has, in its order."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self._fields}
        fields["shards"] = [shard.as_dict() for shard in self.shards]
        return fields

    def to_bytes(self) -> bytes:
        """The file: pretty JSON, sealed."""
        return _seal(replace(self, wall_time=_with_seal(self.wall_time, "0" * _SEAL)))


def now() -> str:
    """The time as manifests have it: RFC 3339 in UTC with nanoseconds."""
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09}+00:00"


def _from_bytes(user_meta: bytes) -> Any:
    try:
        return json.loads(user_meta)
    except ValueError:
        pass
    try:
        return user_meta.decode()
    except UnicodeDecodeError as error:
        raise TypeError(f"user_meta cannot be written as JSON: {error}") from error


def checked_user_meta(user_meta: Any) -> Any:
    """``user_meta`` as it will be read again. Bytes are what the JSON in them says, or else text.

    Raises:
        TypeError, ConfigError: JSON has no such thing.
    """
    if isinstance(user_meta, bytes):
        user_meta = _from_bytes(user_meta)
    try:
        text = json.dumps(user_meta, allow_nan=False, ensure_ascii=False)
        return json.loads(text.encode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"user_meta cannot be written as JSON: {error}") from error
    except TypeError as error:
        raise TypeError(f"user_meta cannot be written as JSON: {error}") from error


def pretty(value: Any) -> bytes:
    """JSON as all files of the layout have it: two spaces, no newline at the end.

    Raises:
        ConfigError: a text in it is not Unicode.
    """
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        found = error.object[error.start : error.end]
        raise ConfigError(f"a checkpoint cannot keep a text with {found!r} in it: {error.reason}") from error


def parsed(data: bytes, uri: str) -> dict[str, Any]:
    """The object that JSON text holds.

    Raises:
        CorruptDataError: it is not JSON, or no object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _corrupt(f"it is no JSON: {error}", uri) from error
    if not isinstance(value, dict):
        raise _corrupt(f"it holds a {type(value).__name__}, not an object", uri)
    return value


def field(values: Mapping[str, Any], name: str, kind: type | tuple[type, ...], uri: str) -> Any:
    """One field of a file.

    Raises:
        CorruptDataError: it is not there, or of another type; a number is negative.
    """
    value = values.get(name)
    if name not in values or not isinstance(value, kind) or isinstance(value, bool):
        _refuse(f"its {name!r} is {value!r}" if name in values else f"it has no {name!r}", uri)
    if isinstance(value, int) and value < 0:
        _refuse(f"its {name!r} is {value}", uri)
    return value


def manifest_of(data: bytes, uri: str) -> Manifest:
    """Read a manifest and look at all that it says.

    Args:
        data: the file.
        uri: its URI; its name is compared with the content.

    Raises:
        CorruptDataError: it is truncated, or does not fit together.
        IntegrityError: it was changed since it was written.
        UnsupportedOperationError: a later version of the format.
        UnsafeKeyError: it names something outside of its base.
    """
    manifest = manifest_from(parsed(data, uri), uri)
    _check_seal(data, manifest.wall_time, uri)
    return manifest


def manifest_from(values: Mapping[str, Any], uri: str) -> Manifest:
    """A manifest of what JSON holds; raises as :func:`manifest_of` does."""
    version = field(values, "format_version", int, uri)
    if version != FORMAT_VERSION:
        raise UnsupportedOperationError(
            f"the manifest has the format version {version}, and this release reads {FORMAT_VERSION}", uri=uri,
            hint="update s3dlio" if version > FORMAT_VERSION else None,
        )  # fmt: skip
    shards = tuple(shard_of(each, uri) for each in field(values, "shards", list, uri))
    manifest = Manifest(
        format_version=version,
        framework=field(values, "framework", str, uri),
        global_step=field(values, "global_step", int, uri),
        epoch=field(values, "epoch", int, uri),
        wall_time=field(values, "wall_time", str, uri),
        world_size=field(values, "world_size", int, uri),
        shards=shards,
        status=field(values, "status", str, uri),
        user_meta=values.get("user_meta"),
    )
    _check_whole(manifest, uri)
    return manifest


def shard_of(values: Any, uri: str) -> ShardMeta:
    """One entry of a manifest, or what a rank tells of its shard.

    Raises:
        CorruptDataError, UnsafeKeyError: as of :func:`manifest_of`.
    """
    if not isinstance(values, Mapping):
        _refuse(f"a shard is a {type(values).__name__}, not an object", uri)
    shard = ShardMeta(
        rank=field(values, "rank", int, uri),
        key=field(values, "key", str, uri),
        size=field(values, "size", int, uri),
        etag=field(values, "etag", (str, type(None)), uri) if "etag" in values else None,
        checksum=field(values, "checksum", (str, type(None)), uri) if "checksum" in values else None,
    )
    check_inside(shard.key, SHARDS, uri)
    if shard.checksum is not None and not _CHECKSUM.fullmatch(shard.checksum):
        _refuse(f"the checksum of rank {shard.rank} is {shard.checksum!r}", uri)
    return shard


def _check_whole(manifest: Manifest, uri: str) -> None:
    """The parts of a manifest agree with each other and with its name."""
    name = named_by(uri)
    if name is not None and name.step != manifest.global_step:
        _refuse(f"it is of step {manifest.global_step}, and its name of step {name.step}", uri)
    if manifest.world_size < 1:
        _refuse("its world_size is 0", uri)
    ranks = sorted(shard.rank for shard in manifest.shards)
    if manifest.status == COMPLETE and (len(ranks) != manifest.world_size or ranks != list(range(len(ranks)))):
        _refuse(f"it has shards of the ranks {shown_ranks(ranks)}, and a world_size of {manifest.world_size}", uri)


def missing_ranks(there: Collection[int], world_size: int) -> list[int]:
    """Which ranks of so many are not there: the first few of them."""
    return list(islice((rank for rank in range(world_size) if rank not in there), 20))


def shown_ranks(ranks: Sequence[int]) -> str:
    """Ranks for a message, the first few of them."""
    return f"{{{', '.join(map(str, ranks[:16]))}{', ...' * (len(ranks) > 16)}}}"


# -- the seal


def _with_seal(wall_time: str, digits: str) -> str:
    """``wall_time``, with nine digits of nanoseconds and ``digits`` behind them."""
    found = _WALL_TIME.fullmatch(wall_time)
    assert found is not None
    assert found[1] is not None
    at = found.start(1)
    return wall_time[:at] + found[1][:9].ljust(9, "0") + digits + wall_time[found.end(1) :]


def _seal(manifest: Manifest) -> bytes:
    """The file of a manifest whose seal is zeros, with the seal that belongs to it."""
    plain = pretty(manifest.as_dict())
    sealed = _with_seal(manifest.wall_time, f"{crc32c(plain):0{_SEAL}}")
    return plain.replace(manifest.wall_time.encode(), sealed.encode(), 1)


def _check_seal(data: bytes, wall_time: str, uri: str) -> None:
    found = _WALL_TIME.fullmatch(wall_time)
    if found is None:
        _refuse(f"its wall_time is {wall_time!r}", uri)
    if found[1] is None or len(found[1]) != _SEALED:
        return  # of another writer, which has no seal
    plain = bytes(data).replace(wall_time.encode(), _with_seal(wall_time, "0" * _SEAL).encode(), 1)
    if int(found[1][9:]) != crc32c(plain):
        raise IntegrityError(
            "the manifest was changed since it was written: its checksum differs", uri=uri, operation="GET",
            hint=f"load another checkpoint: {either('list()', 's3-cli checkpoint ls')} shows what there is",
        )  # fmt: skip


def _corrupt(reason: str, uri: str) -> CorruptDataError:
    return CorruptDataError(
        f"this is no whole file of a checkpoint: {reason}", uri=uri,
        hint=f"{either('list()', 's3-cli checkpoint ls')} shows which checkpoints are whole",
    )


def _refuse(reason: str, uri: str) -> NoReturn:
    raise _corrupt(reason, uri)


class Pointer(Record):
    """What ``latest.json`` says: which checkpoint is loaded."""

    manifest_key: str
    global_step: int
    ts: str

    @property
    def name(self) -> Name:
        return Name(self.global_step, self.ts)

    def to_bytes(self) -> bytes:
        return pretty({name: getattr(self, name) for name in self._fields})


def pointer_of(data: bytes, uri: str) -> Pointer:
    """Read ``latest.json``; its three fields must agree.

    Raises:
        CorruptDataError, UnsafeKeyError: as of :func:`manifest_of`.
    """
    values = parsed(data, uri)
    pointer = Pointer(
        manifest_key=field(values, "manifest_key", str, uri),
        global_step=field(values, "global_step", int, uri),
        ts=field(values, "ts", str, uri),
    )
    check_inside(pointer.manifest_key, "manifests/", uri)
    if named_by(pointer.manifest_key) != pointer.name:
        _refuse(f"its key {pointer.manifest_key!r} is not that of step {pointer.global_step}, {pointer.ts}", uri)
    return pointer
