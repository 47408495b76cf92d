"""Copy a bucket to another cloud, and prove that nothing is missing or different.

Shows: copy between any two schemes with a journal (a second start goes on where the first one ended), then check,
which compares sizes and checksums, and with download=True every byte.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/migrate_bucket.py             # or: --source s3://old --target gs://new
"""

import argparse
import sys
import tempfile
from pathlib import Path

import s3dlio


def main() -> int:
    folder = Path(tempfile.gettempdir())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--target", default=f"file://{folder}/s3dlio-migrated", help="likewise")
    parser.add_argument("--journal", default=str(folder / "s3dlio-migration.journal"), help="what has been done")
    parser.add_argument("--objects", type=int, default=50, help="how many are made where there are none")
    args = parser.parse_args()

    s3dlio.create_bucket(args.source)
    source, target = args.source + "/data/", args.target + "/data/"
    if not s3dlio.list(source):
        data = s3dlio.generate_data(20_000)
        names = (f"{source}part-{number % 3}/{number:04}.bin" for number in range(args.objects))
        s3dlio.put_many([(name, data[number:]) for number, name in enumerate(names)])
        print(f"made {args.objects} objects below {source}")

    copied = s3dlio.copy(source, target, recursive=True, create_bucket=True, journal=args.journal)
    print(f"copied {copied.succeeded} objects, {copied.bytes:,} bytes in {copied.seconds:.2f} s")
    if copied.skipped:
        print(f"{copied.skipped} were there already")

    checked = s3dlio.check(source, target, download=True)
    for difference in checked.differences:
        print(f"  {difference}")
    print(f"{checked.same} are the same byte for byte; identical: {checked.identical}")
    Path(args.journal).unlink(missing_ok=True)
    return 0 if checked.identical else 1


if __name__ == "__main__":
    sys.exit(main())
