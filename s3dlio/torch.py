"""Data sets of PyTorch over objects of any scheme: ``s3://``, ``az://``, ``gs://``, ``file://``, ``direct://``.

A sample is one object: a tensor over the memory that it was received in, its bytes, or a file over them.
``torch.utils.data.DataLoader`` takes the data sets as they are, with any number of workers, forked or spawned.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index as index_of
from typing import Any, Self

from s3dlio.client import Client
from s3dlio.errors import ConfigError, MissingDependencyError, OutOfRangeError
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.consumer import Consumer
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.items import name_sample
from s3dlio.loader.option_fields import LoaderValues
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.worker_tensors import for_program
from s3dlio.memory.reader import BytesReader
from s3dlio.memory.view import BytesView
from s3dlio.records import replace
from s3dlio.uri import URI

try:
    import torch
    from torch.utils import data as torch_data
except ModuleNotFoundError as error:
    raise MissingDependencyError("torch", "torch", "s3dlio.torch") from error

#: What a sample may be.
RETURN_TYPES = ("tensor", "bytes", "reader", "view")
#: Bytes that all workers together read ahead, and one of them at least, where nobody says. More of large objects only
#: means buffers that have never been touched: 64 of 32 MiB took 5.3 s of CPU with 512 MiB for each of two workers.
_AHEAD, _AHEAD_AT_LEAST = 128 << 20, 32 << 20
_READ_ONLY = "The given buffer is not writable"


def tensor_over(data: BytesView) -> torch.Tensor:
    """A tensor of one dimension of uint8 over the memory of a view. It must not be written to: torch knows no
    read-only tensors."""
    if not len(data):
        return torch.empty(0, dtype=torch.uint8)
    if torch.is_warn_always_enabled():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _READ_ONLY, UserWarning)
            return torch.frombuffer(data, dtype=torch.uint8)
    return torch.frombuffer(data, dtype=torch.uint8)


def _warn_once() -> None:
    """Have torch warn of read-only memory now, where nobody hears it: it does so once in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.frombuffer(b"read-only", dtype=torch.uint8)


_warn_once()


class ToSample:
    """Makes a sample of the bytes of an object; of what a decoder has made, only bytes become something else.

    Args:
        return_type: ``tensor``: one dimension of uint8; ``bytes``: a copy; ``reader``: a file; ``view``: a BytesView.
        writable: tensors have memory of their own, a copy.
        suppress_nonwritable_warning: say nothing of tensors that must not be written to.
        transform: what each sample goes through.

    Raises:
        ConfigError: (a ValueError) there is no such type.
    """

    def __init__(
        self,
        return_type: str | None = None,
        *,
        writable: bool = False,
        suppress_nonwritable_warning: bool = True,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._kind = "tensor" if return_type is None else str(return_type).lower()
        if self._kind not in RETURN_TYPES:
            raise ConfigError(f"return_type must be 'tensor', 'bytes', or 'reader' (or 'view'), not {return_type!r}")
        self._writable = writable
        self._warns = not (suppress_nonwritable_warning or writable)
        self._transform = transform

    def __call__(self, data: Any) -> Any:
        sample = self._converted(data)
        if self._transform is not None:
            return self._transform(sample)
        return for_program(sample) if isinstance(sample, torch.Tensor) else sample

    def _converted(self, data: Any) -> Any:
        if isinstance(data, BytesView):
            return self._of(data)
        return {name: self._converted(value) for name, value in data.items()} if isinstance(data, dict) else data

    def _of(self, data: BytesView) -> Any:
        if self._kind == "view":
            return data
        if self._kind == "bytes":
            return bytes(data)
        if self._kind == "reader":
            return BytesReader(data)
        if self._writable and len(data):
            return torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if self._warns:
            warnings.warn(f"{_READ_ONLY}: do not write to this tensor, or ask for writable=True", stacklevel=2)
        return tensor_over(data)


class _Objects:
    """What both kinds of data sets have: the objects, and what a sample is.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob.
        loader_opts: options, see docs/loaders.md.
        writable: tensors have memory of their own, a copy; otherwise they must not be written to.
        suppress_nonwritable_warning: say nothing of such tensors.
        return_type: ``tensor`` (one dimension of uint8), ``bytes``, ``reader`` (a file) or ``view`` (a BytesView).
        client: whose settings and connections are used; default: those of the package.
        **options: more options, by name: ``shuffle=True``, ``seed=1``, ``transform=...``.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant.
    """

    def __init__(
        self,
        uri: URI,
        *,
        loader_opts: Options = None,
        writable: bool = False,
        suppress_nonwritable_warning: bool = True,
        return_type: str | None = None,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        found = self._options(loader_opts, options)
        self._set(found, writable, suppress_nonwritable_warning, return_type)
        self.dataset = Dataset(uri, found, client=client)

    @staticmethod
    def _options(loader_opts: Options, more: Mapping[str, Any]) -> LoaderOptions:
        return LoaderOptions.from_any(loader_opts).replace(**more)

    def _set(self, options: LoaderOptions, writable: bool, is_silent: bool, return_type: str | None) -> None:
        values = options.values
        self._to_sample = ToSample(
            return_type or values.return_type, writable=writable, suppress_nonwritable_warning=is_silent,
            transform=values.applied,
        )  # fmt: skip

    @classmethod
    def from_prefix(cls, uri: URI, **arguments: Any) -> Self:
        """The objects below a URI; arguments are those of the class."""
        return cls(uri, **arguments)

    @classmethod
    def from_uris(
        cls, uris: Iterable[URI], *, loader_opts: Options = None, writable: bool = False,
        suppress_nonwritable_warning: bool = True, return_type: str | None = None, client: Client | None = None,
        **options: Any,
    ) -> Self:  # fmt: skip
        """The objects of these URIs, of any schemes, in this order; other arguments are those of the class."""
        self = cls.__new__(cls)
        found = cls._options(loader_opts, options)
        self._set(found, writable, suppress_nonwritable_warning, return_type)
        self.dataset = Dataset.from_uris(uris, found, client=client)
        return self

    def keys(self) -> list[str]:
        """The names of all objects, see ``PyDataset.keys``."""
        return self.dataset.keys()

    def uris(self) -> list[str]:
        """The URIs of all objects."""
        return self.dataset.uris()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r})"


