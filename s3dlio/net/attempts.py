"""What follows a failed attempt of a request, in both drivers: another attempt after a pause, or the final error."""

from __future__ import annotations

import logging

from s3dlio.errors import S3dlioError
from s3dlio.masking import redact
from s3dlio.net.faults import ConnectionDropped, final_error
from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.net.retry import THROTTLED

log = logging.getLogger("s3dlio.net")


def delay_after(request: Request, response: Response, attempt: int, started: float) -> float | None:
    """Seconds to wait before ``request`` is sent again after an answer; None when the answer is final."""
    policy = request.service.policy
    delay = policy.after_response(response, attempt, started, request.idempotent)
    if delay is not None:
        if response.status not in THROTTLED:
            request.perhaps_done = True
        policy.count_retry()
        delay = _unless_elsewhere(request, delay)
        _report(request, f"answered {response.status} {response.reason}".rstrip(), attempt, delay)
    return delay


def checked(request: Request, response: Response) -> Request | None:
    """The request to send in place of one that was answered, if there is one.

    Raises:
        S3dlioError: the answer is not an expected one.
    """
    instead = None if request.again is None else request.again(request, response)
    if instead is None and request.check is not None:
        request.check(response)
    return instead


def retry_after_drop(
    request: Request, fault: ConnectionDropped, attempt: int, started: float, sent: int
) -> tuple[Request, float]:
    """The request to send next after a connection failure, and the seconds to wait before it.

    Args:
        request: what failed.
        fault: how.
        attempt: the number of the attempt, as the policy counts.
        started: the moment (``time.monotonic``) of the first attempt.
        sent: how often the request was sent, for the error.

    Raises:
        NetworkError, TransferTimeoutError: there is no further attempt.
    """
    policy = request.service.policy
    delay = policy.after_drop(fault, attempt, started, request.idempotent)
    if delay is not None:
        delay = _unless_elsewhere(request, delay)
        _report(request, fault.reason, attempt, delay)
    rest = rest_of(request, fault)
    if delay is None or rest is None:
        raise _final(request, fault, sent) from fault
    if rest is not request and request.service.spread is not None:
        rest.flight = request.flight
    if not fault.never_sent:
        rest.perhaps_done = True
    policy.count_retry()
    return rest, delay


def _unless_elsewhere(request: Request, delay: float) -> float:
    """The pause before another attempt: none where it goes to a server that has not failed it."""
    spread = request.service.spread
    return 0.0 if spread is not None and spread.has_other(request) else delay


def _final(request: Request, fault: ConnectionDropped, sent: int) -> S3dlioError:
    error = final_error(fault, request.service.pool.name, sent)
    if request.service.spread is not None and (states := request.service.spread.states()):
        error.reason += f"; {states}"
    if getattr(request, "perhaps_done", False):
        fault.never_sent = False  # the last attempt was not, but an earlier one
    return error


def found_stale(request: Request, fault: ConnectionDropped) -> bool:
    """Whether a failure on a connection that had been idle only shows that the server had closed it: the request is
    sent once more on a new connection, at once, and that is not counted as an attempt."""
    stale = fault.untouched and not fault.timed_out and request.idempotent
    if stale:
        request.perhaps_done = True
    return stale


def rest_of(request: Request, fault: ConnectionDropped) -> Request | None:
    """The request that gets what ``fault`` left out: the same one, or one for the rest of a body that broke off.

    None: some bytes have left for a sink that cannot take them twice, and there is no way to ask for the rest alone.
    """
    answer = fault.response
    # The bytes of an error's body went to no sink: there is nothing to go on from.
    if answer is not None and answer.status in (200, 206) and request.sink is not None:
        if request.resume is not None and (rest := request.resume(answer, fault.received)) is not None:
            return rest
        if fault.received and (not request.sink.restartable or not request.begins):
            return None
    return request


def _report(request: Request, reason: str, attempt: int, delay: float) -> None:
    """Log a retry: the first one of a store as a warning, so that nobody waits without knowing for what."""
    policy = request.service.policy
    level, policy.reported = logging.INFO if policy.reported else logging.WARNING, True
    log.log(
        level, "%s %s%s: %s; attempt %d of at most %d follows in %.1f s",
        request.method, request.service.pool.name, request.path, redact(reason),
        attempt + 1, policy.settings.max_attempts, delay,
    )  # fmt: skip
