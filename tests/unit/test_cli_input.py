"""What commands read may be a while in coming: signals end the waiting, at whatever moment they arrive."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3dlio.cli.streams import Input, open_input


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], None]], None]]:
    before = signal.getsignal(signal.SIGUSR1)

    def on(act: Callable[[], None]) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: act())

    yield on
    signal.signal(signal.SIGUSR1, before)


def test_all_of_it_is_read(tmp_path: Any) -> None:
    text = "\n".join(f"line {number}, gr\xfc\xdfe" for number in range(50_000))
    (tmp_path / "lines").write_text(text, encoding="utf-8")
    with open_input(str(tmp_path / "lines")) as file:
        assert file.read() == text
    with open_input(str(tmp_path / "lines")) as file:
        assert [line.rstrip("\n") for line in file] == text.split("\n")
    with pytest.raises(FileNotFoundError):
        open_input(str(tmp_path / "none"))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    with open_input(str(tmp_path / "lines")) as file:
        file.read(10)
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_signals_whose_handlers_go_on_interrupt_nothing(on_signal: Callable[[Callable[[], None]], None]) -> None:
    reading, writing = os.pipe()
    struck = threading.Semaphore(0)
    on_signal(struck.release)

    def strike() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert struck.acquire(timeout=20)
        os.write(writing, b"abc")
        os.close(writing)

    thread = threading.Thread(target=strike)
    with Input(reading) as file:
        thread.start()
        assert file.read() == b"abc"
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("size", [-1, 10])
def test_a_signal_that_arrives_just_before_the_waiting_ends_it(
    on_signal: Callable[[Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Its handler has been noted and cannot run before the system call, which would block for ever."""
    reading, writing = os.pipe()
    seen: list[Any] = []
    on_signal(lambda: None)

    class Poller:
        def __init__(self) -> None:
            self._poller = poll()
            self.register = self._poller.register

        def poll(self) -> Any:
            if not seen:
                os.kill(os.getpid(), signal.SIGUSR1)
                seen.append(self._poller.poll(20_000))
                os.write(writing, b"x")
                os.close(writing)
                return seen[0]
            return self._poller.poll(20_000)

    poll = select.poll
    monkeypatch.setattr(select, "poll", Poller)
    with Input(reading) as file:
        assert file.read(size) == b"x"
    assert seen[0]
    assert reading not in dict(seen[0])


def test_a_handler_that_raises_ends_the_waiting(on_signal: Callable[[Callable[[], None]], None]) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    reading, writing = os.pipe()
    on_signal(end)
    thread = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with Input(reading) as file:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            file.read()
    thread.join()
    os.close(writing)


def test_other_threads_read_as_ever() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    os.close(writing)
    found: list[bytes] = []
    with Input(reading) as file:
        thread = threading.Thread(target=lambda: found.append(file.read()))
        thread.start()
        thread.join()
    assert found == [b"abc"]
