"""How large bodies spread over lanes, shown where there are not the CPUs for it: ``python -m perf.lanes``.

Copying is simulated: each receive of a large body sleeps, without the interpreter's lock, for as long as a CPU that
copies at a fixed rate would take, and counts as computing. So a lane moves that rate at most, whatever the machine, and
several lanes show what they would with a CPU each. Sizes are a sixteenth of real ones, as is the most that one receive
takes, so that two real cores can carry it. Everything else is real: sockets, server, lanes, the rule.

For 1 to 8 CPUs: a batch of 128 bodies of 4 MiB with 16 in flight, one object of 64 MiB in 16 ranges, and a batch of
small bodies, which stays on one lane.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from perf.measure import say
from s3dlio.client import Client
from s3dlio.engine import lanes
from s3dlio.net import balancer, system
from s3dlio.net.exchange import Exchange
from s3dlio.net.sharing import SharingMultiplexer
from tests.servers.nginx import NginxServer

MIB = 1 << 20
#: Bytes a second that a simulated CPU copies. Small enough for two real cores to carry sixteen of them.
RATE = 60 * MIB
#: The most that one receive takes; what is shorter than half of it is no copying worth a sleep.
_MOST = 64 * 1024
#: The sizes of the rule, as all sizes here.
_SCALE = 16
CPUS = (1, 2, 4, 8)


class Simulated:
    """CPUs that copy at a fixed rate: what each thread has slept for that."""

    def __init__(self) -> None:
        self._copied: dict[int, float] = {}
        self._receive = Exchange.receive
        self.moved = 0
        self._lend = SharingMultiplexer.lend

    def install(self) -> None:
        """Have all lanes of this process copy so."""
        simulated = self

        def receive(exchange: Exchange, into: Callable[[memoryview, int], int]) -> bool:
            def some(room: memoryview, wanted: int) -> int:
                count = into(room[:_MOST], min(wanted, _MOST))
                if count >= _MOST // 2:
                    simulated._copy(count)
                return count

            return simulated._receive(exchange, some)

        def lend(multiplexer: SharingMultiplexer, *args: Any) -> bool:
            simulated.moved += 1
            return simulated._lend(multiplexer, *args)

        Exchange.receive = receive  # type: ignore[method-assign]
        balancer.LARGE //= _SCALE
        balancer._EACH //= _SCALE
        SharingMultiplexer.lend = lend  # type: ignore[method-assign]
        system.thread_time = lambda: simulated._clock(threading.get_ident())()
        system.thread_clock = lambda: simulated._clock(threading.get_ident())

    def _copy(self, count: int) -> None:
        seconds, thread = count / RATE, threading.get_ident()
        time.sleep(seconds)
        self._copied[thread] = self._copied.get(thread, 0.0) + seconds

    def _clock(self, thread: int) -> Callable[[], float]:
        return lambda: self._copied.get(thread, 0.0)


def _median(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    simulated = Simulated()
    with NginxServer() as server:
        for index in range(128):
            server.add_object(f"b/large/{index}", bytes(4 * MIB))
        server.add_object("b/one", bytes(64 * MIB))
        for index in range(2000):
            server.add_object(f"b/small/{index}", bytes(4096))
        simulated.install()
        many = [f"s3://b/large/{index}" for index in range(128)]
        small = [f"s3://b/small/{index}" for index in range(2000)]
        print(f"{'CPUs':>4}{'128 x 4 MiB':>14}{'of one CPU':>12}{'64 MiB':>14}{'of one CPU':>12}{'4 KiB':>12}")
        for cpus in CPUS:
            lanes.available_cpus = lambda cpus=cpus: cpus  # type: ignore[misc]
            s3 = {"endpoint_url": server.endpoint, "access_key_id": "a", "secret_access_key": "b", "region": "r"}
            with Client(s3=s3, range={"chunk": "4MiB", "threshold": "4MiB"}) as client:
                say(f"{cpus} CPUs")
                spare = client.stores.find("s3://b/one")[0]
                if cpus == 1:
                    spare.spare = None  # the caller's lane alone
                simulated.moved = 0
                rate = 512 / _median(lambda client=client: client.get_many_stats(many, 16), 3)  # type: ignore[misc]
                one = 64 / _median(lambda client=client: client.get("s3://b/one"), 3)  # type: ignore[misc]
                moved = simulated.moved
                rest = 2000 / _median(lambda client=client: client.get_many_stats(small, 32), 3)  # type: ignore[misc]
                assert simulated.moved == moved
            shares = rate * MIB / RATE, one * MIB / RATE
            print(f"{cpus:>4}{rate:>8,.0f} MiB/s{shares[0]:>12.1f}{one:>8,.0f} MiB/s{shares[1]:>12.1f}{rest:>10,.0f}/s")


if __name__ == "__main__":
    main()
