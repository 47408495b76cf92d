"""DLIO on any URI by ``++hydra.callbacks.storage._target_=s3dlio.integrations.dlio.callback.UseS3dlio``."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

import s3dlio


class UseS3dlio(Callback):
    """Storage roots and checkpoint folders that are URIs are s3dlio's for this run. No file of DLIO is changed."""

    def on_job_start(self, config: Any, **named: Any) -> None:
        """Called by Hydra before DLIO begins."""
        use_s3dlio()


def use_s3dlio() -> None:
    """Let DLIO's factories give storages of s3dlio for URIs, in this process. Once is enough, more do no harm."""
    from dlio_benchmark.data_generator.generator_factory import GeneratorFactory
    from dlio_benchmark.storage.storage_factory import StorageFactory

    from s3dlio.integrations.dlio.s3dlio_storage import S3dlioStorage

    make_storage, make_generator = StorageFactory.get_storage, GeneratorFactory.get_generator
    if hasattr(make_storage, "__wrapped__"):  # another job of a multirun
        return

    @functools.wraps(make_storage)
    def get_storage(storage_type: Any, namespace: str, framework: Any = None) -> Any:
        if "://" in str(namespace):
            return S3dlioStorage(namespace, framework)
        return make_storage(storage_type, namespace, framework)

    @functools.wraps(make_generator)
    def get_generator(type: Any) -> Any:
        generator = make_generator(type)
        return StagedGenerator(generator) if isinstance(generator.storage, S3dlioStorage) else generator

    StorageFactory.get_storage = staticmethod(get_storage)
    GeneratorFactory.get_generator = staticmethod(get_generator)


class StagedGenerator:
    """A generator of DLIO, which writes to paths; each file is uploaded when the next one is begun."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def generate(self) -> None:
        """Generate this rank's files."""
        storage = self._generator.storage
        with tempfile.TemporaryDirectory(prefix="s3dlio-dlio-") as folder:
            self._generator.storage = staged = _Staging(storage, folder)
            try:
                self._generator.generate()
                staged.upload()
            finally:
                self._generator.storage = storage


class _Staging:
    """The storage that a generator sees: names are paths in a local folder."""

    def __init__(self, storage: Any, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_uri(self, id: str) -> str:
        self.upload()
        path = os.path.join(self._folder, self._storage.get_uri(id).removeprefix(self._storage.root).lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def upload(self) -> None:
        """Bring what was written to its place."""
        root = Path(self._folder)
        for path in [path for path in sorted(root.rglob("*")) if path.is_file()]:
            with path.open("rb") as source, s3dlio.open(f"{self._storage.root}/{path.relative_to(root)}", "wb") as file:
                shutil.copyfileobj(source, file, 8 << 20)
            path.unlink()
