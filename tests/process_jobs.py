"""Jobs for worker processes, which import this module: calls that tell what they see, wait, fail, or kill."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from s3dlio.engine.process_job import Job, Work
from s3dlio.errors import ObjectNotFoundError, S3dlioError
from s3dlio.stores.call import Call
from s3dlio.stores.local.atomic import new_unfinished_name
from s3dlio.stores.memory import MemoryStore


class Deeds(Job):
    """Items are (what, argument)."""

    def call(self, item: tuple[str, Any]) -> tuple[Call[Any], None]:
        what, argument = item
        return Call(MemoryStore(), "TEST", what, lambda: getattr(self, what)(argument)), None

    def result(self, context: None, result: Any) -> Any:
        return result

    def echo(self, argument: Any) -> Any:
        return argument

    def surroundings(self, name: str) -> tuple[str | None, str, int]:
        mask = os.umask(0)
        os.umask(mask)
        return os.environ.get(name), os.getcwd(), mask

    def secret(self, argument: None) -> str | None:
        return self.session.settings.s3.secret_access_key

    def die(self, argument: None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def tell_and_wait(self, path: str) -> int:
        """Until there is a file, which only another worker finds there from the beginning."""
        if not Path(path).exists():
            self.note(os.getpid())
            while not Path(path).exists():
                time.sleep(0.01)
        return os.getpid()

    def clean_up(self, path: str) -> None:
        """Wait for an interrupt, and take a while to clean up: then there is a file."""
        try:
            self.note(os.getpid())
            while True:
                time.sleep(1)
        finally:
            time.sleep(0.3)
            Path(path).touch()

    def hang(self, argument: None) -> None:
        self.note(os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)

    def fail(self, argument: str) -> None:
        raise ObjectNotFoundError(argument, uri="s3://b/k", attempts=3) from S3dlioError("the cause")

    def fail_oddly(self, argument: None) -> None:
        class OddError(Exception):
            """No other process can import it."""

        raise OddError("odd")

    def log(self, argument: str) -> None:
        logging.getLogger("s3dlio.test").warning("%s", argument)


class LeavingJob(Job):
    """Items are (file URI, what to write): the first worker begins a file there and waits to be killed, others write
    nothing."""

    def call(self, item: tuple[str, Any]) -> tuple[Call[Any], None]:
        place = Path(item[0].removeprefix("file://")).parent
        marker = place.parent / "marker"
        if not marker.exists():
            marker.touch()
            (place / new_unfinished_name()).touch()
            self.note(os.getpid())
            signal.pause()
        return Call(MemoryStore(), "TEST", item[0], lambda: None), None

    def result(self, context: None, result: Any) -> None:
        return None


class DeedWork(Work):
    """The parent's half; the notes are process ids."""

    def __init__(self) -> None:
        super().__init__("tests.process_jobs", "Deeds")
        self.heard: list[int] = []

    def uri(self, item: tuple[str, Any]) -> str:
        return f"test://{item[0]}"

    def on_note(self, worker: Any, note: int) -> None:
        self.heard.append(note)
