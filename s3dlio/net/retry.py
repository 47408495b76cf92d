"""When to send a request again, and when not: one policy for all clouds.

Full-jitter exponential backoff; a server's Retry-After is honoured up to a cap; a token bucket for each server keeps a
sick service from being stormed (the idea of the AWS SDKs' standard retry mode: a retry costs 5 tokens, a time-out 10,
a success without a retry gives 1 back, the bucket holds 500).
"""

from __future__ import annotations

from s3dlio.config.sections import RetrySettings
from s3dlio.forking import ForkLock
from s3dlio.net import system
from s3dlio.net.dates import moment_of
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.response import Response

#: Statuses of throttling.
THROTTLED = frozenset({429, 503, 509})
#: Statuses after which the same request may succeed.
TRANSIENT = frozenset({408, 500, 502, 504}) | THROTTLED

#: Tokens in a full bucket.
CAPACITY = 500
_COST = 5
_TIMEOUT_COST = 10


class RetryBudget:
    """The token bucket of one server. Its arithmetic is approximate under threads, which does no harm: it only
    bounds how many retries a sick service gets."""

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = CAPACITY

    def spend(self, cost: int) -> bool:
        """Take ``cost`` tokens; False when there are too few."""
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True

    def earn(self) -> None:
        """A request has succeeded without a retry."""
        if self.tokens < CAPACITY:
            self.tokens += 1


class RetryPolicy:
    """Decides, for one store, whether and when a failed attempt is followed by another.

    Args:
        settings: attempts, delays, caps.
        total_timeout: seconds for an operation with all its requests, attempts and pauses; None: no limit.
        transient_codes: service error codes (in the body's ``<Code>``) that are transient whatever the status.
    """

    def __init__(
        self,
        settings: RetrySettings,
        total_timeout: float | None = None,
        transient_codes: frozenset[bytes] = frozenset(),
    ) -> None:
        self.settings = settings
        self.total_timeout = total_timeout
        self.budget = RetryBudget()
        self.transient_codes = transient_codes
        #: Whether a retry of this store has been logged.
        self.reported = False
        #: So many requests were sent again.
        self.retries = 0
        self._lock = ForkLock()

    def count_retry(self) -> None:
        """A request is sent again. From any thread."""
        with self._lock:
            self.retries += 1

    def is_transient(self, response: Response) -> bool:
        """Whether the same request may succeed later."""
        if response.status in TRANSIENT:
            return True
        if not self.transient_codes or not response.body:
            return False
        begin = response.body.find(b"<Code>")
        code = bytes(response.body[begin + 6 : response.body.find(b"</Code>", begin)]) if begin >= 0 else b""
        return code in self.transient_codes

    def after_response(
        self, response: Response, attempt: int, started: float, idempotent: bool = True
    ) -> float | None:
        """Seconds to wait before attempt ``attempt + 1``; None when the answer is final.

        A throttled request was refused before anything was done, so even one that is not idempotent may go again.
        """
        if not self.is_transient(response) or not (idempotent or response.status in THROTTLED):
            return None
        return self._allowed(attempt, self._delay(attempt, response), _COST, started)

    def after_drop(
        self, fault: ConnectionDropped, attempt: int, started: float, idempotent: bool = True
    ) -> float | None:
        """Seconds to wait after a connection failure; None when the failure is final.

        A request that is not idempotent goes again only if the server cannot have seen it.
        """
        if not idempotent and not fault.never_sent:
            return None
        cost = _TIMEOUT_COST if fault.timed_out else _COST
        return self._allowed(attempt, self._delay(attempt, None), cost, started)

    def _delay(self, attempt: int, response: Response | None) -> float:
        delay = backoff(self.settings, attempt)
        asked = retry_after(response) if response is not None else None
        # Beyond what was asked, or all that were refused together would come again together.
        return delay if asked is None else min(asked, self.settings.retry_after_cap) + delay

    def _allowed(self, attempt: int, delay: float, cost: int, started: float) -> float | None:
        if attempt >= self.settings.max_attempts or not self.budget.spend(cost):
            return None
        limit = self.total_timeout
        if limit is not None and system.monotonic() + delay - started > limit:
            return None
        return delay


def backoff(settings: RetrySettings, attempt: int) -> float:
    """Seconds to wait after attempt ``attempt`` (from 1 on): random, up to a limit that doubles."""
    return system.uniform(0, min(settings.max_delay, settings.base_delay * 2 ** (attempt - 1)))


def retry_after(response: Response) -> float | None:
    """The seconds that a Retry-After (or x-ms-retry-after-ms) asks for (RFC 9110, section 10.2.3)."""
    if text := response.header(b"x-ms-retry-after-ms"):
        return float(text) / 1000 if text.isdecimal() else None
    text = response.header(b"retry-after")
    if text is None:
        return None
    if text.isdecimal():
        return float(text)
    moment = moment_of(text)
    return None if moment is None else max(0.0, moment.timestamp() - system.time())

