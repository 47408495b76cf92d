"""How large the parts of an object are: as the settings say, or larger where the service is far away and quick."""

from __future__ import annotations

from s3dlio.config.settings import Settings
from s3dlio.net import system
from s3dlio.net.message import Request
from s3dlio.net.response import Response

_MIB = 1 << 20
#: The wait for the answer to a part is at most this share of the time that its bytes take.
_WAIT = 1 / 8
#: Larger parts gain nothing, and a broken one costs more.
_LARGEST = 128 * _MIB


class Measured:
    """What uploads to one container have shown: how long the service takes to answer, and how quickly one connection
    sends."""

    def __init__(self) -> None:
        #: Seconds that a request without a body takes; the shortest lately.
        self.latency: float | None = None
        #: Bytes a second of one connection, of the last parts.
        self.rate: float | None = None

    def answered(self, seconds: float) -> None:
        """A request that moves next to nothing has taken so long."""
        self.latency = seconds if self.latency is None else min(seconds, 1.5 * self.latency)

    def timed(self, request: Request, size: int) -> Request:
        """The same request, which sends a part of ``size`` bytes now."""
        began, check = system.monotonic(), request.check

        def ended(response: Response) -> None:
            if check is not None:
                check(response)
            took = max(1e-6, system.monotonic() - began - (self.latency or 0.0))
            rate = size / took
            self.rate = rate if self.rate is None else self.rate + (rate - self.rate) / 4

        request.check = ended
        return request


def part_size_for(size: int, part_size: int, most_parts: int) -> int:
    """The size in bytes of the parts of an object of ``size`` bytes: ``part_size``, or, where ``most_parts`` of these
    are not enough, what it takes, in whole MiB."""
    return max(part_size, -(-size // (most_parts * _MIB)) * _MIB)


def effective_part_size(size: int, settings: Settings, most_parts: int, measured: Measured) -> int:
    """The same, by what was measured: parts are so large that the wait for each answer is a small share of its time,
    but not so large that fewer than ``multipart.max_in_flight`` are left. A ``multipart.part_size`` that was set stays.
    """
    limits = settings.multipart
    part = part_size_for(size, limits.part_size, most_parts)
    if measured.latency is None or measured.rate is None or settings.origin("multipart.part_size") != "default":
        return part
    wanted = min(measured.latency * measured.rate / _WAIT, size / limits.max_in_flight, _LARGEST)
    return max(part, int(wanted) // _MIB * _MIB)
