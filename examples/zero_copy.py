"""Objects as arrays without a copy: numpy, read into an array of one's own, and JAX where it is installed.

Shows: the bytes of an object are written once, by the kernel, and arrays lie over that memory.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/zero_copy.py                  # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import time

import numpy as np

import s3dlio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--megabytes", type=int, default=16)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/array.bin"
    stored = np.random.default_rng(1).random(args.megabytes * 125_000)
    s3dlio.put_bytes(uri, stored)  # anything with a buffer

    view = s3dlio.get(uri)
    array = np.frombuffer(view, stored.dtype)  # over the memory that the kernel wrote: read-only
    same_memory = np.shares_memory(array, np.frombuffer(view, np.uint8))
    print(f"get: {array.nbytes:,} bytes, equal: {np.array_equal(array, stored)}, no copy: {same_memory}")

    mine = np.empty_like(stored)
    s3dlio.get_into(uri, mine)  # straight into memory of one's own, which may be written to
    print(f"get_into: equal: {np.array_equal(mine, stored)}, writable: {mine.flags.writeable}")

    tail = s3dlio.get_range(uri, stored.nbytes - 8 * 1000)
    print(f"get_range: the last 1,000 numbers are equal: {np.array_equal(np.frombuffer(tail), stored[-1000:])}")

    try:
        import jax
    except ImportError:
        print("jax is not installed: pip install 's3dlio[jax]'")
        return
    began = time.perf_counter()
    on_device = jax.device_put(np.frombuffer(s3dlio.get(uri), np.float32))
    on_device.block_until_ready()
    print(f"jax: {on_device.shape} on {on_device.device}, {time.perf_counter() - began:.3f} s with the read")


if __name__ == "__main__":
    main()
