"""HDF5 files of one contiguous data set, as the bytes before and after its data (needs h5py)."""

from __future__ import annotations

from collections.abc import Sequence

from s3dlio.formats.optional_packages import require


def hdf5_around(shape: Sequence[int]) -> tuple[bytes, bytes]:
    """The bytes of an HDF5 file before and after the data of its only data set: uint8, `shape`, contiguous.

    The HDF5 library lays the file out once, in memory; what goes between is written by the caller, so any number of
    files of one shape cost no further call of the library.

    Raises:
        MissingDependencyError: h5py is not installed.
    """
    h5py = require("h5py", "hdf5", "writing HDF5 objects")
    with h5py.File("layout.h5", "w", driver="core", backing_store=False) as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.CONTIGUOUS)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        space = h5py.h5s.create_simple(tuple(shape))
        dataset = h5py.h5d.create(file.id, b"data", h5py.h5t.STD_U8LE, space, plan)
        start, length = dataset.get_offset(), dataset.get_storage_size()
        file.flush()
        image = memoryview(file.id.get_file_image())
    if start is None:  # a data set without elements is allocated nowhere
        return bytes(image), b""
    return bytes(image[:start]), bytes(image[start + length :])
