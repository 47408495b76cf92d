"""The storage reader and writer of s3torchconnector: torch's, over those of s3dlio.

What only torch's ``FileSystemWriter`` does (extensions, other formats, a file for each item), and loads by readers
other than ``dcp_optimized``, go by torch's own code over :class:`S3FileSystem`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.distributed.checkpoint.filesystem import (
    FileSystemReader,
    FileSystemWriter,
    SerializationFormat,
    _StoragePrefix,
)
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from s3dlio.checkpoint.dcp import S3dlioStorageReader, S3dlioStorageWriter
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.dcp.s3_file_system import S3FileSystem
from s3dlio.compat.s3torchconnector.dcp.s3_prefix_strategy import DefaultPrefixStrategy
from s3dlio.compat.s3torchconnector.s3reader import (
    DCPOptimizedConstructor,
    DCPS3ReaderConstructorProtocol,
    S3ReaderConstructor,
    S3ReaderConstructorProtocol,
)
from s3dlio.transfer.range_reads import GAP


class S3StorageWriter(FileSystemWriter):
    """Saves distributed checkpoints on any store; see :class:`s3dlio.checkpoint.dcp.S3dlioStorageWriter`, which does
    it: one object for each rank, in parts, with checksums; a checkpoint is there whole or not at all.

    Args:
        region: of ``s3://``; None: as the settings say.
        path: the URI of the checkpoint.
        s3client_config: how the service is talked to.
        prefix_strategy: gives the beginning of the names of a rank's objects.
        thread_count: parts on their way at a time, at least; where torch's own code writes: its threads.
        kwargs: of torch's ``FileSystemWriter``. ``overwrite=False``: a checkpoint that is there is an error.
    """

    def __init__(
        self,
        region: str | None,
        path: str | os.PathLike[str],
        s3client_config: S3ClientConfig | None = None,
        prefix_strategy: Callable[[int], str] | None = None,
        thread_count: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(path=path, sync_files=False, thread_count=thread_count, **kwargs)
        self.fs = S3FileSystem(region, s3client_config=s3client_config)
        self.path = self.fs.init_path(path)
        self.prefix_strategy = prefix_strategy or DefaultPrefixStrategy()
        session = self.fs.client.session
        self._saver = S3dlioStorageWriter(
            path, client=session, overwrite=self.overwrite, prefix_strategy=self.prefix_strategy,
            max_in_flight=max(thread_count, session.settings.multipart.max_in_flight),
        )  # fmt: skip
        by_torch = kwargs.get("_extensions") or self.serialization_format is not SerializationFormat.TORCH_SAVE
        self._by_torch = bool(by_torch or not self.single_file_per_rank)

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """A copy of the state, for ``async_save``."""
        staged: dict[str, Any] = super().stage(state_dict) if self._by_torch else self._saver.stage(state_dict)
        return staged

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(checkpoint_id)
        self._saver.reset(checkpoint_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self._saver.set_up_storage_writer(is_coordinator, *args, **kwargs)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return super().prepare_local_plan(plan) if self._by_torch else self._saver.prepare_local_plan(plan)

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        if not self._by_torch:
            return self._saver.prepare_global_plan(plans)
        return [
            replace(plan, storage_data=_StoragePrefix(self.prefix_strategy(rank)))
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        return super().write_data(plan, planner) if self._by_torch else self._saver.write_data(plan, planner)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        if self._by_torch:
            super().finish(metadata, results)
        else:
            self._saver.finish(metadata, results)

    def storage_meta(self) -> StorageMeta:
        return super().storage_meta() if self._by_torch else self._saver.storage_meta()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return S3FileSystem.validate_checkpoint_id(checkpoint_id)


class S3StorageReader(FileSystemReader):
    """Loads distributed checkpoints from any store; see :class:`s3dlio.checkpoint.dcp.S3dlioStorageReader`, which does
    it: ranges straight into the tensors, many at a time.

    Args:
        region: of ``s3://``; None: as the settings say.
        path: the URI of the checkpoint.
        s3client_config: how the service is talked to.
        reader_constructor: None, or ``S3ReaderConstructor.dcp_optimized(max_gap_size)``; any other, and torch's own
            code loads, tensor by tensor, by its readers.
    """

    def __init__(
        self,
        region: str | None,
        path: str | os.PathLike[str],
        s3client_config: S3ClientConfig | None = None,
        reader_constructor: S3ReaderConstructorProtocol | None = None,
    ) -> None:
        super().__init__(path)
        self._reader_constructor = reader_constructor or S3ReaderConstructor.dcp_optimized()
        self.fs = S3FileSystem(
            region, s3client_config=s3client_config, reader_constructor=self._reader_constructor
        )
        self.path = self.fs.init_path(path)
        self.sync_files = False
        gap = GAP  # requests run side by side, so that a wider one costs more than another request does
        self._by_torch = True
        if type(self._reader_constructor) is DCPOptimizedConstructor:
            self._by_torch = False
            gap = int(min(gap, self._reader_constructor.max_gap_size))
        self._loader = S3dlioStorageReader(path, client=self.fs.client.session, max_gap=gap)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        super().reset(checkpoint_id)
        self._loader.reset(checkpoint_id)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What is in the checkpoint.

        Raises:
            ObjectNotFoundError: there is no checkpoint.
            CorruptDataError, IntegrityError: it is damaged.
        """
        found = self._loader.read_metadata(*args, **kwargs)
        found.storage_meta.load_id = self.load_id
        return found

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._loader.set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Sort the items by their place, and tell the reader constructor of them."""
        plan.items.sort(key=lambda item: self.storage_data[item.storage_index].offset)
        if isinstance(self._reader_constructor, DCPS3ReaderConstructorProtocol):
            self._reader_constructor.set_item_ranges_by_file(plan.items, self.storage_data, self.path)
        return plan

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        return super().read_data(plan, planner) if self._by_torch else self._loader.read_data(plan, planner)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return S3FileSystem.validate_checkpoint_id(checkpoint_id)
