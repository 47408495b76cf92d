"""A manifest of keys: the sorted URIs of a data set, stored in a few objects, so that nobody lists it again.

``<base>/keys.json`` tells what there is, and is written last. Beside it lie ``keys-<id>/index``, how long each block
is, and ``keys-<id>/00000`` and so on, the shards: blocks one behind the other, see :mod:`s3dlio.loader.keys`. Readers
fetch the blocks that they need, and keep them in a file without a name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from s3dlio.client import Client
from s3dlio.errors import ConfigError, IntegrityError
from s3dlio.loader.keys import BLOCK, BlockedKeys, MemoryKeys, ends_of
from s3dlio.transfer.range_reads import RangeRead, read_ranges
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import LOCAL_SCHEMES, URI, as_uri, parse

log = logging.getLogger(__name__)

_NAME = "keys.json"
_FORMAT = "s3dlio-keys"
#: Bytes of a shard.
_SHARD = 16 << 20
#: A manifest of fewer bytes is read as a whole.
_SMALL = 16 << 20


class Listed(NamedTuple):
    """What the keys of a manifest are of: the URI and the pattern that were listed, and how many characters of each URI
    are not part of the names that a data set tells."""

    uri: str
    pattern: str | None
    named: int


def write_manifest(keys: MemoryKeys, manifest: URI, client: Client, of: Listed, *, if_absent: bool = False) -> bool:
    """Store a manifest.

    Args:
        keys: what was listed.
        manifest: its directory.
        client: whose settings and connections are used.
        of: what was listed, and where in the URIs the names begin that a data set tells.
        if_absent: leave one that is there as it is.

    Returns:
        Whether it was stored.
    """
    base = _base(manifest)
    identity = hashlib.blake2b(keys.data, digest_size=16).hexdigest()
    index = array("I", (end - start for start, end in zip(keys.ends, keys.ends[1:], strict=False)))
    shards, start = [], 0
    view = memoryview(keys.data)
    while start < len(index):
        stop = max(bisect_right(keys.ends, keys.ends[start] + _SHARD) - 1, start + 1)
        shards.append(stop - start)
        name = f"{base}keys-{identity}/{len(shards) - 1:05}"
        client.put_bytes(name, view[keys.ends[start] : keys.ends[stop]])
        start = stop
    client.put_bytes(f"{base}keys-{identity}/index", index.tobytes())
    head = {
        "format": _FORMAT, "version": 1, "of": of._asdict(), "root": keys.root,
        "keys": len(keys), "block": BLOCK, "bytes": len(keys.data),
        "id": identity, "shards": shards,
    }  # fmt: skip
    store, key = client.store_for(base + _NAME)
    options = PutOptions(durable=True, conditions=Conditions(if_none_match="*" if if_absent else None))
    try:
        store.put(key, json.dumps(head).encode(), options=options)
    except FileExistsError:
        return False
    return True


def open_manifest(manifest: URI, client: Client) -> tuple[BlockedKeys, Listed]:
    """The keys of a manifest, and what they are of.

    Raises:
        ObjectNotFoundError: there is none.
        IntegrityError: it is damaged.
    """
    base = _base(manifest)
    text = bytes(client.get(base + _NAME))
    try:
        head = json.loads(text)
        is_known = head["format"] == _FORMAT and head["version"] == 1
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"a manifest of keys is damaged: {error!r}", uri=base + _NAME) from error
    if not is_known:
        raise ConfigError("this is no manifest of keys that is known here", uri=base + _NAME, hint="update s3dlio")
    try:
        root, count, size, shards = head["root"], int(head["keys"]), int(head["bytes"]), list(map(int, head["shards"]))
        folder = f"{base}keys-{head['id']}/"
        block, of = int(head["block"]), Listed(**head["of"])
        index = array("I", bytes(client.get(folder + "index")))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"a manifest of keys is damaged: {error!r}", uri=base + _NAME) from error
    ends = ends_of(index)
    if sum(shards) != len(index) or ends[-1] != size or -(-count // block) != len(index):
        raise IntegrityError("a manifest of keys does not agree with its index", uri=base + _NAME)
    stored = StoredKeys(root, count, block, folder, shards, ends, client)
    stored.identity = head["id"]
    if size > _SMALL:
        return stored, of
    whole = MemoryKeys(root, count, b"".join(data for _, data in stored.read(range(len(index)))), index, block)
    whole.identity = stored.identity
    return whole, of


def _base(manifest: URI) -> str:
    text = as_uri(manifest)
    return text if text.endswith("/") else text + "/"


class StoredKeys(BlockedKeys):
    """URIs whose blocks are fetched when they are needed, several at a time.

    Args:
        root, count, block: as of :class:`BlockedKeys`.
        folder: where the shards are.
        shards: how many blocks each has.
        ends: where each block begins, all shards taken together, and the last one ends.
        client: what reads them.
    """

    def __init__(
        self, root: str, count: int, block: int, folder: str, shards: Sequence[int], ends: array[int], client: Client
    ) -> None:
        super().__init__(root, count, block)
        self._folder = folder
        self._firsts = list(ends_of(shards))
        self._ends = ends
        self._client = client
        self._spool = _spool_of(self, folder)

    def _data(self, blocks: Sequence[int]) -> Iterable[tuple[int, bytes]]:
        missing = []
        for block in blocks:
            data = self._kept_in_file(block)
            if data is None:
                missing.append(block)
            else:
                yield block, data
        for block, data in self.read(missing):
            self._keep_in_file(block, data)
            yield block, data

    def _keep_in_file(self, block: int, data: bytes) -> None:
        if self._spool is None:
            return
        try:
            os.pwrite(self._spool, data, self._ends[block])
        except OSError as error:  # it only spares requests
            log.warning("blocks of keys are fetched again when they are needed again: %s", error)
            self._spool = None

    def _kept_in_file(self, block: int) -> bytes | None:
        """A block that was fetched before; what was not is a hole."""
        if self._spool is None:
            return None
        start, end = self._ends[block], self._ends[block + 1]
        data = os.pread(self._spool, end - start, start)
        return data if len(data) == end - start and any(data[:1]) and any(data[-4:]) else None

    def read(self, blocks: Sequence[int]) -> list[tuple[int, bytes]]:
        """Fetch blocks, all at the same time.

        Raises:
            S3dlioError: one could not be read.
        """
        found: list[tuple[int, bytes]] = []
        reads, failures = [], []
        for block in blocks:
            shard = bisect_right(self._firsts, block) - 1
            store, key = self._client.store_for(f"{self._folder}{shard:05}")
            offset = self._ends[block] - self._ends[self._firsts[shard]]

            def land(data: memoryview, block: int = block) -> None:
                found.append((block, bytes(data)))

            reads.append(RangeRead(store, key, offset, self._ends[block + 1] - self._ends[block], land=land))
        read_ranges(self._client, reads, failed=lambda _, error: failures.append(error))
        if failures:
            raise failures[0]
        found.sort()
        return found

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_spool": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._spool = _spool_of(self, self._folder)


def _spool_of(keys: StoredKeys, folder: str) -> int | None:
    """The descriptor of a file without a name, for blocks that were fetched, as long as ``keys`` are there; None where
    they are in files anyway, or no file can be made."""
    if parse(folder).scheme in LOCAL_SCHEMES:
        return None
    try:
        with tempfile.TemporaryFile() as file:
            spool = os.dup(file.fileno())
    except OSError as error:
        log.warning("blocks of keys are fetched again when they are needed again: %s", error)
        return None
    weakref.finalize(keys, os.close, spool)
    return spool
