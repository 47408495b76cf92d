"""Savers that share a directory of files: a save in the middle of another one on the same thread, forks in the middle,
file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3dlio import Client
from s3dlio.checkpoint import lock
from s3dlio.checkpoint.store import CheckpointStore
from s3dlio.errors import TransferTimeoutError
from tests.faults.checkpoint_child import WAYS
from tests.faults.test_checkpoint_states import check_whole, loaded


def in_the_middle(uri: str, step: int, number: int, act: Callable[[], None]) -> bool:
    """Save ``step``, and ``act`` when so many of its operations have ended; whether there were so many."""
    client = Client()
    left = [number]

    def observe(seen: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    client.add_observer(observe)
    WAYS["whole"](CheckpointStore(uri, client=client), step)
    return left[0] <= 0


@pytest.mark.parametrize("other", [4, 6])
@pytest.mark.parametrize("scheme", ["file", "direct"])
def test_a_save_within_a_save(tmp_path: Path, scheme: str, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler does it. Neither waits for the other, and the higher step is the latest."""
    monkeypatch.setattr(lock, "_SECONDS", 0.0)
    number, reached = 0, True
    while reached:
        number += 1
        uri = f"{scheme}://{tmp_path}/{number}"
        store = CheckpointStore(uri, client=Client())
        WAYS["whole"](store, 1)
        reached = in_the_middle(uri, 5, number, lambda store=store: WAYS["whole"](store, other))
        assert check_whole(store) == ({1, 5, other} if reached else {1, 5})
        assert loaded(store) == (max(5, other) if reached else 5)
    assert number > 5


def test_a_delete_within_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SECONDS", 0.0)
    number, reached = 0, True
    while reached:
        number += 1
        uri = f"file://{tmp_path}/{number}"
        store = CheckpointStore(uri, client=Client())
        WAYS["whole"](store, 1)

        def save_and_delete(store: CheckpointStore = store) -> None:
            WAYS["whole"](store, 6)
            store.delete_checkpoint(6)

        reached = in_the_middle(uri, 5, number, save_and_delete)
        assert check_whole(store) == {1, 5}
        assert loaded(store) == 5


def test_a_child_that_is_forked_in_the_middle_holds_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SECONDS", 0.0)
    children = []

    def fork() -> None:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)

    number, reached = 0, True
    try:
        while reached:
            number += 1
            reached = in_the_middle(f"file://{tmp_path}", number, number, fork)
        WAYS["whole"](CheckpointStore(f"file://{tmp_path}"), number + 1)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert len(children) == number - 1 > 5


def test_another_process_that_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SECONDS", 0.0)
    store = CheckpointStore(f"file://{tmp_path}")
    WAYS["whole"](store, 1)
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(TransferTimeoutError, match="locked"):
        WAYS["whole"](store, 2)
    os.close(fd)
    assert loaded(store) == 1
    assert check_whole(store) == {1, 2}
    WAYS["whole"](store, 3)
    assert loaded(store) == 3


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    store = CheckpointStore(f"file://{tmp_path}")
    WAYS["whole"](store, 1)
    WAYS["ranks"](store, 2)
    assert loaded(store) == 2
