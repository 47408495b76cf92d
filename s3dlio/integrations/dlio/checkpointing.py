"""Checkpoints of DLIO: ``S3dlioCheckpointing`` is for ``checkpoint.checkpoint_mechanism_classname``."""

from __future__ import annotations

from typing import Any

import torch
from dlio_benchmark.checkpointing.pytorch_checkpointing import PyTorchCheckpointing

import s3dlio
from s3dlio.integrations.dlio.names import uri_of


class S3dlioCheckpointing(PyTorchCheckpointing):
    """Writes the checkpoints of PyTorch below a ``checkpoint_folder`` that is a URI, or a path, as they are made."""

    _instance: S3dlioCheckpointing | None = None

    @staticmethod
    def get_instance() -> S3dlioCheckpointing:
        """The only one, as DLIO asks for it."""
        if S3dlioCheckpointing._instance is None:
            S3dlioCheckpointing._instance = S3dlioCheckpointing()
        return S3dlioCheckpointing._instance

    def save_state(self, suffix: str, state: Any) -> None:
        """Write a part; it is there whole, or not at all."""
        with s3dlio.open(uri_of(self.get_name(suffix)), "wb") as file:
            torch.save(state, file)
