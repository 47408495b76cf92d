"""What a listing that never seems to end takes of memory: ``python -m perf.endless``, or with another number of keys.

A simulated store lists so many keys, in pages of 1,000 with names of 44 characters; they are deleted as they are
listed, or compared with a second listing like it by a sync that finds nothing to do. Nothing leaves the process.
Printed are time, and the largest resident set of the process (``ru_maxrss``), each work in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence

from s3dlio.client import Client
from s3dlio.stores.base import KeyErrors
from s3dlio.stores.memory import MemoryStore
from s3dlio.transfer.delete import delete
from s3dlio.types import ListEntry, ListPage

ROOT = "memory://endless"
PAGE = 1000


class Endless(MemoryStore):
    """Lists ``objects`` keys that nobody has stored; deleting them counts them."""

    objects = 0
    deleted = 0

    def _list_page(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None
    ) -> tuple[ListPage, str | None]:
        first = int(token or 0)
        following = min(first + PAGE, self.objects)
        keys = [f"{prefix}{number:014}-a-name-of-the-usual-length" for number in range(first, following)]
        page = ListPage(keys, (), lambda: [ListEntry(key, 1, '"etag"', "2026-01-01T00:00:00Z") for key in keys])
        return page, str(following) if following < self.objects else None

    def _delete_many(self, keys: Sequence[str]) -> KeyErrors:
        self.deleted += len(keys)
        return []


def _delete(client: Client, store: Endless) -> int:
    done = delete(client, f"{ROOT}/p/", recursive=True).succeeded
    return done if done == store.deleted else -1


def _sync(client: Client, store: Endless) -> int:
    return client.sync(f"{ROOT}/p/", f"{ROOT}/q/").skipped


WORKS: dict[str, Callable[[Client, Endless], int]] = {"delete": _delete, "sync": _sync}


def _run(work: str, objects: int) -> None:
    with Client() as client:
        store = Endless(ROOT)
        store.objects = objects
        client.store_for = lambda uri: (store, str(uri)[len(ROOT) + 1 :])  # type: ignore[method-assign]
        began = time.perf_counter()
        done = WORKS[work](client, store)
        seconds = time.perf_counter() - began
    if done != objects:
        sys.exit(f"{work}: {done:,} of {objects:,} keys")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = objects / seconds
    print(f"{work:8} {objects:,} keys in {seconds:.0f} s, {rate:,.0f} a second; {largest:.0f} MiB resident")


def main() -> int:
    """Run the works, one after another; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="?", type=int, default=50_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--work", choices=[*WORKS], action="append", help="only this one")
    options = parser.parse_args()
    code = 0
    for work in options.work or WORKS:
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(work, options.keys))
        process.start()
        process.join()
        code = code or process.exitcode or 0
    return code


if __name__ == "__main__":
    sys.exit(main())
