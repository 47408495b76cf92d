"""Two endpoints, each held back to a rate, against one of them: ``python -m perf.endpoints``.

The servers are doors to one store (``tests.servers.memory_s3``); each lets so many bytes of bodies through in a second.
Rounds take turns. What is wanted is twice the rate of one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from s3dlio import Client
from tests.servers.memory_s3 import MemoryS3

MIB = 1 << 20
SMALL, COUNT = MIB, 240


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="MiB/s of each endpoint")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategy", default="round_robin")
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        one = stack.enter_context(MemoryS3(rate=asked.rate * MIB))
        other = stack.enter_context(MemoryS3(beside=one, rate=asked.rate * MIB))
        free = stack.enter_context(MemoryS3(beside=one))
        for name, value in one.env.items():
            os.environ[name] = value
        del os.environ["AWS_ENDPOINT_URL"]
        data = os.urandom(COUNT * SMALL)
        with Client(endpoint_url=free.endpoint) as client:
            client.put_many([(f"s3://b/d/{at}", data[at * SMALL : (at + 1) * SMALL]) for at in range(COUNT)])
            client.put_bytes("s3://b/large", data)
        alone = stack.enter_context(Client(endpoint_url=one.endpoint))
        both = stack.enter_context(
            Client(endpoints=[one.endpoint, other.endpoint], load_balance_strategy=asked.strategy)
        )
        print(f"{asked.strategy}, {asked.rate} MiB/s each; MiB/s, CPU s/GiB: one endpoint, two, ratio of rates")
        for name, work in ways(data).items():
            print(f"{name:24}", *compared(work, alone, both, len(data), asked.rounds))
    return 0


def ways(data: bytes) -> dict[str, Callable[[Client], object]]:
    """What is done with ``COUNT`` MiB."""
    uris = [f"s3://b/d/{at}" for at in range(COUNT)]
    pieces = [data[at * SMALL : (at + 1) * SMALL] for at in range(COUNT)]
    ranges, parts = {"chunk": 4 * MIB, "threshold": 8 * MIB}, {"part_size": 5 * MIB}
    return {
        "get_many of 1 MiB": lambda client: client.get_many(uris, max_in_flight=16),
        "put_many of 1 MiB": lambda client: client.put_many(zip(uris, pieces, strict=True), max_in_flight=16),
        "get of 240 MiB": lambda client: _like(client, range=ranges).get("s3://b/large"),
        "put of 240 MiB": lambda client: _like(client, multipart=parts).put_bytes("s3://b/large", data),
    }


def _like(client: Client, **sections: dict[str, int]) -> Client:
    return Client(client.settings, **sections)  # type: ignore[arg-type]


def compared(
    work: Callable[[Client], object], alone: Client, both: Client, size: int, rounds: int
) -> tuple[str, str, str]:
    """Rates and CPU time of one endpoint and of two, and the median of the rounds' ratios."""
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(rounds):
        for number, client in enumerate((alone, both)):
            wall, cpu = time.perf_counter(), time.process_time()
            work(client)
            found[number].append((time.perf_counter() - wall, time.process_time() - cpu))
    ratio = statistics.median(one[0] / two[0] for one, two in zip(*found, strict=True))
    shown = [
        f"{size / MIB / statistics.median(wall for wall, _ in each):.0f} MiB/s "
        f"{statistics.median(cpu for _, cpu in each) / size * (1 << 30):.2f}"
        for each in found
    ]
    return shown[0], shown[1], f"x{ratio:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
