"""Read a Parquet file in S3 by row groups: some columns of one, and all as samples of a loader.

Shows: one ranged read for a row group, the index of rows without I/O, a shuffled loader. Needs s3dlio[parquet].

    python -m tests.servers run moto              # a local S3 (another terminal): export what it prints
    python examples/parquet_row_groups.py         # or: --bucket gs://a-bucket-of-yours
"""

import argparse

import pyarrow as pa

import s3dlio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", default="s3://examples", help="of any scheme; made if missing")
    parser.add_argument("--rows", type=int, default=1000, help="of each of 8 row groups, where there is no file yet")
    args = parser.parse_args()
    s3dlio.create_bucket(args.bucket)
    uri = args.bucket + "/table/part-0.parquet"
    if not s3dlio.exists(uri):
        s3dlio.generate_and_write_parquet(uri, 4, args.rows, 8)

    firsts = s3dlio.parquet_rg_row_offsets(uri)
    print(f"{uri}: {s3dlio.stat(uri)['size']:,} bytes, {len(firsts) - 1} row groups, {firsts[-1]:,} rows")

    stream = s3dlio.parquet_get_rg(uri, 1, col_indices=[0, 2])  # two columns of the second row group
    table = pa.ipc.open_stream(pa.py_buffer(stream)).read_all()
    print(f"row group 1: {table.num_rows} rows of {table.column_names}")

    index = s3dlio.ParquetIndex()  # where rows lie, for data sets of many files
    index.ensure_indexed([uri])
    row = firsts[-1] // 2
    group, offset, length = index.rg_lookup(uri, row)
    print(f"row {row:,} is in row group {group}, bytes {offset:,} to {offset + length:,}")

    folder = uri.rpartition("/")[0] + "/"
    options = {"format": "parquet", "decode": "table", "shuffle": True, "seed": 1}
    groups, rows = [], 0
    for item in s3dlio.create_async_loader(folder, options):
        groups.append(item.rg_idx)
        rows += item.data.num_rows
    print(f"an epoch: row groups {groups}, {rows:,} rows")


if __name__ == "__main__":
    main()
