"""The interface of s3torchconnector 1.5 (Amazon S3 Connector for PyTorch), on every scheme.

Code that was written for it runs when its import is changed::

    from s3dlio.compat.s3torchconnector import S3Checkpoint, S3IterableDataset, S3MapDataset

``s3torchconnector.dcp`` and ``.lightning`` are here by the same names. See docs/s3torchconnector.md.
"""

from s3dlio.errors import MissingDependencyError, S3dlioError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("torch", "torch", "s3dlio.compat.s3torchconnector") from error

from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.s3checkpoint import S3Checkpoint
from s3dlio.compat.s3torchconnector.s3iterable_dataset import S3IterableDataset
from s3dlio.compat.s3torchconnector.s3map_dataset import S3MapDataset
from s3dlio.compat.s3torchconnector.s3reader import S3Reader, S3ReaderConstructor
from s3dlio.compat.s3torchconnector.s3writer import S3Writer
from s3dlio.memory.reader import BytesReader as _BytesViewIO  # noqa: F401 - loaders of DLIO import it

#: Every error of this package.
S3Exception = S3dlioError
#: What data sets give.
S3Item = S3Reader
#: Of s3torchconnector, whose interface this is.
__version__ = "1.5.0"

__all__ = [
    "S3Checkpoint",
    "S3Client",
    "S3ClientConfig",
    "S3Exception",
    "S3Item",
    "S3IterableDataset",
    "S3MapDataset",
    "S3Reader",
    "S3ReaderConstructor",
    "S3Writer",
    "__version__",
]
