"""Who asks, as s3torchconnector says it."""

from __future__ import annotations

import platform

import torch

from s3dlio._version import __version__


class UserAgent:
    """Names the versions of what runs, with comments. Requests carry the product's own name, not this.

    Args:
        comments: what else is said.
    """

    def __init__(self, comments: list[str] | None = None) -> None:
        if comments is not None and not isinstance(comments, list):
            raise ValueError("Argument comments must be a List[str]")
        self._comments = comments or []

    @staticmethod
    def get_default_prefix() -> str:
        """The text without comments."""
        return (
            f"s3dlio/{__version__} ua/2.1 os/{platform.system().lower()}#{platform.release()} "
            f"lang/python#{platform.python_version()} md/arch#{platform.machine().lower()} "
            f"md/pytorch#{torch.__version__}"
        )

    @property
    def prefix(self) -> str:
        """The whole text."""
        comments = "; ".join(filter(None, self._comments))
        return f"{self.get_default_prefix()} ({comments})" if comments else self.get_default_prefix()
