"""The public names of s3dlio, each with the module that it lives in: the only list of them.

Type checkers and editors read it, and so does ``s3dlio/__init__.py``, when a name is first asked for.
"""

# ruff: noqa: I001 - the names stand in rows, not in five hundred lines

from s3dlio._version import __version__ as __version__

from s3dlio import (
    hardware as hardware, integrations as integrations, jax_tf as jax_tf, torch as torch,
)
from s3dlio.aio import (
    abort_uploads_async as abort_uploads_async, check_async as check_async, find_async as find_async,
    copy_async as copy_async, create_bucket_async as create_bucket_async,
    create_stream_writer_async as create_stream_writer_async, delete_async as delete_async,
    delete_bucket_async as delete_bucket_async, delete_many_async as delete_many_async,
    delete_versions_async as delete_versions_async,
    download_async as download_async, exists_async as exists_async, get_async as get_async,
    get_into_async as get_into_async, get_many_async as get_many_async,
    get_many_outcomes_async as get_many_outcomes_async, get_many_stats_async as get_many_stats_async,
    get_object_async as get_object_async, get_range_async as get_range_async, get_tags_async as get_tags_async,
    head_async as head_async, iter_many_async as iter_many_async, iterate_async as iterate_async,
    list_async as list_async, list_containers_async as list_containers_async,
    list_full_uris_async as list_full_uris_async, list_keys_async as list_keys_async,
    list_uploads_async as list_uploads_async, list_versions_async as list_versions_async, mkdir_async as mkdir_async,
    move_async as move_async, pre_stat_and_cache_async as pre_stat_and_cache_async, presign_async as presign_async,
    put_async as put_async, put_bytes_async as put_bytes_async, put_many_async as put_many_async,
    put_tags_async as put_tags_async, restore_version_async as restore_version_async, rmdir_async as rmdir_async,
    stat_async as stat_async,
    stat_many_async as stat_many_async, stat_object_async as stat_object_async, sync_async as sync_async,
    upload_async as upload_async,
)
from s3dlio.api import (
    abort_uploads as abort_uploads, check as check, configure as configure,
    configure_s3 as configure_s3, copy as copy, find as find,
    create_azure_writer as create_azure_writer,
    create_bucket as create_bucket, create_direct_filesystem_writer as create_direct_filesystem_writer,
    create_filesystem_writer as create_filesystem_writer, create_gcs_writer as create_gcs_writer,
    create_s3_writer as create_s3_writer, create_stream_writer as create_stream_writer, create_writer as create_writer,
    default_client as default_client, delete as delete, delete_bucket as delete_bucket, delete_many as delete_many,
    delete_versions as delete_versions,
    download as download, exists as exists, get as get, get_endpoint_stats as get_endpoint_stats,
    get_into as get_into, get_many as get_many,
    get_many_outcomes as get_many_outcomes, get_many_stats as get_many_stats, get_object as get_object,
    get_range as get_range, get_tags as get_tags, get_writer as get_writer,
    get_writer_with_compression as get_writer_with_compression, head as head, init_logging as init_logging,
    iter_many as iter_many, iterate as iterate, list as list, list_containers as list_containers,
    list_full_uris as list_full_uris, list_keys as list_keys,
    list_uploads as list_uploads, list_versions as list_versions, mkdir as mkdir, move as move, open as open,
    pre_stat_and_cache as pre_stat_and_cache, presign as presign, put as put, put_bytes as put_bytes,
    put_many as put_many, put_tags as put_tags, restore_version as restore_version, rmdir as rmdir,
    stat as stat, stat_many as stat_many,
    stat_object as stat_object, sync as sync, upload as upload,
)
from s3dlio.checkpoint.legacy import (
    PyCheckpointInfo as PyCheckpointInfo, PyCheckpointReader as PyCheckpointReader,
    PyCheckpointStore as PyCheckpointStore, PyCheckpointStream as PyCheckpointStream,
    PyCheckpointWriter as PyCheckpointWriter, create_checkpoint_reader as create_checkpoint_reader,
    create_checkpoint_writer as create_checkpoint_writer,
    finalize_distributed_checkpoint as finalize_distributed_checkpoint,
    load_checkpoint as load_checkpoint, load_checkpoint_with_validation as load_checkpoint_with_validation,
    load_checkpoint_with_validation_view as load_checkpoint_with_validation_view, save_checkpoint as save_checkpoint,
    save_distributed_shard as save_distributed_shard,
)
from s3dlio.checkpoint.reader import (
    CheckpointInfo as CheckpointInfo, CheckpointReader as CheckpointReader,
)
from s3dlio.checkpoint.store import (
    CheckpointStore as CheckpointStore,
)
from s3dlio.checkpoint.writer import (
    CheckpointWriter as CheckpointWriter,
)
from s3dlio.checkpoint.safetensors import (
    SafetensorsReader as SafetensorsReader, load_safetensors as load_safetensors, open_safetensors as open_safetensors,
)
from s3dlio.checkpoint.safetensors_consolidation import (
    consolidate_safetensors as consolidate_safetensors,
)
from s3dlio.checkpoint.safetensors_writer import (
    save_safetensors as save_safetensors, save_sharded_safetensors as save_sharded_safetensors,
)
from s3dlio.checkpoint.saved_model import (
    download_saved_model as download_saved_model, upload_saved_model as upload_saved_model,
)
from s3dlio.checkpoint.tensor_parts import (
    TensorPart as TensorPart,
)
from s3dlio.checkpoint.tree_loader import (
    load_tree as load_tree, tree_metadata as tree_metadata,
)
from s3dlio.checkpoint.trees import (
    save_tree as save_tree,
)
from s3dlio.client import (
    Client as Client,
)
from s3dlio.compat.frameworks import (
    _HAS_JAX_TF as _HAS_JAX_TF, _HAS_TORCH as _HAS_TORCH, ObjectStoreIterableDataset as ObjectStoreIterableDataset,
    ObjectStoreMapDataset as ObjectStoreMapDataset, S3IterableDataset as S3IterableDataset,
    S3MapDataset as S3MapDataset,
)
from s3dlio.compat.arrays import (
    load_array as load_array, load_numpy_array as load_numpy_array, save_array as save_array,
    save_numpy_array as save_numpy_array,
)
from s3dlio.compat.configs import (
    AzureConfig as AzureConfig, FileSystemConfig as FileSystemConfig, GcsConfig as GcsConfig,
    PageCacheMode as PageCacheMode, RangeEngineConfig as RangeEngineConfig, S3Config as S3Config,
)
from s3dlio.config.adaptive import (
    AdaptiveConfig as AdaptiveConfig, AdaptiveMode as AdaptiveMode, WorkloadType as WorkloadType,
)
from s3dlio.compat.forms import (
    configure_for_concurrency as configure_for_concurrency, list_keys_from_s3 as list_keys_from_s3,
    list_uris as list_uris, load_uris_from_file as load_uris_from_file, version as version,
)
from s3dlio.compat.loaders import (
    PyAsyncDataLoaderIter as PyAsyncDataLoaderIter, PyBytesAsyncDataLoaderIter as PyBytesAsyncDataLoaderIter,
    PyBytesDataLoaderSyncIter as PyBytesDataLoaderSyncIter, PyObjectDataLoaderSyncIter as PyObjectDataLoaderSyncIter,
    PyS3AsyncDataLoader as PyS3AsyncDataLoader, PyS3AsyncDataLoaderCompat as PyS3AsyncDataLoaderCompat,
    PyS3Dataset as PyS3Dataset, PyS3DatasetCompat as PyS3DatasetCompat,
)
from s3dlio.compat.multipart import (
    MultipartUploadWriter as MultipartUploadWriter,
)
from s3dlio.compat.store import (
    Store as Store, direct_io_store_for_uri as direct_io_store_for_uri,
    high_performance_store_for_uri as high_performance_store_for_uri, store_for_uri as store_for_uri,
    store_for_uri_with_config as store_for_uri_with_config,
    store_for_uri_with_high_performance_cloud as store_for_uri_with_high_performance_cloud,
    store_for_uri_with_logger as store_for_uri_with_logger, store_for_uri_with_options as store_for_uri_with_options,
)
from s3dlio.datagen import (
    DataSource as DataSource, Generator as Generator, GeneratorConfig as GeneratorConfig, XorStream as XorStream,
    default_data_gen_threads as default_data_gen_threads, fill_controlled_data as fill_controlled_data,
    generate_controlled_data as generate_controlled_data,
    generate_controlled_data_prand as generate_controlled_data_prand, generate_data as generate_data,
    generate_data_with_threads as generate_data_with_threads, generate_into_buffer as generate_into_buffer,
    py_default_data_gen_threads as py_default_data_gen_threads, py_total_cpus as py_total_cpus,
    total_cpus as total_cpus,
)
from s3dlio.errors import (
    AlreadyExistsError as AlreadyExistsError, BatchError as BatchError, BufferRefusedError as BufferRefusedError,
    ConfigError as ConfigError,
    CorruptDataError as CorruptDataError, CudaError as CudaError, EndpointError as EndpointError,
    ExportStillReferencedError as ExportStillReferencedError, IntegrityError as IntegrityError,
    InvalidURIError as InvalidURIError, IsDirectoryError as IsDirectoryError, ItemFailure as ItemFailure,
    LengthMismatchError as LengthMismatchError, LocalIOError as LocalIOError,
    MissingDependencyError as MissingDependencyError, NetworkError as NetworkError,
    ObjectChangedError as ObjectChangedError, ObjectNotFoundError as ObjectNotFoundError,
    OutOfMemoryError as OutOfMemoryError, OutcomeUnknownError as OutcomeUnknownError,
    PermissionDeniedError as PermissionDeniedError, PreconditionFailedError as PreconditionFailedError,
    OutOfRangeError as OutOfRangeError, ProtocolError as ProtocolError,
    RangeNotSatisfiableError as RangeNotSatisfiableError, S3dlioError as S3dlioError,
    ServiceError as ServiceError, StorageFullError as StorageFullError, ThrottledError as ThrottledError,
    TransferCancelledError as TransferCancelledError, TransferTimeoutError as TransferTimeoutError,
    UnsafeKeyError as UnsafeKeyError, UnsupportedOperationError as UnsupportedOperationError,
    WorkerDiedError as WorkerDiedError,
)
from s3dlio.formats import (
    ObjectConfig as ObjectConfig, ObjectSource as ObjectSource, ObjectStream as ObjectStream, ObjectType as ObjectType,
    TFRecordWithIndex as TFRecordWithIndex, build_multi_npz as build_multi_npz, build_npy as build_npy,
    build_tfrecord as build_tfrecord, build_tfrecord_with_index as build_tfrecord_with_index,
    generate_npz_bytes as generate_npz_bytes, generate_object as generate_object,
    generate_parquet_bytes as generate_parquet_bytes, generate_parquet_bytes_schema as generate_parquet_bytes_schema,
    get_tfrecord_index_entries as get_tfrecord_index_entries, index_tfrecord_bytes as index_tfrecord_bytes,
    iter_parquet_bytes_schema as iter_parquet_bytes_schema, iter_tfrecords as iter_tfrecords, npz_names as npz_names,
    parquet_cache_clear as parquet_cache_clear, parquet_cache_len as parquet_cache_len, parse_index as parse_index,
    read_npy_bytes as read_npy_bytes, read_npz_arrays as read_npz_arrays, read_npz_bytes as read_npz_bytes,
    scan_tfrecord as scan_tfrecord,
)
from s3dlio.compat.legacy import (
    configure_tokio_threads as configure_tokio_threads, gcs_get_channel_count as gcs_get_channel_count,
    gcs_get_rapid_mode as gcs_get_rapid_mode, gcs_query_rapid_bucket as gcs_query_rapid_bucket,
    gcs_set_channel_count as gcs_set_channel_count, gcs_set_rapid_mode as gcs_set_rapid_mode, get_by_key as get_by_key,
    mp_get as mp_get, object_capabilities as object_capabilities, parse_s3_uri_full as parse_s3_uri_full,
    stat_key as stat_key,
)
from s3dlio.jax_tf import (
    JaxIterable as JaxIterable, S3JaxIterable as S3JaxIterable, make_tf_dataset as make_tf_dataset,
)
from s3dlio.loader.batch import (
    get_batch as get_batch, get_batch_async as get_batch_async,
)
from s3dlio.loader.bytes_loader import (
    BytesLoader as BytesLoader, PyBytesAsyncDataLoader as PyBytesAsyncDataLoader,
)
from s3dlio.loader.cancelling import (
    CancelToken as CancelToken,
)
from s3dlio.loader.dataset import (
    Dataset as Dataset, PyDataset as PyDataset, PyVecDataset as PyVecDataset, VecDataset as VecDataset,
    create_dataset as create_dataset,
)
from s3dlio.loader.factory import (
    create_async_loader as create_async_loader,
)
from s3dlio.loader.items import (
    ObjectItem as ObjectItem, PyObjectItem as PyObjectItem,
)
from s3dlio.loader.key_listing import (
    create_key_manifest as create_key_manifest,
)
from s3dlio.loader.options import (
    LoaderOptions as LoaderOptions, PyLoaderOptions as PyLoaderOptions,
)
from s3dlio.loader.parquet_loader import (
    ParquetItem as ParquetItem, ParquetLoader as ParquetLoader, ParquetStreamIter as ParquetStreamIter,
    PyParquetItem as PyParquetItem, PyParquetStreamLoader as PyParquetStreamLoader,
)
from s3dlio.loader.pool_loader import (
    AsyncPoolDataLoader as AsyncPoolDataLoader, PoolLoader as PoolLoader, UnifiedDataLoader as UnifiedDataLoader,
    UnifiedLoader as UnifiedLoader,
)
from s3dlio.loader.sampler import (
    ElasticSampler as ElasticSampler,
)
from s3dlio.loader.value_loader import (
    PyAsyncDataLoader as PyAsyncDataLoader, ValueLoader as ValueLoader,
)
from s3dlio.loader.pool_config import (
    LoadingMode as LoadingMode, PoolConfig as PoolConfig,
)
from s3dlio.loader.tar_shards import (
    create_tar_index as create_tar_index, create_tar_index_async as create_tar_index_async,
    read_tar_index as read_tar_index, read_tar_index_async as read_tar_index_async,
)
from s3dlio.memory.view import (
    BytesView as BytesView,
)
from s3dlio.oplog.analysis.comparison import (
    compare_op_logs as compare_op_logs,
)
from s3dlio.oplog.analysis.perfetto import (
    write_op_log_trace as write_op_log_trace,
)
from s3dlio.oplog.analysis.run import (
    analyze_op_logs as analyze_op_logs,
)
from s3dlio.oplog.control import (
    finalize_op_log as finalize_op_log, init_op_log as init_op_log, is_op_log_active as is_op_log_active,
    op_log_stats as op_log_stats,
)
from s3dlio.oplog.identity import (
    get_client_id as get_client_id, get_clock_offset as get_clock_offset, set_client_id as set_client_id,
    set_clock_offset as set_clock_offset,
)
from s3dlio.oplog.reader import (
    read_op_log as read_op_log,
)
from s3dlio.oplog.replay.config import (
    ReplayConfig as ReplayConfig,
)
from s3dlio.oplog.replay.executor import (
    OpExecutor as OpExecutor, S3dlioExecutor as S3dlioExecutor,
)
from s3dlio.oplog.replay.replaying import (
    replay_op_log as replay_op_log, replay_workload as replay_workload,
)
from s3dlio.oplog.replay.report import (
    ReplayReport as ReplayReport,
)
from s3dlio.oplog.sorting import (
    sort_op_log as sort_op_log,
)
from s3dlio.config.settings import (
    Settings as Settings,
)
from s3dlio.api_formats import (
    ParquetIndex as ParquetIndex, PyParquetIndex as PyParquetIndex, create_tfrecord_index as create_tfrecord_index,
    create_tfrecord_index_async as create_tfrecord_index_async,
    generate_and_write_parquet as generate_and_write_parquet,
    generate_and_write_parquet_async as generate_and_write_parquet_async,
    generate_and_write_parquet_schema as generate_and_write_parquet_schema,
    generate_and_write_parquet_schema_async as generate_and_write_parquet_schema_async,
    generate_and_write_parquet_schema_streaming as generate_and_write_parquet_schema_streaming,
    generate_and_write_parquet_schema_streaming_async as generate_and_write_parquet_schema_streaming_async,
    parquet_cache_invalidate as parquet_cache_invalidate, parquet_get_rg as parquet_get_rg,
    parquet_get_rg_async as parquet_get_rg_async, parquet_rg_row_offsets as parquet_rg_row_offsets,
    parquet_rg_row_offsets_async as parquet_rg_row_offsets_async, read_npz as read_npz,
    read_npz_async as read_npz_async, read_tfrecord_index as read_tfrecord_index,
    read_tfrecord_index_async as read_tfrecord_index_async,
)
from s3dlio.multi_endpoint.store import (
    MultiEndpointStore as MultiEndpointStore,
)
from s3dlio.multi_endpoint.create import (
    create_multi_endpoint_store as create_multi_endpoint_store,
    create_multi_endpoint_store_from_env as create_multi_endpoint_store_from_env,
    create_multi_endpoint_store_from_file as create_multi_endpoint_store_from_file,
    create_multi_endpoint_store_from_template as create_multi_endpoint_store_from_template,
)
from s3dlio.streams.reserved_buffer import (
    ReservedBuffer as ReservedBuffer,
)
from s3dlio.streams.async_writer import (
    AsyncObjectWriter as AsyncObjectWriter,
)
from s3dlio.streams.writer import (
    ObjectWriter as ObjectWriter, PyObjectWriter as PyObjectWriter,
)
from s3dlio.streams.writer_options import (
    PyWriterOptions as PyWriterOptions, WriterOptions as WriterOptions,
)
from s3dlio.streams.writer_stats import (
    WriterStats as WriterStats,
)
from s3dlio.transfer.check import (
    Checked as Checked, CheckSummary as CheckSummary,
)
from s3dlio.transfer.find import (
    FoundObject as FoundObject,
)
from s3dlio.transfer.many_iterator import (
    ManyIterator as ManyIterator,
)
from s3dlio.transfer.summary import (
    TransferSummary as TransferSummary,
)
from s3dlio.types import (
    Conditions as Conditions, ListEntry as ListEntry, ObjectMetadata as ObjectMetadata, Observation as Observation,
    PutOptions as PutOptions,
)
from s3dlio.verbs.history import (
    IncompleteUpload as IncompleteUpload, ObjectVersion as ObjectVersion,
)
from s3dlio.uri_templates import (
    expand_uri_template as expand_uri_template, parse_uri_list as parse_uri_list, translate_uri as translate_uri,
)
