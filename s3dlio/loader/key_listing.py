"""What a data set's keys are: listed, or those of a manifest, which one of all ranks makes."""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from s3dlio import api
from s3dlio.checkpoint.ranks import Ranks, alone, job_ranks
from s3dlio.client import Client
from s3dlio.errors import ConfigError, ObjectNotFoundError, TransferTimeoutError
from s3dlio.launcher import launched_rank
from s3dlio.loader.key_manifest import Listed, open_manifest, write_manifest
from s3dlio.loader.keys import KeyPacker, MemoryKeys
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.uri import LOCAL_SCHEMES, URI, as_uri, parse

log = logging.getLogger(__name__)

#: Seconds that other ranks wait for the one that lists.
_PATIENCE = 900.0


class Objects(NamedTuple):
    """The objects of a data set.

    Attributes:
        named: where in the URIs the names begin that a data set tells.
        uris: sorted.
        sizes: bytes of each when it was listed, where the listing told them.
    """

    named: int
    uris: Sequence[str]
    sizes: array[int] | None = None


def keys_below(client: Client, uri: str, values: LoaderValues) -> Objects:
    """All objects below a URI.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: the manifest is one of something else.
    """
    if values.manifest is None:
        ranks = _ranks(values.list_once)
        if ranks.world_size > 1:
            return _told(ranks, client, uri, values)
        packer, of = _listing(client, uri, values.pattern, None, sized=values.check_sizes)
        return Objects(of.named, *packer.uris())
    if values.shard_world_size > 1:
        rank = values.shard_rank
    else:
        ranks = job_ranks()
        rank = ranks.rank if ranks.world_size > 1 else launched_rank()[0]
    keys, of = _shared(client, uri, values.pattern, values.manifest, rank)
    if (of.uri, of.pattern) != (uri, values.pattern):
        raise ConfigError(
            f"this manifest is one of {of.uri}" + (f" with the pattern {of.pattern!r}" if of.pattern else ""),
            uri=values.manifest, hint="each data set has a manifest of its own; PyDataset.from_manifest takes any",
        )  # fmt: skip
    return Objects(of.named, keys)


def _ranks(list_once: bool | Ranks) -> Ranks:
    """Those of whom one lists."""
    if isinstance(list_once, Ranks):
        return list_once
    ranks = job_ranks() if list_once else alone()
    if list_once and ranks.world_size == 1 and (launched := launched_rank())[1] > 1:
        log.warning(
            "each of %d ranks lists: neither torch.distributed nor mpi4py, by which one could tell the others, is "
            "initialized yet; a manifest, or list_once=Ranks(...), needs neither", launched[1],
        )  # fmt: skip
    return ranks


def _told(ranks: Ranks, client: Client, uri: str, values: LoaderValues) -> Objects:
    """Rank 0 lists, and tells the others; where it fails, all fail."""

    def listed() -> tuple[int, MemoryKeys] | None:
        if ranks.rank:
            return None
        packer, of = _listing(client, uri, values.pattern, None, sized=values.check_sizes)
        return of.named, packer.finish()

    found = ranks.all_do(listed)[0]
    assert found is not None
    named, keys = found
    return Objects(named, keys.plain(), keys.sizes)


def _shared(client: Client, uri: str, pattern: str | None, manifest: str, rank: int) -> tuple[Sequence[str], Listed]:
    """The keys of a manifest; where there is none, rank 0 makes it, and the others wait."""
    try:
        return open_manifest(manifest, client)
    except ObjectNotFoundError:
        if rank == 0:
            packer, of = _listing(client, uri, pattern, 16)
            write_manifest(packer.finish(), manifest, client, of, if_absent=True)
            return open_manifest(manifest, client)
    _look(client, uri, pattern)
    deadline = time.monotonic() + _PATIENCE
    pause = 0.05
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)
        try:
            return open_manifest(manifest, client)
        except ObjectNotFoundError:
            continue
    raise TransferTimeoutError(
        f"rank 0 made no manifest within {_PATIENCE:.0f} seconds", uri=manifest, operation="LIST",
        hint="make it beforehand with create_key_manifest",
    )  # fmt: skip


def _look(client: Client, uri: str, pattern: str | None) -> None:
    """Whether anything is there that rank 0 may find; one page is enough.

    Raises:
        ObjectNotFoundError: nothing is.
    """
    if not any(page.keys for _, page in client.select(uri, recursive=True, pattern=pattern)):
        raise _nothing(uri)


def create_key_manifest(
    uri: URI, manifest: URI, *, pattern: str | None = None, fan_out: int = 16, client: Client | None = None
) -> int:
    """List what is below a URI, sub-directories at the same time, and store the URIs: a data set with the option
    ``manifest``, or ``PyDataset.from_manifest``, lists nothing.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob.
        manifest: the directory of the manifest, on any store; one that is there is replaced.
        pattern: only names in which this regular expression, or glob, is found.
        fan_out: how many sub-directories are listed at a time.
        client: whose settings and connections are used; default: those of the package.

    Returns:
        How many there are.

    Raises:
        ObjectNotFoundError: nothing is there.
    """
    client = client or api.default_client()
    packer, of = _listing(client, as_uri(uri), pattern, fan_out)
    write_manifest(packer.finish(), manifest, client, of)
    return len(packer)


def _listing(
    client: Client, uri: str, pattern: str | None, fan_out: int | None, *, sized: bool = False
) -> tuple[KeyPacker, Listed]:
    """All URIs below one; ``sized``: and the sizes, where they come with the names. Of the listing, a few pages are in
    memory as they came."""
    parse(uri)
    store, key = client.store_for(uri)
    before = uri[: len(uri) - len(key)]
    if not key and not before.endswith("/"):
        before += "/"  # s3://bucket
    packer = KeyPacker(before)
    named = before
    for base, page in client.select(uri, recursive=True, pattern=pattern, fan_out=fan_out):
        named = before + base if store.scheme in LOCAL_SCHEMES else before
        if sized and store.scheme not in LOCAL_SCHEMES and packer.wants_sizes:
            entries = [entry for entry in page.entries if not entry.key.endswith("/")]
            packer.add([entry.key for entry in entries], [entry.size for entry in entries])
        else:
            packer.add([name for name in page.keys if not name.endswith("/")])
    if not len(packer):
        raise _nothing(uri)
    return packer, Listed(uri, pattern, len(named))


def _nothing(uri: str) -> ObjectNotFoundError:
    return ObjectNotFoundError(
        "no objects were selected: nothing is there", uri=uri, operation="LIST",
        hint="name a directory, a prefix that ends in '/', or a glob such as 'data/part-*'",
    )  # fmt: skip
