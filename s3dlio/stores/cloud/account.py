"""What stores need of an account, on any cloud."""

from __future__ import annotations

from typing import Protocol

from s3dlio.config.settings import Settings


class Account(Protocol):
    """Credentials and endpoint, with the settings that they were found in."""

    settings: Settings

    def root_of(self, container: str) -> str:
        """The URI of one of its containers, where no other is given."""
