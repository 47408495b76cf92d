"""How far a command has come, for what it says when it is interrupted."""

from __future__ import annotations

from s3dlio.transfer.progress import NoProgress, ProgressBar


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


class CountingBar(ProgressBar):
    """A progress bar that can be asked how many objects it has seen."""

    objects = 0

    def advance(self, objects: int, bytes: int) -> None:
        super().advance(objects, bytes)
        self.objects += objects
