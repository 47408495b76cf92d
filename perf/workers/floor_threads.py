"""The floor over cores: as many Python threads as the process has CPUs, each receiving into one buffer, or sending.

Requests are unsigned, answers are hardly read. A single object is read in as many ranges.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from floor import Connection, Floor
from protocol import serve


class ThreadedFloor(Floor):
    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        threads = len(os.sched_getaffinity(0))
        if len(keys) == 1:
            step = -(-size // threads)
            ranges = [(start, min(start + step, size) - 1) for start in range(0, size, step)]
            requests = [self._ranged(keys[0], f"{first}-{last}") for first, last in ranges]
            return self._spread(requests, b"", step, threads)
        return self._spread([self._request("GET", key) for key in keys], b"", size, threads)

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        requests = [self._request("PUT", key, len(data)) for key in keys]
        self._spread(requests, data, 0, len(os.sched_getaffinity(0)))
        return len(keys) * len(data)

    def _ranged(self, key: str, wanted: str) -> bytes:
        return self._request("GET", key).replace(b"\r\n\r\n", f"\r\nRange: bytes={wanted}\r\n\r\n".encode())

    def _spread(self, requests: list[bytes], data: bytes, size: int, threads: int) -> int:
        left = iter(requests)
        body = memoryview(data)

        def run(connection: Connection) -> int:
            seen = 0
            for request in left:
                connection.begin(request, body)
                whole: Any = connection.receive()
                while not whole:
                    whole = connection.receive(socket.MSG_WAITALL if connection.expected else 0)
                seen += connection.body
            return seen

        while len(self.connections) < threads:
            self.connections.append(Connection(self.address, size, blocking=True))
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(run, self.connections[:threads]))


if __name__ == "__main__":
    serve(ThreadedFloor)
