"""Checkpoints that are one object each, for ``torch.save`` and ``torch.load``."""

from __future__ import annotations

from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader
from s3dlio.compat.s3torchconnector.s3writer import S3Writer
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri
from s3dlio.signatures import also_named


class S3Checkpoint:
    """Opens objects of any scheme for ``torch.save`` and ``torch.load``.

    Args:
        region, endpoint: of ``s3://``; None: as the settings say.
        s3client_config: how the service is talked to.
    """

    def __init__(
        self, region: str | None = None, endpoint: str | None = None, s3client_config: S3ClientConfig | None = None
    ) -> None:
        self.region = region
        self.endpoint = endpoint
        self._client = S3Client(region, endpoint, s3client_config)

    @also_named(uri="s3_uri")
    def reader(self, s3_uri: str) -> S3Reader:
        """A reader of an object; errors come when something is read.

        Raises:
            InvalidURIError: it is no URI; a ValueError too.
        """
        return self._client.get_object(*parse_s3_uri(s3_uri))

    @also_named(uri="s3_uri")
    def writer(self, s3_uri: str) -> S3Writer:
        """A writer of an object, which appears when it is closed.

        Raises:
            InvalidURIError: it is no URI; a ValueError too.
        """
        return self._client.put_object(*parse_s3_uri(s3_uri))
