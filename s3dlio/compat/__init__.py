"""Older names and forms: what scripts written for the Rust package of this name, and for its Rust API, call."""

from typing import Any

_OF_TORCHCONNECTOR = ("S3Checkpoint", "S3IterableDataset", "S3MapDataset")


def __getattr__(name: str) -> Any:
    """The data sets of ``s3dlio.compat.s3torchconnector``, which need torch, when they are asked for."""
    if name not in _OF_TORCHCONNECTOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from s3dlio.compat import s3torchconnector

    return getattr(s3torchconnector, name)
