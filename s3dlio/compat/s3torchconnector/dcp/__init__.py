"""Distributed checkpoints as s3torchconnector has them, on every scheme."""

from s3dlio.compat.s3torchconnector.dcp.s3_file_system import S3FileSystem
from s3dlio.compat.s3torchconnector.dcp.s3_prefix_strategy import (
    BinaryPrefixStrategy,
    DefaultPrefixStrategy,
    HexPrefixStrategy,
    NumericPrefixStrategy,
    RoundRobinPrefixStrategy,
    S3PrefixStrategyBase,
)
from s3dlio.compat.s3torchconnector.dcp.storage import S3StorageReader, S3StorageWriter

__all__ = [
    "BinaryPrefixStrategy",
    "DefaultPrefixStrategy",
    "HexPrefixStrategy",
    "NumericPrefixStrategy",
    "RoundRobinPrefixStrategy",
    "S3FileSystem",
    "S3PrefixStrategyBase",
    "S3StorageReader",
    "S3StorageWriter",
]
