"""What is in the bytes of a checkpoint: the names of its arrays, where a known format holds them."""

from __future__ import annotations

import io
from collections.abc import Iterable

from s3dlio.errors import ConfigError, CorruptDataError, IntegrityError, MissingDependencyError
from s3dlio.formats import npz_names
from s3dlio.formats.safetensors import header_length, parse_header
from s3dlio.memory.view import BytesView

_ZIP = b"PK\x03\x04"
_PREFIX = 8  # bytes before the header of a safetensors file


def check_names(data: BytesView, expected: Iterable[str], uri: str) -> None:
    """Compare the names of the arrays in ``data`` with those that must be there.

    Raises:
        IntegrityError: some are missing.
        ConfigError: the bytes are of no kind that has names.
    """
    there = set(names_in(data, uri))
    if missing := [name for name in expected if name not in there]:
        raise IntegrityError(f"the checkpoint has no {', '.join(map(repr, missing))}", uri=uri)


def names_in(data: BytesView, uri: str) -> list[str]:
    """The names of the arrays in a file of numpy (NPZ), torch (``torch.save`` of a dictionary) or safetensors.

    Raises:
        ConfigError: it is none of these.
        MissingDependencyError: it is one of torch, which is not there.
        CorruptDataError: it is damaged.
    """
    if data.startswith(_ZIP):
        names = npz_names(data)
        return _torch_names(data, uri) if any(name.endswith("data.pkl") for name in names) else names
    try:
        length = header_length(data[:_PREFIX], uri)
        return list(parse_header(data[_PREFIX : _PREFIX + length], len(data), uri).tensors)
    except CorruptDataError as error:
        raise ConfigError(
            "the checkpoint has no names that could be compared: it is no file of numpy, torch or safetensors", uri=uri
        ) from error


def _torch_names(data: BytesView, uri: str) -> list[str]:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", "torch", "the names in a file of torch") from error
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch tells damage by many kinds
        raise CorruptDataError(f"torch cannot load it: {error}", uri=uri) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"the checkpoint holds a {type(loaded).__name__}, which has no names", uri=uri)
    return list(loaded)
