"""Checkpoints of ``torch.distributed.checkpoint`` on any store: a storage writer and a storage reader.

::

    import torch.distributed.checkpoint as dcp
    from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter

    dcp.save(state, storage_writer=S3dlioStorageWriter("s3://bucket/run/step-100"))
    dcp.load(state, storage_reader=S3dlioStorageReader("s3://bucket/run/step-100"))

The files are those of torch's ``FileSystemWriter``: its reader reads them, and so does that of s3torchconnector; ours
reads theirs. See docs/dcp.md.
"""

from s3dlio.checkpoint.dcp.reader import S3dlioStorageReader
from s3dlio.checkpoint.dcp.writer import S3dlioStorageWriter

__all__ = ["S3dlioStorageReader", "S3dlioStorageWriter"]
