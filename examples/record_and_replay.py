"""Record what a program does with storage, say what it shows, and do it again faster and elsewhere.

Shows: an op-log, its analysis, and a replay whose objects are made first.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/record_and_replay.py          # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import tempfile

import s3dlio


def work(uri: str) -> None:
    """What is recorded: a listing, and reads one after the other."""
    for name in s3dlio.list(uri):
        s3dlio.get(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--speed", type=float, default=2.0)
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    target = args.bucket + "/replayed/"

    with tempfile.TemporaryDirectory() as folder:
        data = s3dlio.generate_data(16 << 10)
        s3dlio.put_many([(f"{args.bucket}/work/{number:04}.bin", data) for number in range(args.objects)])
        log = f"{folder}/ops.tsv.zst"
        s3dlio.init_op_log(log)
        work(args.bucket + "/work/")
        s3dlio.finalize_op_log()

        report = s3dlio.analyze_op_logs(log).to_dict()
        print(f"recorded {report['records']} operations in {report['seconds']:.2f} s")
        for row in report["operations"]:
            latency = row["latency_ms"] or {}
            print(f"  {row['op']}: {row['count']} of {row['bytes']:,} bytes, p50 {latency.get('p50', 0):.2f} ms")
        for finding in report["findings"]:
            print(f"  {finding['kind']}: {finding['text']}")

        replayed = s3dlio.replay_op_log(log, target_uri=target, speed=args.speed, prepare=True).to_dict()
        late = s3dlio.replay_op_log(log, target_uri=target, closed_loop=True).to_dict()
        done = {name: row["count"] for name, row in replayed["operations"].items()}
        print(f"replayed at {args.speed} times the speed: {done}")
        print(f"as fast as its dependencies allow: {late['seconds']:.2f} s")


if __name__ == "__main__":
    main()
