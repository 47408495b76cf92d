"""The threads of batches: shared work, errors, cancelling, interrupts, forks, and the bound on bytes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.engine.admission import ByteBudget
from s3dlio.engine.cancel import AwaitToken, CancelToken, cancelled_by, surrounding_token
from s3dlio.engine.executor import BaseExecutor, Executor, InlineExecutor
from s3dlio.errors import ConfigError, TransferCancelledError
from s3dlio.forking import ForkLock

EXECUTORS: list[Callable[[], BaseExecutor]] = [lambda: Executor(4), lambda: Executor(1), InlineExecutor]


@pytest.fixture(params=EXECUTORS, ids=["four threads", "one thread", "inline"])
def executor(request: pytest.FixtureRequest) -> Iterator[BaseExecutor]:
    made: BaseExecutor = request.param()
    yield made
    made.shutdown()


def test_all_of_the_work_is_done_once(executor: BaseExecutor) -> None:
    feed = iter(range(1000))
    lock = threading.Lock()
    done: list[int] = []

    def work() -> None:
        while True:
            with lock:
                item = next(feed, None)
            if item is None:
                return
            done.append(item)

    executor.share(work, 8, CancelToken())
    assert sorted(done) == list(range(1000))


def test_the_caller_works_and_so_do_helpers() -> None:
    executor = Executor(2)
    together = threading.Barrier(3)
    names: set[str] = set()

    def work() -> None:
        names.add(threading.current_thread().name)
        together.wait(10)

    executor.share(work, 2, CancelToken())
    assert threading.current_thread().name in names
    assert len(names) == 3


def test_nested_work_cannot_deadlock(executor: BaseExecutor) -> None:
    counted: list[int] = []

    def outer() -> None:
        executor.share(lambda: counted.append(1), 3, CancelToken())
        counted.append(executor.submit(lambda: 1).result(10))

    executor.share(outer, 3, CancelToken())
    assert len(counted) >= 2


def test_the_first_error_cancels_and_is_raised(executor: BaseExecutor) -> None:
    cancel = CancelToken()

    def work() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        executor.share(work, 3, cancel)
    assert cancel.cancelled


def test_an_error_of_a_helper_is_raised_and_cancels_the_caller() -> None:
    executor = Executor(1)
    cancel = CancelToken()
    me = threading.current_thread()
    stopped = threading.Event()

    def work() -> None:
        if threading.current_thread() is not me:
            raise LookupError("the helper's")
        while not cancel.cancelled:
            stopped.wait(0.001)

    with pytest.raises(LookupError, match="the helper's"):
        executor.share(work, 1, cancel)


def test_an_interrupt_cancels_waits_for_the_others_and_is_raised() -> None:
    executor = Executor(1)
    cancel = CancelToken()
    me = threading.current_thread()
    started = threading.Event()
    left = threading.Event()

    def work() -> None:
        if threading.current_thread() is me:
            started.wait(10)
            raise KeyboardInterrupt
        started.set()
        while not cancel.cancelled:
            left.wait(0.001)
        left.set()

    with pytest.raises(KeyboardInterrupt):
        executor.share(work, 1, cancel)
    assert cancel.cancelled
    assert left.is_set()


@pytest.mark.parametrize("how", ["helpers", "submitted"])
def test_work_that_was_cancelled_holds_nothing_while_it_is_in_the_queue(how: str) -> None:
    """All threads are taken, so that nobody takes it out."""
    executor, busy, gate = Executor(1), threading.Event(), threading.Event()
    variable: ContextVar[object] = ContextVar("variable", default=None)

    def work() -> None:
        busy.set()
        assert gate.wait(30)

    class Memory:
        pass

    def hand_over() -> list[weakref.ref[Memory]]:
        used, of_context = Memory(), Memory()
        before = variable.set(of_context)

        def use() -> None:
            assert used

        if how == "helpers":
            executor.share(use, 1, CancelToken())
        else:
            assert executor.submit(use).cancel()
        variable.reset(before)
        return [weakref.ref(used), weakref.ref(of_context)]

    running = executor.submit(work)
    try:
        assert busy.wait(30)
        held = hand_over()
        gc.collect()
        assert [ref() for ref in held] == [None, None]
    finally:
        gate.set()
        running.result(30)
        executor.shutdown()


def test_submitted_work_gives_its_result_or_its_error(executor: BaseExecutor) -> None:
    assert executor.submit(lambda: 7).result(10) == 7

    def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        executor.submit(fail).result(10)


def test_an_executor_can_be_used_again_after_shutdown(executor: BaseExecutor) -> None:
    assert executor.submit(lambda: 1).result(10) == 1
    executor.shutdown()
    assert executor.submit(lambda: 2).result(10) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    executor = Executor(2)
    assert executor.submit(lambda: 1).result(10) == 1
    pid = os.fork()
    if pid == 0:
        done: list[int] = []
        executor.share(lambda: done.append(1), 1, CancelToken())
        os._exit(0 if executor.submit(lambda: 7).result(10) == 7 and done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_executor_has_at_least_one_thread() -> None:
    with pytest.raises(ConfigError):
        Executor(0)


_INTERRUPTED = """
import os, signal, sys, threading, time
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import Executor
cancel = CancelToken()
def work():
    if threading.current_thread() is not threading.main_thread():
        print("ready", flush=True)
    while not cancel.cancelled:
        time.sleep(0.001)
