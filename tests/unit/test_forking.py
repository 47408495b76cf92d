"""A forked child never waits for a lock that nobody in it holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from urllib3.util.wait import wait_for_read

from s3dlio import forking
from s3dlio.forking import ForkLock
from s3dlio.net import resolve
from s3dlio.net.resolve import Resolution
from s3dlio.stores.cloud.tokens import Token, Tokens
from s3dlio.stores.s3.sigv4 import Credentials, SigV4Signer

PATIENCE = 20.0


def ends_in_child(work: Callable[[], object]) -> bool:
    """Whether ``work`` comes to its end in a forked child."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    threading.Timer(PATIENCE, os._exit, (1,)).start()
    work()
    os._exit(0)


def forked_while_held(hold: Callable[[Callable[[], None]], object], work: Callable[[], object]) -> bool:
    """The same, where another thread is in the middle of ``hold``."""
    inside, leave = threading.Event(), threading.Event()

    def middle() -> None:
        inside.set()
        leave.wait(PATIENCE)

    thread = threading.Thread(target=hold, args=(middle,))
    thread.start()
    assert inside.wait(PATIENCE)
    ended = ends_in_child(work)
    leave.set()
    thread.join()
    return ended


def test_a_lock_is_new_in_a_child() -> None:
    lock = ForkLock()

    def hold(middle: Callable[[], None]) -> None:
        with lock:
            middle()

    assert forked_while_held(hold, lock.acquire)
    with lock:  # the parent's works on
        pass


@pytest.mark.parametrize("kind", ["keys", "token"])
def test_a_fork_while_credentials_are_looked_up(kind: str) -> None:
    """Slow in real life: a program, a metadata service, a browser."""
    here = os.getpid()
    pause: list[Callable[[], None]] = []

    def look_up() -> None:
        if os.getpid() == here:
            pause[0]()

    def keys() -> Credentials:
        look_up()
        return Credentials("key", "secret")

    def token() -> Token[str]:
        look_up()
        return Token("text", 2e10)

    signer = SigV4Signer("host", "", "us-east-1", keys, False, "test")
    ask: Callable[[], object] = Tokens(token) if kind == "token" else lambda: signer._make_stamp(0, None)

    def hold(middle: Callable[[], None]) -> None:
        pause.append(middle)
        ask()

    assert forked_while_held(hold, ask)


def test_a_fork_does_not_keep_those_waiting_who_wait_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has a copy of every socket, also of the end whose closing was to tell that the name is resolved."""
    go = threading.Event()
    monkeypatch.setattr(resolve, "_look_up", lambda host, port: go.wait(PATIENCE) and [])
    monkeypatch.setattr(forking.native, "_patience", 0.0)
    waiter = Resolution("slow.example", 80).waiter()
    assert waiter is not None
    leave, left = os.pipe()
    child = os.fork()
    if not child:
        os.close(left)
        os.read(leave, 1)
        os._exit(0)
    go.set()
    assert wait_for_read(waiter, PATIENCE)
    os.close(left)
    os.close(leave)
    os.waitpid(child, 0)
    waiter.close()


def test_a_lock_that_the_forking_thread_holds_is_its_own_in_the_child() -> None:
    lock = ForkLock()

    def given_back() -> None:
        try:
            lock.release()
        except RuntimeError:
            os._exit(1)

    with lock:
        assert ends_in_child(given_back)


def test_an_interrupted_wait_before_a_fork_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(forking.native._changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            forking._before_fork()
        forking._after_fork()
    entered = threading.Event()

    def enter() -> None:
        with forking.native:
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    assert entered.wait(PATIENCE)
