"""s3dlio: this library, and the Rust package of the same name, by the functions that both have."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from protocol import Library, Target, serve

import s3dlio


class S3dlio(Library):
    """The calls of a script: get, get_many, put_many, stat, list."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        container = f"perf/{target.container}" if target.scheme == "az" else target.container
        self.root = f"{target.scheme}://{container}/"

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        if in_flight == 1:
            return sum(len(s3dlio.get(self.root + key)) for key in keys)
        uris = [self.root + key for key in keys]
        return sum(len(data) for _, data in s3dlio.get_many(uris, max_in_flight=in_flight))

    def read(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        _, seen = s3dlio.get_many_stats([self.root + key for key in keys], max_in_flight=in_flight)
        return seen

    def by_processes(self, keys: Sequence[str], in_flight: int) -> int:
        uris = [self.root + key for key in keys]
        found = s3dlio.get_many(uris, max_in_flight=in_flight, procs=len(os.sched_getaffinity(0)))
        return sum(len(data) for _, data in found)

    def download(self, container: str, in_flight: int) -> int:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as target:
            s3dlio.download(f"s3://{container}/", target, max_in_flight=in_flight, recursive=True)
            return sum(entry.stat().st_size for entry in os.scandir(target))

    def get_one(self, key: str) -> int:
        return len(s3dlio.get(self.root + key))

    async def get_awaited(self, key: str) -> int:
        return len(await s3dlio.get_async(self.root + key))

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        s3dlio.put_many([(self.root + key, data) for key in keys], max_in_flight=in_flight)
        return len(keys) * len(data)

    def stat(self, keys: Sequence[str]) -> int:
        return sum(s3dlio.stat(self.root + key)["size"] for key in keys)

    def list(self) -> int:
        return len(s3dlio.list(self.root, recursive=True))


if __name__ == "__main__":
    serve(S3dlio)
