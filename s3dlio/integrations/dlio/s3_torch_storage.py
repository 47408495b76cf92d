"""What DLIO calls ``storage/s3_torch_storage.py``, over s3dlio: the class has the name that DLIO looks for there."""

from __future__ import annotations

from s3dlio.integrations.dlio.s3dlio_storage import S3dlioStorage


class S3PyTorchConnectorStorage(S3dlioStorage):
    """The storage that DLIO takes for S3 with PyTorch; the connector of that name is not used."""
