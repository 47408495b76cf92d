"""Generate a data set of TFRecord files, stop an epoch in the middle, and go on with another number of ranks.

Shows: every record comes exactly once, though two ranks begin and three end the epoch; a state is a little JSON.

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/dataset_exactly_once.py       # or: --bucket gs://a-bucket-of-yours
"""

import argparse
import itertools
import json
from collections import Counter

import s3dlio


def make_dataset(uri: str, files: int, records: int) -> None:
    for file in range(files):
        numbers = range(file * records, (file + 1) * records)
        name = f"{uri}train-{file:05}.tfrecord"
        s3dlio.put_bytes(name, s3dlio.build_tfrecord([f"record {number}".encode().ljust(64) for number in numbers]))
        s3dlio.create_tfrecord_index(name)


def loader(uri: str, rank: int, ranks: int) -> s3dlio.BytesLoader:
    order = {"shuffle": True, "seed": 7, "shard_rank": rank, "shard_world_size": ranks}
    return s3dlio.create_async_loader(uri, {"format": "tfrecord", "batch_size": 8, **order})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--files", type=int, default=4, help="of 50 records each")
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/records/"
    if not s3dlio.list(uri):
        make_dataset(uri, args.files, 50)

    seen: Counter[bytes] = Counter()
    states = []
    for rank in range(2):  # two ranks, which stop after different numbers of batches
        training = loader(uri, rank, 2)
        for batch in itertools.islice(training, 3 + 2 * rank):
            seen.update(map(bytes, batch))
        states.append(training.state_dict())
    saved = json.dumps(states)
    print(f"stopped after {seen.total()} records; the states of both ranks take {len(saved)} bytes")

    for rank in range(3):  # three ranks go on
        training = loader(uri, rank, 3)
        training.load_state_dict(json.loads(saved))
        rest = [bytes(record) for batch in training for record in batch]
        seen.update(rest)
        print(f"rank {rank} of 3 reads {len(rest)} more")
    print(f"{len(seen)} records, each came {sorted(set(seen.values()))} times")


if __name__ == "__main__":
    main()
