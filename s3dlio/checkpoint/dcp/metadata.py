"""The file ``.metadata`` of a distributed checkpoint: torch's own object, pickled, and after it a checksum.

What torch's reader loads ends where the pickle does, so it ignores the checksum. A pickle may call any function of any
module; here it may name only what metadata are made of.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata

from s3dlio.errors import CorruptDataError, IntegrityError
from s3dlio.memory.crc32c import crc32c, format_crc32c

_NAME = ".metadata"
_MARK = b"s3dlio "
_TRAILER = len(_MARK) + len(format_crc32c(0))

#: The classes and functions that metadata are made of.
_MADE_OF = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties",
        "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.distributed.checkpoint.planner": {"LoadItemType", "WriteItemType"},
    "torch.distributed._shard.sharded_tensor.metadata": {"MEM_FORMAT_ENCODING", "TensorProperties"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", "device"},
    "collections": {"OrderedDict"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath"},
    "builtins": {"complex", "frozenset", "set", "slice"},
}  # fmt: skip


def name_of(rank: int | None = None) -> str:
    """The name of the file; with ``rank`` that of a rank which saves for itself."""
    return _NAME if rank is None else f"__{rank}{_NAME}"


def dump(metadata: Metadata) -> bytes:
    """The bytes of the file."""
    data = pickle.dumps(metadata)
    return data + _MARK + format_crc32c(crc32c(data)).encode()


def load(data: bytes | memoryview, uri: str) -> Metadata:
    """The metadata in a file of torch's writer, or of this one.

    Raises:
        IntegrityError: the checksum is another.
        CorruptDataError: they are no metadata, or name what metadata are not made of.
    """
    data = bytes(data)
    ours = data[-_TRAILER:].startswith(_MARK)
    if ours and data[len(_MARK) - _TRAILER :] != format_crc32c(crc32c(data[:-_TRAILER])).encode():
        raise IntegrityError(
            "the metadata of the checkpoint are damaged: they have another checksum than the writer noted", uri=uri,
            operation="GET", hint="load an earlier checkpoint, and have the storage checked",
        )  # fmt: skip
    stream = io.BytesIO(data)
    try:
        found = _Unpickler(stream).load()
    except CorruptDataError as error:
        error.locate(uri, "GET")
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise _corrupt(uri, f"cannot be read: {error}") from error
    if not isinstance(found, Metadata) or not isinstance(found.state_dict_metadata, dict):
        raise _corrupt(uri, f"are a {type(found).__name__}")
    if stream.tell() != len(data) - _TRAILER * ours:
        raise _corrupt(uri, "go on behind their end")
    return found


def _corrupt(uri: str, what: str) -> CorruptDataError:
    return CorruptDataError(
        f"the metadata of the checkpoint {what}", uri=uri, operation="GET",
        hint="load an earlier checkpoint, or one that torch.distributed.checkpoint saved",
    )  # fmt: skip


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _MADE_OF.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        for allowed in torch.serialization.get_safe_globals():
            one = allowed[0] if isinstance(allowed, tuple) else allowed
            if (getattr(one, "__module__", None), getattr(one, "__qualname__", None)) == (module, name):
                return one
        raise CorruptDataError(
            f"the metadata of the checkpoint name {module}.{name}, which metadata are not made of",
            hint="if you trust who wrote it, allow it with torch.serialization.add_safe_globals",
        )
