"""The names of PyTorch data sets at the top level: None where torch is not installed, as scripts expect that ask
``_HAS_TORCH``, or whether a name is None."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3dlio.torch import (
        ObjectStoreIterableDataset as ObjectStoreIterableDataset,
    )
    from s3dlio.torch import (
        ObjectStoreMapDataset as ObjectStoreMapDataset,
    )
    from s3dlio.torch import (
        S3IterableDataset as S3IterableDataset,
    )
    from s3dlio.torch import (
        S3MapDataset as S3MapDataset,
    )

    _HAS_TORCH: bool
    _HAS_JAX_TF: bool

_NAMES = ("ObjectStoreIterableDataset", "ObjectStoreMapDataset", "S3IterableDataset", "S3MapDataset")


def __getattr__(name: str) -> Any:
    if name == "_HAS_JAX_TF":  # it takes numpy alone
        return True
    has_torch = find_spec("torch") is not None
    if name == "_HAS_TORCH":
        return has_torch
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not has_torch:
        return None
    from s3dlio import torch

    return getattr(torch, name)
