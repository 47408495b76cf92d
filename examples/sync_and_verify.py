"""Keep a local data set and a bucket the same, and verify it.

Shows: sync (only what is missing, changed or surplus is touched), a dry run before it, and check.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/sync_and_verify.py            # or: --folder ./data --bucket gs://mine
"""

import argparse
import sys
import tempfile
from pathlib import Path

import s3dlio


def make_files(folder: Path, count: int) -> None:
    """A small tree of files."""
    for number in range(count):
        path = folder / f"class-{number % 4}" / f"{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"sample {number}\n" * 100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="default: a small tree in a temporary folder, which is changed")
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    args = parser.parse_args()

    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/synced/"
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if args.folder is None:
            make_files(folder, 40)
        source = f"{folder}/"

        first = s3dlio.sync(source, uri, delete=True)
        print(f"first: {first.succeeded} files, {first.bytes:,} bytes; {first.deleted} surplus objects deleted")
        if args.folder is None:
            (folder / "class-0" / "0000.txt").write_text("changed\n")
            (folder / "class-1" / "0001.txt").unlink()
            planned = s3dlio.sync(source, uri, delete=True, dry_run=True)
            print(f"dry run: {planned.attempted} would be written, {planned.deleted} deleted")
        again = s3dlio.sync(source, uri, delete=True)
        print(f"again: {again.succeeded} written, {again.deleted} deleted, {again.skipped} left as they are")

        checked = s3dlio.check(source, uri, download=True)
        print(f"verified: {checked.same} the same; identical: {checked.identical}")
        return 0 if checked.identical else 1


if __name__ == "__main__":
    sys.exit(main())
