"""How far a command has come, where nobody sees it: for what it says when it is interrupted."""

from __future__ import annotations

from s3dlio.transfer.progress import NoProgress


class Counter(NoProgress):
    """Counts objects, and shows nothing.

    Args:
        title: what is done.
    """

    objects = 0

    def __init__(self, title: str) -> None:
        self.title = title

    def advance(self, objects: int, bytes: int) -> None:
        self.objects += objects

    def clear(self) -> None:
        """There is nothing to clear."""
