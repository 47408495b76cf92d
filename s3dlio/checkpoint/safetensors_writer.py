"""safetensors written to any store: one file, a directory of shards with an index, or each rank's parts of tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from s3dlio import api
from s3dlio.checkpoint import tensors as arrays
from s3dlio.checkpoint.device_tensors import tensor_pieces
from s3dlio.checkpoint.sharded_tensors import INDEX_SUFFIX, SHARDING, SHARDING_OF_RANKS, SUFFIX
from s3dlio.checkpoint.tensor_parts import parts_of_this_rank
from s3dlio.config.sizes import parse_size
from s3dlio.engine.session import Session
from s3dlio.errors import AlreadyExistsError, ConfigError
from s3dlio.formats.safetensors import build_header, size_of
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.places import destination_uri
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.uri import URI

#: What a shard holds at most, as Hugging Face's packages have it.
MAX_SHARD = "5GB"


def save_safetensors(
    tensors: Mapping[str, Any],
    uri: URI,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str = MAX_SHARD,
    overwrite: bool = False,
    options: PutOptions = NO_OPTIONS,
    client: Session | None = None,
) -> list[str]:
    """Write tensors as safetensors. Their memory is sent as it is; what is on a device, or not contiguous, is copied.

    Args:
        tensors: name -> tensor of torch, array of numpy or JAX.
        uri: a file, where it ends in ``.safetensors``; else a directory. That gets ``model.safetensors``, or shards and
            then ``model.safetensors.index.json``, as Hugging Face's packages write them.
        metadata: texts that the files carry. ``{"format": "pt"}`` where there is none and a tensor is one of torch.
        max_shard_size: bytes of the tensors of one shard, or text as ``"5GB"``; a larger tensor is alone in its own.
        overwrite: a directory that has a model already is replaced, not refused. Nothing of the old one stays, and it
            is the one that is loaded until the new one is whole. Where both have shards of the same names, a random id
            is in those of the new one.
        options: content type, storage class and the like, for every file. Local files are fsynced.
        client: whose settings count; None: the default client.

    Returns:
        The URIs of what was written, the index last.

    Raises:
        ConfigError: a value is no tensor, or its type is none of safetensors; nothing was written.
        AlreadyExistsError: the directory has a model.
    """
    session = client or api.default_client()
    text = destination_uri(uri)
    described = {name: arrays.about(name, value) for name, value in tensors.items()}
    if metadata is None:
        metadata = {"format": "pt"} if any(map(arrays.is_torch, tensors.values())) else {}
    options = replace(options, durable=True)
    if text.endswith(SUFFIX):
        write_file(*session.store_for(text), tensors, described, metadata, options)
        return [text]
    store, prefix = session.store_for(text.rstrip("/") + "/")
    stale = _models_in(store, prefix)
    if stale and not overwrite:
        raise AlreadyExistsError(
            f"there is a model already: {stale[0].removeprefix(prefix)}", uri=text, operation="PUT",
            hint="write elsewhere, or give overwrite=True",
        )  # fmt: skip
    limit = parse_size(max_shard_size, name="max_shard_size", minimum=1)
    shards = split({name: size_of(*about) for name, about in described.items()}, limit)
    names = shard_names(len(shards))
    indices = [key for key in stale if key.endswith(INDEX_SUFFIX)]
    if indices and len(shards) > 1 and {prefix + name for name in names} & {*stale}:
        names = shard_names(len(shards), os.urandom(4).hex())  # the old model has its shards until the index is written
    for name, shard in zip(names, shards, strict=True):
        write_file(store, prefix + name, {each: tensors[each] for each in shard}, described, metadata, options)
    if len(shards) > 1:
        names += write_index(store, prefix, zip(names, shards, strict=True), described, options)
    written = {prefix + name for name in names}
    delete_all(store, [key for key in indices if key not in written])  # before the shards that it names
    delete_all(store, [key for key in stale if key not in written and key not in indices])
    return [store.uri(prefix + name) for name in names]


def delete_all(store: ObjectStore, keys: list[str]) -> None:
    """Delete objects.

    Raises:
        S3dlioError: one could not be deleted.
    """
    for key, error in store.delete_many(keys):
        error.locate(store.uri(key), "DELETE")
        raise error


def _models_in(store: ObjectStore, prefix: str) -> list[str]:
    """The keys of a directory that belong to a model."""
    keys = [key for page in store.list(prefix, recursive=False) for key in page.keys]
    return [key for key in keys if key.endswith((SUFFIX, INDEX_SUFFIX))]


def split(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """The tensors of each shard, in their order; none larger than ``limit`` bytes, but for those of one tensor."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def shard_names(count: int, mark: str = "") -> list[str]:
    """The names of the files of a model; ``mark`` tells its shards from others."""
    if count == 1:
        return [f"model{SUFFIX}"]
    model = f"model-{mark}" if mark else "model"
    return [f"{model}-{number:05}-of-{count:05}{SUFFIX}" for number in range(1, count + 1)]


