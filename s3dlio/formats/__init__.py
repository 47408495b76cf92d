"""What is in objects: NPY, NPZ, TFRecord, HDF5, Parquet, raw bytes. See docs/formats.md.

No I/O here: whatever concerns stored objects takes what reads and writes them as an argument (`read`, `write`,
`reader`), and the functions that users call with a URI are these with the library's own put in.
"""

from s3dlio.formats.npz import (
    build_multi_npz,
    build_npy,
    generate_npz_bytes,
    npz_names,
    read_npy_bytes,
    read_npz_arrays,
    read_npz_bytes,
)
from s3dlio.formats.objects import ObjectConfig, ObjectSource, ObjectStream, ObjectType, generate_object
from s3dlio.formats.parquet import generate_parquet_bytes, generate_parquet_bytes_schema, iter_parquet_bytes_schema
from s3dlio.formats.parquet_index import ParquetIndex
from s3dlio.formats.parquet_read import (
    RangeReader,
    parquet_cache_clear,
    parquet_cache_invalidate,
    parquet_cache_len,
    parquet_get_rg,
    parquet_rg_row_offsets,
)
from s3dlio.formats.tfrecord import (
    TFRecordWithIndex,
    build_tfrecord,
    build_tfrecord_with_index,
    create_tfrecord_index,
    get_tfrecord_index_entries,
    index_tfrecord_bytes,
    iter_tfrecords,
    parse_index,
    read_tfrecord_index,
    scan_tfrecord,
)

__all__ = [
    "ObjectConfig",
    "ObjectSource",
    "ObjectStream",
    "ObjectType",
    "ParquetIndex",
    "RangeReader",
    "TFRecordWithIndex",
    "build_multi_npz",
    "build_npy",
    "build_tfrecord",
    "build_tfrecord_with_index",
    "create_tfrecord_index",
    "generate_npz_bytes",
    "generate_object",
    "generate_parquet_bytes",
    "generate_parquet_bytes_schema",
    "get_tfrecord_index_entries",
    "index_tfrecord_bytes",
    "iter_parquet_bytes_schema",
    "iter_tfrecords",
    "npz_names",
    "parquet_cache_clear",
    "parquet_cache_invalidate",
    "parquet_cache_len",
    "parquet_get_rg",
    "parquet_rg_row_offsets",
    "parse_index",
    "read_npy_bytes",
    "read_npz_arrays",
    "read_npz_bytes",
    "read_tfrecord_index",
    "scan_tfrecord",
]
