"""Millions of keys: ``python -m perf.keys [--keys N]``.

The names of N samples are packed (they are made up, not listed), and the manifest is stored on an S3 server in memory.
Then a new process opens it, as a worker of a training does, and reads its first shuffled batch of 32 objects: how long
after its start, what the URI of a sample costs (the first 20,000, whose blocks are fetched, and once they are at hand),
and how much memory it has of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from itertools import islice

from perf.contenders import ROOT
from s3dlio.client import Client
from s3dlio.loader.consumer import Consumer
from s3dlio.loader.key_manifest import Listed, write_manifest
from s3dlio.loader.keys import KeyPacker, MemoryKeys
from s3dlio.loader.progress import Progress
from tests.servers.memory_s3 import MemoryS3

WORKER = ROOT / "perf/workers/keys_process.py"
BASE = "s3://bucket/train/"


def packed(count: int) -> MemoryKeys:
    """Names as of ImageNet: a class, the class again, and a number that leaves gaps."""
    chance = random.Random(1)
    packer = KeyPacker(BASE)
    number, page = 0, []
    for made in range(count):
        number += chance.randrange(1, 8)
        page.append(f"n{made // 1300:08}/n{made // 1300:08}_{number:010}.JPEG")
        if len(page) == 10_000:
            packer.add(page)
            page = []
    packer.add(page)
    return packer.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=50_000_000)
    count = parser.parse_args().keys
    with MemoryS3() as server:
        os.environ.update(server.env)
        client = Client()
        cpu = time.process_time()
        keys = packed(count)
        made = time.process_time() - cpu
        print(f"{count:,} keys packed: {made:.1f} s of CPU, {len(keys.data) / count:.2f} bytes each")
        order = Progress(count, shuffle=True, seed=1).order(Consumer())
        client.put_many([(keys[sample], b"x" * 4096) for sample in islice(order, 512)])
        start = time.perf_counter()
        write_manifest(keys, "s3://bucket/keys/", client, Listed(BASE, None, 12))
        print(f"manifest of {len(keys.data) >> 20} MiB written in {time.perf_counter() - start:.2f} s")
        for _ in range(3):
            line = subprocess.check_output(
                [sys.executable, str(WORKER), "s3://bucket/keys/", repr(time.time())],
                env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
            )  # fmt: skip
            found = json.loads(line)
            print(
                f"worker: manifest open after {found['opened']:.2f} s, first batch after {found['first']:.2f} s, "
                f"{found['private']} MiB of its own; a URI costs {found['cold'][0]:.0f} us of CPU "
                f"({found['cold'][1]:.0f} us of time) at first, then {found['warm'][0]:.0f} ({found['warm'][1]:.0f})"
            )


if __name__ == "__main__":
    main()