try:
    Executor(1).share(work, 1, cancel)
except KeyboardInterrupt:
    print("interrupted", cancel.cancelled, threading.active_count() <= 2)
"""


def test_ctrl_c_ends_a_batch() -> None:
    root = Path(s3dlio.__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED], stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert out == "interrupted True True\n"


# -- tokens


def test_a_token_keeps_its_first_reason() -> None:
    token = CancelToken()
    token.check()
    token.cancel("first")
    token.cancel("second")
    with pytest.raises(TransferCancelledError, match="first"):
        token.check()


def test_the_surrounding_token() -> None:
    token = AwaitToken()
    assert surrounding_token() is None
    assert cancelled_by(token, surrounding_token) is token
    assert surrounding_token() is None


# -- bytes in flight


def test_a_budget_lets_no_more_than_its_limit_pass() -> None:
    budget = ByteBudget(100)
    assert budget.take(60)
    assert not budget.take(60)
    assert budget.take(40)
    budget.release(60)
    assert budget.take(60)
    assert budget.in_flight == 100


def test_what_is_larger_than_the_budget_passes_alone() -> None:
    budget = ByteBudget(100)
    assert budget.take(1000)
    assert not budget.take(1)
    budget.release(1000)
    assert budget.take(1)
    assert not budget.take(1000)


def test_acquire_waits_for_a_release() -> None:
    budget = ByteBudget(100)
    assert budget.acquire(100, CancelToken())
    passed = threading.Event()

    def late() -> None:
        assert budget.acquire(50, CancelToken())
        passed.set()

    thread = threading.Thread(target=late)
    thread.start()
    assert not passed.is_set()
    budget.release(100)
    thread.join(10)
    assert passed.is_set()
    assert budget.in_flight == 50


def test_waiting_for_bytes_can_be_cancelled() -> None:
    budget = ByteBudget(1)
    token = CancelToken()
    assert budget.acquire(1, token)
    token.cancel("enough")
    assert not budget.acquire(1, token)
    assert budget.in_flight == 1


def test_a_budget_has_room() -> None:
    with pytest.raises(ConfigError):
        ByteBudget(0)


def test_a_batch_in_the_middle_of_the_start_of_another_does_its_work_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler or a finaliser began it, and the standard library's locks are held."""
    executor, done, within = Executor(4), [], 0
    submit = ThreadPoolExecutor.submit

    def struck(self: Any, work: Any) -> Any:
        nonlocal within
        within += 1
        assert within == 1
        executor.share(lambda: done.append("nested"), 2, CancelToken())
        assert executor.submit(lambda: "nested too").result() == "nested too"
        within -= 1
        return submit(self, work)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", struck)
    executor.share(lambda: done.append("outer"), 1, CancelToken())
    executor.shutdown()
    assert sorted(done)[:2] == ["nested", "outer"]


def test_a_lock_may_be_taken_again_by_the_thread_that_holds_it() -> None:
    lock = ForkLock()
    with lock, lock:
        assert lock.acquire(blocking=False)
        lock.release()
        seen: list[bool] = []
        other = threading.Thread(target=lambda: seen.append(lock.acquire(blocking=False)))
        other.start()
        other.join()
        assert seen == [False]
