"""Objects of any scheme as arrays for JAX, and as a data set of TensorFlow, which is imported where it is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from s3dlio.client import Client
from s3dlio.formats.optional_packages import require
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.options import LoaderOptions
from s3dlio.memory.view import BytesView
from s3dlio.uri import URI


class ToArray:
    """Makes an array of the bytes of an object; what a decoder has made is left as it is.

    Args:
        writable: arrays have memory of their own, a copy; otherwise they are read-only.
        transform: what each array goes through.
    """

    def __init__(self, writable: bool = False, transform: Callable[[Any], Any] | None = None) -> None:
        self._writable = writable
        self._transform = transform

    def __call__(self, data: Any) -> Any:
        if isinstance(data, BytesView):
            data = np.frombuffer(data, dtype=np.uint8) if len(data) else np.empty(0, np.uint8)
            data.flags.writeable = False
            if self._writable:
                data = data.copy()
        return data if self._transform is None else self._transform(data)


class JaxIterable:
    """Objects one after the other as arrays of numpy, uint8 of one dimension over the memory that they were received
    in: ``jax.numpy.asarray(array)``. The next ones are read meanwhile. Each ``for`` is an epoch.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob.
        loader_opts: options, see docs/loaders.md.
        transform: what each array goes through.
        writable: arrays have memory of their own, a copy; otherwise they are read-only.
        suppress_nonwritable_warning: accepted; numpy says of read-only arrays nothing.
        enable_sharding: the processes of ``jax.distributed`` share the objects.
        client: whose settings and connections are used; default: those of the package.
        **options: more options, by name: ``shuffle=True``, ``seed=1``, ``batch_size=32``. Samples come one by one all
            the same: a batch is what ``drop_last`` and the order mean by it.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant.
        S3dlioError: (while iterating) an object could not be read; it has its URI.
    """

    def __init__(
        self,
        uri: URI,
        *,
        loader_opts: Options = None,
        transform: Callable[[Any], Any] | None = None,
        writable: bool = False,
        suppress_nonwritable_warning: bool = True,
        enable_sharding: bool = False,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        chosen = LoaderOptions.from_any(loader_opts).replace(**options)
        if enable_sharding:
            chosen = chosen.shard(*_processes())
        self._loader = _loader(Dataset(uri, chosen, client=client), writable, transform)

    @classmethod
    def from_prefix(cls, uri: URI, **arguments: Any) -> Self:
        """The objects below a URI; arguments are those of the class."""
        return cls(uri, **arguments)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next: each has an order of its own where samples are shuffled. It goes on by itself."""
        self._loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """How far this process got; see ``PyBytesAsyncDataLoader.state_dict``."""
        return self._loader.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """The next pass goes on where a state says; see ``PyBytesAsyncDataLoader.load_state_dict``.

        Raises:
            ConfigError: (a ValueError) it is none, some are missing, or it is of other objects or another order.
        """
        self._loader.load_state_dict(state)

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._loader.dataset)

    def __iter__(self) -> Iterator[Any]:
        return self._loader.views()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._loader.dataset!r})"


class S3JaxIterable(JaxIterable):
    """An older name of :class:`JaxIterable`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        warnings.warn("S3JaxIterable is deprecated: use JaxIterable", DeprecationWarning, stacklevel=2)
        super().__init__(*arguments, **named)


def make_tf_dataset(
    uri: URI,
    *,
    loader_opts: Options = None,
    map_fn: Callable[[Any], Any] | None = None,
    writable: bool = False,
    suppress_nonwritable_warning: bool = True,
    client: Client | None = None,
    **options: Any,
) -> Any:
    """A ``tf.data.Dataset`` of objects, one tensor of uint8 for each.

    Args:
        uri, loader_opts, client, **options: as of :class:`JaxIterable`.
        map_fn: is given to ``Dataset.map``.
        writable, suppress_nonwritable_warning: accepted; TensorFlow copies what it is given.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
        ObjectNotFoundError, ConfigError: as of :class:`JaxIterable`.
    """
    tf = require("tensorflow", "tf", "a data set of TensorFlow")
    arrays = JaxIterable(uri, loader_opts=loader_opts, client=client, **options)
    signature = tf.TensorSpec(shape=(None,), dtype=tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter(arrays), output_signature=signature)
    if map_fn is not None:
        dataset = dataset.map(map_fn, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset


def _loader(dataset: Dataset, writable: bool, transform: Callable[[Any], Any] | None) -> BytesLoader:
    values = dataset.options.values
    to_array = ToArray(writable, transform or values.applied)
    return BytesLoader(dataset, dataset.options.replace(transform=to_array, enable_transforms=True))


def _processes() -> tuple[int, int]:
    """This process of JAX, and how many there are."""
    jax = require("jax", "jax", "the processes that share the objects")
    return jax.process_index(), jax.process_count()
