"""Checkpoints of PyTorch Lightning, as s3torchconnector has them, on every scheme."""

from __future__ import annotations

from typing import Any

import torch

from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri
from s3dlio.compat.s3torchconnector.user_agent import UserAgent
from s3dlio.errors import MissingDependencyError

try:
    import lightning
    from lightning.pytorch.plugins.io import CheckpointIO
except ImportError as error:
    raise MissingDependencyError(
        "lightning", "torch", "S3LightningCheckpoint", hint="install it with: pip install lightning"
    ) from error

__all__ = ["S3LightningCheckpoint"]

#: From here on Lightning leaves ``weights_only`` to torch where nobody says.
_LEAVES_IT_TO_TORCH = (2, 6)


class S3LightningCheckpoint(CheckpointIO):
    """Saves and loads checkpoints of a ``Trainer``: its plugin.

    Args:
        region, endpoint: of ``s3://``; None: as the settings say.
        s3client_config: how the service is talked to.
    """

    def __init__(
        self, region: str | None = None, s3client_config: S3ClientConfig | None = None, endpoint: str | None = None
    ) -> None:
        self.region = region
        agent = UserAgent(["lightning", lightning.__version__])
        self._client = S3Client(region, endpoint, s3client_config, user_agent=agent)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str, storage_options: Any = None) -> None:
        """Save a checkpoint: whole, or not at all.

        Args:
            checkpoint: what is saved.
            path: a URI.
            storage_options: of other plugins; there are none.
        """
        with self._client.put_object(*_place(path)) as writer:
            torch.save(checkpoint, writer)

    def load_checkpoint(self, path: str, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: a URI.
            map_location: as of ``torch.load``.
            weights_only: as of ``torch.load``; None: as Lightning does.
        """
        if weights_only is None and _version(lightning.__version__) < _LEAVES_IT_TO_TORCH:
            weights_only = False
        with self._client.get_object(*_place(path)) as reader:
            loaded: dict[str, Any] = torch.load(reader, map_location, weights_only=weights_only)
        return loaded

    def remove_checkpoint(self, path: str) -> None:
        """Remove a checkpoint."""
        self._client.delete_object(*_place(path))

    def teardown(self) -> None:
        """Nothing is left open."""


def _place(path: object) -> tuple[str, str]:
    if not isinstance(path, str):
        kind = type(path).__name__
        raise TypeError(f"{kind!r} is not a supported type for 'path'. Must be a string formatted as an S3 uri.")
    return parse_s3_uri(path)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