class ObjectStoreMapDataset(_Objects, torch_data.Dataset[Any]):
    """Objects by their index: a map-style data set. A ``DataLoader`` asks for a batch at a time, which is read at once.

    Arguments and errors are those of :class:`_Objects`: a URI, ``loader_opts`` or options by name, ``return_type``
    (``tensor``, ``bytes``, ``reader``, ``view``), ``writable``.
    """

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """The sample at an index.

        Raises:
            IndexError: there is none; a negative index names none.
            S3dlioError: the object could not be read.
        """
        return self.__getitems__([index])[0]

    def __iter__(self) -> Iterator[Any]:
        """All samples, one by one. Without it, a loop would take an IndexError of a transform for the end."""
        return (self[index] for index in range(len(self)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples at these indices, read at the same time: what a ``DataLoader`` asks for.

        Raises:
            IndexError, S3dlioError: as of ``dataset[index]``.
        """
        for index in indices:
            if index_of(index) < 0:
                raise OutOfRangeError(f"Index {index} out of range for a data set of {len(self)} samples")
        return [self._sample(index, entry, data) for index, entry, data in self.dataset.read(indices)]

    def _sample(self, index: int, entry: Any, data: BytesView) -> Any:
        try:
            return self._to_sample(self.dataset.sample(index, entry, data))
        except Exception as error:
            name_sample(error, entry)
            raise


class ObjectStoreIterableDataset(_Objects, torch_data.IterableDataset[Any]):
    """Objects one after the other, the next ones read while the program works on those before: an iterable-style data
    set. The workers of a ``DataLoader`` share the objects: each comes once. It can stop anywhere and go on elsewhere
    (``state_dict``), and torchdata's ``StatefulDataLoader`` asks it for that.

    Arguments and errors are those of :class:`_Objects`: a URI, ``loader_opts`` or options by name, ``return_type``
    (``tensor``, ``bytes``, ``reader``, ``view``), ``writable``.

    Args:
        enable_sharding: the ranks of ``torch.distributed`` share the objects, too; otherwise each has all of them.
            They make the data set together: rank 0 lists, and tells the others.
    """

    def __init__(self, uri: URI, *, enable_sharding: bool = False, **arguments: Any) -> None:
        if enable_sharding:
            arguments.setdefault("list_once", True)
        super().__init__(uri, **arguments)
        self._begin(enable_sharding)

    @classmethod
    def from_uris(cls, uris: Iterable[URI], *, enable_sharding: bool = False, **arguments: Any) -> Self:
        """The objects of these URIs, of any schemes, in this order; other arguments are those of the class."""
        self = super().from_uris(uris, **arguments)
        self._begin(enable_sharding)
        return self

    def _begin(self, enable_sharding: bool) -> None:
        options = self.dataset.options.replace(transform=self._to_sample, enable_transforms=True)
        self._loader = _Loader(self.dataset, options, enable_sharding)
        self._told = _Told(self._loader.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next: each has an order of its own where samples are shuffled. Workers that live on
        (``persistent_workers``) hear of it, too. As of torch's ``DistributedSampler``, no epoch goes on by itself.

        Raises:
            ConfigError: (a ValueError) it is not a whole number from 0 on.
        """
        self._loader.set_epoch(epoch)
        self._told.epoch(epoch)

    @property
    def epoch(self) -> int:
        """Which epoch comes next."""
        return self._loader.epoch

    def state_dict(self) -> dict[str, Any]:
        """How far this process got; see ``PyBytesAsyncDataLoader.state_dict``. Of a ``DataLoader`` with workers, only
        these know: use torchdata's ``StatefulDataLoader``."""
        return self._loader.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """The next pass goes on where a state says; see ``PyBytesAsyncDataLoader.load_state_dict``. The passes after
        that are complete.

        Raises:
            ConfigError: (a ValueError) it is none, some are missing, or it is of other samples or another order.
        """
        self._loader.load_state_dict(state)
        self._told.state()

    def __iter__(self) -> Iterator[Any]:
        self._told.listen(self._loader)
        return self._loader.views()

    def __getstate__(self) -> dict[str, Any]:
        self._loader.look_for_ranks()
        return self.__dict__


class _Loader(BytesLoader):
    """The loader of a data set: it knows of ranks and workers."""

    def __init__(self, dataset: Dataset, options: LoaderOptions, shares_ranks: bool) -> None:
        super().__init__(dataset, options)
        self.progress.advances = False
        self._shares_ranks = shares_ranks
        self._ranks: tuple[int, int] | None = None

    def look_for_ranks(self) -> None:
        """Ask which rank this is. A spawned worker, which cannot know, has what its parent knew."""
        distributed = torch.distributed
        if self._shares_ranks and distributed.is_available() and distributed.is_initialized():
            self._ranks = distributed.get_rank(), distributed.get_world_size()

    @property
    def consumer(self) -> Consumer:
        self.look_for_ranks()
        found = super().consumer
        return found if self._ranks is None else found._replace(rank=self._ranks[0], world_size=self._ranks[1])

    @property
    def _values(self) -> LoaderValues:
        values = super()._values
        if values.prefetch_bytes is not None:
            return values
        worker = torch_data.get_worker_info()
        return replace(values, prefetch_bytes=max(_AHEAD // (worker.num_workers if worker else 1), _AHEAD_AT_LEAST))


class _Told:
    """What workers hear of their parent: which epoch comes, and whether it is for them that a state was loaded.

    It is shared memory, so that workers that live on hear it, too. A state is for one pass, whose workers must agree on
    that whenever one starts: they know it by the seed that torch draws for a pass, which the first leaves here.
    """

    def __init__(self, epoch: int) -> None:
        #: The epoch that was set; which pass a state that was loaded is for, 0 where that has not begun.
        self._words = torch.tensor([epoch, 0], dtype=torch.int64).share_memory_()
        self._epoch = epoch
        self._passes = 0
        self._loaded_here = False

    def epoch(self, epoch: int) -> None:
        """An epoch was set."""
        self._words[0] = self._epoch = epoch

    def state(self) -> None:
        """A state was loaded."""
        self._loaded_here = torch_data.get_worker_info() is not None
        if not self._loaded_here:
            self._words[1] = 0

    def listen(self, loader: BytesLoader) -> None:
        """A pass begins here."""
        epoch = int(self._words[0])
        if epoch != self._epoch:
            self._epoch = epoch
            loader.set_epoch(epoch)
        worker = torch_data.get_worker_info()
        if worker is None or self._loaded_here or not loader.progress.resumes:
            return
        number = ((worker.seed - worker.id + self._passes) & (1 << 62) - 1) or 1
        known = int(self._words[1])
        if not known:
            self._words[1] = number
        elif known != number:
            loader.progress.restart()
        self._passes += 1


class S3IterableDataset(ObjectStoreIterableDataset):
    """An older name of :class:`ObjectStoreIterableDataset`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        warnings.warn("S3IterableDataset is now ObjectStoreIterableDataset", DeprecationWarning, stacklevel=2)
        super().__init__(*arguments, **named)


class S3MapDataset(ObjectStoreMapDataset):
    """An older name of :class:`ObjectStoreMapDataset`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        warnings.warn("S3MapDataset is now ObjectStoreMapDataset", DeprecationWarning, stacklevel=2)
        super().__init__(*arguments, **named)
