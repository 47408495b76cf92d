"""Write a CSV and a compressed log piece by piece, as a training makes them, straight into a bucket.

Shows: s3dlio.open for text, a streaming writer with zstd, and that an exception leaves nothing behind. No file is
written on the disk, and memory does not grow with the object.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/stream_a_log.py               # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import csv
import math

import zstandard

import s3dlio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--steps", type=int, default=5000)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/logs/"

    with s3dlio.open(uri + "metrics.csv", "w", newline="") as file:  # appears whole at the end of the block
        rows = csv.writer(file)
        rows.writerow(["step", "loss"])
        rows.writerows((step, f"{math.exp(-step / 1000):.6f}") for step in range(args.steps))
    with s3dlio.open(uri + "metrics.csv", newline="") as file:
        last = list(csv.reader(file))[-1]
    print(f"metrics.csv: {s3dlio.stat(uri + 'metrics.csv')['size']:,} bytes; its last row: {last}")

    options = s3dlio.WriterOptions(compression="zstd", compression_level=3)
    with s3dlio.create_stream_writer(uri + "train.log", options) as log:
        for step in range(args.steps):
            log.write(f"2026-01-01T00:00:00Z INFO step {step}: loss {math.exp(-step / 1000):.6f}\n".encode())
    written, stored = log.stats()
    print(f"{log.uri}: {written:,} bytes written, {stored:,} stored")
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(bytes(s3dlio.get(log.uri))).splitlines()
    print(f"read back: {len(lines)} lines, the last one: {lines[-1].decode()}")

    try:
        with s3dlio.create_stream_writer(uri + "half.log") as log:
            log.write(b"half a line")
            raise RuntimeError("the training fails")
    except RuntimeError as error:
        print(f"{error}: half.log is there: {s3dlio.exists(uri + 'half.log')}")


if __name__ == "__main__":
    main()
