"""The driver for a single call: a blocking exchange on the caller's own thread.

A blocking receive with MSG_WAITALL fills a 64 MiB buffer in one system call (a non-blocking one takes 7,000), and
nothing is handed from thread to thread. A call that becomes several requests (ranges, parts) runs a lane in place.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from functools import partial
from typing import Any

from s3dlio.memory.waiting import Waiting
from s3dlio.net import faults, system
from s3dlio.net.attempts import delay_after, found_stale, retry_after_drop
from s3dlio.net.balancer import Spare
from s3dlio.net.cancellation import CancelScope, CleanupDeadline, Rest, cancel_scope
from s3dlio.net.connection import Connection, asking
from s3dlio.net.exchange import CONTINUE_SECONDS, SCRATCH, Exchange
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.lane import Lane
from s3dlio.net.message import Pause, Request, Spreader
from s3dlio.net.paused import Paused
from s3dlio.net.pool import with_room
from s3dlio.net.response import Response

#: Seconds after which a thread that waits for room at a server looks again, unasked.
_GATE_SECONDS = 1.0

#: Scratch memory that no exchange uses. It does not belong to a thread: a signal handler, a finaliser or a sink may
#: make a call in the middle of another one on the same thread. Taking and giving back are atomic steps of a deque.
_spare: deque[tuple[bytearray, memoryview]] = deque(maxlen=64)


def drive(
    steps: Any, window: int = 32, spent: float = 0.0, spare: Spare | None = None, scope: CancelScope | None = None
) -> Any:
    """Run an operation (``Steps``) to its end; its concurrent requests go ``window`` at a time.

    A failure, also Ctrl-C, is thrown into the operation, which may still ask for requests that clean up: these have
    as much time as the operation itself, and ``GRACE_SECONDS`` after Ctrl-C or a cancellation.

    Args:
        steps: the operation.
        window: requests in pending, at most.
        spent: seconds of the time for the whole operation that have passed.
        spare: gives other lanes, for large bodies.
        scope: gives it up; None: the awaited call around it.
    """
    started = system.monotonic() - spent
    failed = False
    scope = cancel_scope.get() if scope is None else scope
    try:
        wanted = next(steps)
        while True:
            try:
                answer: Any = None
                if type(wanted) is Request:
                    answer = _perform(wanted, window, started, scope, spare)
                elif type(wanted) is Pause:
                    _sleep(wanted.seconds, scope)
                elif type(wanted) is Waiting:
                    wanted.wait()
                else:
                    answer = _gather(wanted, window, started, scope, spare)
            except BaseException as error:
                failed, started = True, started if failed else system.monotonic()
                given_up = scope is not None and scope.cancelled
                wanted = steps.throw(error)
                if given_up or not isinstance(error, Exception):
                    return _clean_up(steps, wanted, window)
            else:
                wanted = steps.send(answer)
    except StopIteration as stop:
        return stop.value


def _clean_up(steps: Any, wanted: Any, window: int) -> Any:
    """Run what is left of an operation that was given up; it cleans up, which is not cancelled, and takes
    ``GRACE_SECONDS`` at most, however silent the service is."""
    cancel_scope.set(None)
    outcomes: list[tuple[Any, BaseException | None]] = []
    Lane(window=window, cancel=CleanupDeadline()).run(
        [(0, Rest(steps, wanted))], lambda index, *outcome: outcomes.append(outcome)
    )
    result, error = outcomes.pop()
    if error is None:
        return result
    try:
        raise error
    finally:
        del error


def _gather(
    requests: Any, window: int, started: float, scope: CancelScope | None, spare: Spare | None
) -> list[Response]:
    return Lane(window=window, cancel=scope, started=started, spare=spare).gather(requests)


def _sleep(seconds: float, scope: CancelScope | None) -> None:
    if scope is None:
        system.sleep(seconds)
    else:
        scope.sleep(seconds)
        scope.check()


def perform(request: Request, window: int = 32, began: float = 0.0) -> Response:
    """Send one request, again where the policy says so, and return its answer.

    Args:
        request: what to send.
        window: requests in flight, at most, when its answer asks for more.
        began: the moment (``time.monotonic``) at which the operation began.
    """
    return _perform(request, window, began, cancel_scope.get())


def _perform(
    request: Request, window: int, began: float, scope: CancelScope | None, spare: Spare | None = None
) -> Response:
    service = request.service
    if service.policy.total_timeout is not None:
        return _gather([request], window, began, scope, spare)[0]  # a blocking receive has no deadline but its own
    attempt = 1
    fresh = False
    spread, exchange = service.spread, _exchange
    if spread is not None:
        exchange = _exchange_at_one
    while True:
        if spread is not None:
            _begin_at_one(spread, request, scope)
            service = request.service
        connection = service.pool.acquire_fresh() if fresh else service.pool.acquire()
        reused = connection.ready
        try:
            response = exchange(request, connection, window, scope, spare)
        except ConnectionDropped as fault:
            if scope is not None:
                scope.check()
            if fault.elsewhere:
                continue  # now, at another address
            if reused and found_stale(request, fault):
                fresh = True
                continue
            request, pause = retry_after_drop(request, fault, attempt, began, attempt + fresh)
        else:
            response.attempts = attempt + fresh
            if response.status < 400 and not request.wary:
                if attempt == 1:
                    service.policy.budget.earn()
                return response
            delay = delay_after(request, response, attempt, began)
            if delay is None:
                return response
            pause = delay
        _sleep(pause, scope)
        attempt += 1


def _exchange(
    request: Request, connection: Connection, window: int, scope: CancelScope | None, spare: Spare | None
) -> Response:
    """One attempt on one connection, which ends in its pool, closed, or with a lane."""
    exchange: Exchange | None = None
    reusable = goes_on = False
    try:
        scratch = _spare.pop()
    except IndexError:
        data = bytearray(SCRATCH)
        scratch = data, memoryview(data)
    try:
        if scope is not None:
            scope.enter(connection.end)
        if not connection.ready:
            with_room(connection.open)
            if scope is not None:
                scope.check()  # while a name was resolved, say, there was nothing to end
        connection.set_blocking(True)
        exchange = Exchange.kind(request, *scratch)
        asking.append(None)
        try:
            _send(exchange, connection)
            if not exchange.done:  # as it is where a body that was held back is refused
                exchange.receive(connection.receive)
        finally:
            if asking:  # which a fork in a signal handler may have emptied
                asking.pop()
        while not (exchange.done or exchange.more):
            exchange.receive(connection.receive)
        goes_on = bool(exchange.more)  # in its scratch
        reusable = exchange.done and exchange.reusable
    except OSError as error:
        fault: Exception = _unopened(request, connection, error) if exchange is None else exchange.fault(error)
        try:
            if fault is error:
                raise
            raise fault from error
        finally:
            del fault  # its traceback has this frame: the cycle would keep buffers leased
    finally:
        if scope is not None:
            scope.leave(connection.end)
        if not goes_on:
            _spare.append(scratch)
            request.service.pool.release(connection, reusable=reusable)
    if goes_on:
        return _finish_in_lane(exchange, connection, window, scope, spare)
    response = exchange.response
    assert response is not None
    return response


def _unopened(request: Request, connection: Connection, error: OSError) -> Exception:
    fault: Exception = connection.opening_fault(error)
    spread = request.service.spread
    return fault if spread is None else spread.end(request, None, fault, opened=False) or fault


def _begin_at_one(spread: Spreader, request: Request, scope: CancelScope | None) -> None:
    """Choose the server of the next attempt, and wait until one has room."""
    if spread.begin(request):
        return
    gate = system.mailbox()
    wake = partial(gate.put, None)
    if scope is not None:
        scope.enter(wake)
    try:
        while not spread.begin(request, wake):
            with contextlib.suppress(queue.Empty):
                gate.get(timeout=_GATE_SECONDS)
            if scope is not None:
                scope.check()
    except BaseException:
        spread.forget(request)
        if not gate.empty():  # it was woken, and has no use for it
            spread.wake_one()
        raise
    finally:
        if scope is not None:
            scope.leave(wake)


def _exchange_at_one(
    request: Request, connection: Connection, window: int, scope: CancelScope | None, spare: Spare | None
) -> Response:
    """As ``_exchange``, where several servers would do: what became of it is noted for this one."""
    spread, reused = request.service.spread, connection.ready
    assert spread is not None
    try:
        response = _exchange(request, connection, window, scope, spare)
    except BaseException as error:
        spread.end(request, None, error if isinstance(error, Exception) else None, reused=reused)
        raise
    spread.end(request, response, None)
    return response


def _send(exchange: Exchange, connection: Connection) -> None:
    """Send head and body; stop early when the server answers early."""
    try:
        while True:
            while pieces := exchange.outgoing:
                exchange.sent(connection.send(pieces))
                if exchange.outgoing:
                    connection.await_room()
            if not exchange.awaiting_continue:
                return
            _await_continue(exchange, connection)
    except (BrokenPipeError, ConnectionResetError, BlockingIOError, TimeoutError):
        # A server that refuses a body answers and closes, or reads no more: its answer may have come.
        if not system.wait_for_read(connection.sock, 0):
            raise


def _await_continue(exchange: Exchange, connection: Connection) -> None:
    """Hold the body back until the server answers, or for ``CONTINUE_SECONDS``."""
    deadline = system.monotonic() + CONTINUE_SECONDS
    connection.set_blocking(False)  # the bytes that come may be half a head, or a TLS record without data
    while exchange.awaiting_continue:
        try:
            exchange.received(connection.receive(exchange.room(), 0))
        except Paused as error:
            system.sleep(error.seconds)
        except faults.would_block:
            left = deadline - system.monotonic()
            if left <= 0 or not system.wait_for_read(connection.sock, left):
                exchange.proceed()
    connection.set_blocking(True)


def _finish_in_lane(
    exchange: Exchange, connection: Connection, window: int, scope: CancelScope | None, spare: Spare | None
) -> Response:
    """The head of the answer asks for more requests: a lane completes this exchange beside them."""
    return Lane(window=window, cancel=scope, spare=spare).finish(exchange, connection)
