"""Await thousands of small reads at once, on one event loop and without a thread for any of them.

Shows: asyncio.gather over get_async, results as they come, and the batch call that does the same for less CPU.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/many_small_gets.py            # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import asyncio
import threading
import time

import s3dlio


async def read(uris: list[str]) -> None:
    """Three ways to read them all."""
    began, cpu = time.perf_counter(), time.process_time()

    def told(what: str) -> None:
        nonlocal began, cpu
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        print(f"{what}: {len(uris) / seconds:,.0f} objects/s, {used / len(uris) * 1e6:.0f} us of CPU each")
        began, cpu = time.perf_counter(), time.process_time()

    views = await asyncio.gather(*map(s3dlio.get_async, uris))
    told(f"gather ({sum(map(len, views)):,} bytes, {threading.active_count()} threads)")

    done = 0
    for finished in asyncio.as_completed([s3dlio.get_async(uri) for uri in uris]):
        done += len(await finished)
    told("as they come")

    pairs = await s3dlio.get_many_async(uris)
    told(f"get_many_async ({len(pairs)} in the order asked for)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--objects", type=int, default=2000, help="how many are made where there are fewer")
    parser.add_argument("--size", type=int, default=4096)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/small/"
    uris = [f"{uri}{number:06}" for number in range(args.objects)]
    missing = sorted(set(uris) - set(s3dlio.list(uri)))
    s3dlio.put_many([(uri, bytes(args.size)) for uri in missing])
    asyncio.run(read(uris))


if __name__ == "__main__":
    main()