def write_file(
    store: ObjectStore,
    key: str,
    tensors: Mapping[str, Any],
    described: Mapping[str, tuple[str, tuple[int, ...]]],
    metadata: Mapping[str, str],
    options: PutOptions,
) -> int:
    """Write one file, whole or not at all; returns its size in bytes."""
    head, header = build_header({name: described[name] for name in tensors}, metadata)
    with store.writer(key, options=options, expected_size=header.size) as writer:
        writer.write(head)
        for name in header.tensors:
            pieces = tensor_pieces(tensors[name])
            for piece in (arrays.memory_of(name, tensors[name]),) if pieces is None else pieces:
                writer.write_owned(piece)
    return header.size


def write_index(
    store: ObjectStore,
    prefix: str,
    shards: Iterable[tuple[str, Iterable[str]]],
    described: Mapping[str, tuple[str, tuple[int, ...]]],
    options: PutOptions,
) -> list[str]:
    """Write the index of a directory; returns its name."""
    weight_map = {tensor: name for name, shard in shards for tensor in shard}
    total = sum(size_of(*described[tensor]) for tensor in weight_map)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    text = json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    name = f"model{INDEX_SUFFIX}"
    store.put(prefix + name, text.encode(), options=options)
    return [name]


def save_sharded_safetensors(
    tensors: Mapping[str, Any],
    uri: URI,
    *,
    rank: int | None = None,
    world_size: int | None = None,
    metadata: Mapping[str, str] | None = None,
    options: PutOptions = NO_OPTIONS,
    client: Session | None = None,
) -> str:
    """Write what this rank has of sharded tensors; every rank calls it, and waits for no other.

    The files are those of ``torch.distributed.checkpoint`` (``HuggingFaceStorageWriter`` with ``save_distributed``). A
    directory of them is loaded as any other, or made one of whole tensors by ``consolidate_safetensors``.

    Args:
        tensors: name -> a ``DTensor`` of torch, a :class:`TensorPart`, or a whole tensor, which is the same on all
            ranks and written by one of them: each rank gives the same names of those.
        uri: the directory, which has no such files yet.
        rank, world_size: of this process; None: as ``torch.distributed`` says.
        metadata, options, client: as of :func:`save_safetensors`.

    Returns:
        The URI of the file. A rank that has nothing writes one without tensors: it shows that no rank is missing.

    Raises:
        ConfigError: a value is none of these, or ranks are no numbers of each other; nothing was written.
    """
    session = client or api.default_client()
    rank, world_size = _ranks(rank, world_size)
    parts = parts_of_this_rank(tensors, rank, world_size)
    described = {name: arrays.about(name, part.array) for name, part in parts.items()}
    shapes = {name: list(part.shape) for name, part in parts.items()}
    offsets = {name: {"saved_offsets": list(part.offsets)} for name, part in parts.items()}
    texts = {
        **(metadata or {"format": "pt"}),
        "DCP_VERSION": "1.0",
        SHARDING: json.dumps(offsets, separators=(",", ":")),
        SHARDING_OF_RANKS: json.dumps({"world_size": world_size, "shapes": shapes}, separators=(",", ":")),
    }
    name = f"shard-{rank + 1:05}-model-00001-of-00001{SUFFIX}"
    store, key = session.store_for(f"{destination_uri(uri).rstrip('/')}/{name}")
    write_file(store, key, {each: part.array for each, part in parts.items()}, described, texts,
               replace(options, durable=True))  # fmt: skip
    return store.uri(key)


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is None or world_size is None:
        import torch.distributed as dist

        if not dist.is_available() or not dist.is_initialized():
            raise ConfigError("torch.distributed is not initialized", hint="give rank and world_size")
        return dist.get_rank(), dist.get_world_size()
    if type(rank) is not int or type(world_size) is not int or not 0 <= rank < world_size:
        raise ConfigError(f"rank must be from 0 to world_size - 1, got {rank!r} of {world_size!r}")
    return rank, world_size
