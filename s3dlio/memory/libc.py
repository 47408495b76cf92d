"""Positioned file I/O between a descriptor and memory: libc through ctypes, and the few calls Python does not have.

Counts are whole here: a call that a signal interrupts or that stops short is continued, and errors are ``OSError`` with
the number, as from `os`. ctypes lets the GIL go during a call. On systems other than Linux, and for small buffers, the
functions of `os` do the same work.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from s3dlio.errors import ConfigError
from s3dlio.memory.buffers import address_of, byte_view

__all__ = [
    "O_DIRECT",
    "DirectAlignment",
    "address_of",
    "advise",
    "allocate",
    "copy_range",
    "direct_alignment",
    "map_shared",
    "pread_full",
    "pwrite",
    "pwrite_full",
    "remove_pages",
    "start_write_back",
    "sync_file_system",
    "unmap",
]

#: The open flag for I/O past the page cache; 0 where the system has none (macOS, Windows).
O_DIRECT: int = getattr(os, "O_DIRECT", 0)

# A call through ctypes costs 0.9 us more than one through os (address, errno): twice the time of a 4 KiB read from the
# page cache, 2 % of a 1 MiB one, nothing measurable of a 64 MiB one.
_LARGE = 1 << 20
_AT_ONCE = 1 << 30  # through os: macOS refuses 2 GiB and more in one call; Linux stops short there by itself

_LINUX = sys.platform.startswith("linux")
_MAP_FAILED = ctypes.c_void_p(-1).value
_MADV_REMOVE: int = getattr(mmap, "MADV_REMOVE", 9)
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None

_Call = Callable[..., int]


def _bind(name: str, *argtypes: Any, restype: Any = ctypes.c_int) -> _Call | None:
    """A function of libc with 64-bit offsets, or None where it is not to be had."""
    function = getattr(_libc, name + "64", None) or getattr(_libc, name, None)
    if function is None:
        return None
    function.argtypes, function.restype = argtypes, restype
    return function  # type: ignore[no-any-return]


_MEMORY_AT = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
_pread = _bind("pread", *_MEMORY_AT, restype=ctypes.c_ssize_t)
_pwrite = _bind("pwrite", *_MEMORY_AT, restype=ctypes.c_ssize_t)
_syncfs = _bind("syncfs", ctypes.c_int)
_sync_file_range = _bind("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_fallocate = _bind("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_mmap = _bind(
    "mmap", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
    restype=ctypes.c_void_p,
)  # fmt: skip
_munmap = _bind("munmap", ctypes.c_void_p, ctypes.c_size_t)
_madvise = _bind("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_statx = _bind("statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


def _checked(call: _Call, *args: Any) -> int:
    """The result of a libc call, made again while signals interrupt it; their handlers run in between.

    Raises:
        OSError: the call failed.
    """
    while (result := call(*args)) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return result


def pread_full(fd: int, view: memoryview, offset: int, *, block: int = 1) -> int:
    """Fill `view` from a file, from `offset` bytes on; returns the count, which is short only at the file's end.

    Args:
        fd: an open file.
        view: writable bytes; for O_DIRECT an aligned buffer, as of `BufferPool.lease_aligned`.
        offset: where in the file, in bytes.
        block: the alignment of file offsets in bytes, 1 unless the file is open with O_DIRECT. A count that is no
            multiple of it ends the file, and going on from there would be EINVAL.

    Raises:
        OSError: the read failed.
    """
    return _transfer(_pread, _os_pread, fd, byte_view(view, writable=True), offset, block)


def pwrite_full(fd: int, view: memoryview, offset: int, *, block: int = 1) -> int:
    """Write all of `view` to a file, from `offset` bytes on; returns its length.

    Args:
        fd: an open file.
        view: the bytes; for O_DIRECT an aligned buffer of an aligned length.
        offset: where in the file, in bytes.
        block: the alignment of file offsets in bytes, 1 unless the file is open with O_DIRECT.

    Raises:
        OSError: the write failed (ENOSPC: the file system is full), or stopped within a block.
    """
    view = byte_view(view)
    done = _transfer(_pwrite, pwrite, fd, view, offset, block)
    if done < len(view):
        # Neither an error nor progress, or a place where direct I/O cannot go on: seen on full file systems only.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return done


def _transfer(
    libc: _Call | None, plain: Callable[[int, memoryview, int], int], fd: int, view: memoryview, offset: int, block: int
) -> int:
    """Read into or write from all of `view`, as far as it goes without a pause within a block; returns the count."""
    through_libc = libc if block > 1 or len(view) >= _LARGE else None
    address = address_of(view) if through_libc else 0
    done = 0
    while done < len(view):
        if through_libc:
            count = _checked(through_libc, fd, address + done, len(view) - done, offset + done)
        else:
            count = plain(fd, view[done : done + _AT_ONCE], offset + done)
        done += count
        if not count or count % block:
            break
    return done


if hasattr(os, "preadv"):

    def _os_pread(fd: int, view: memoryview, offset: int) -> int:
        return os.preadv(fd, (view,), offset)

    def pwrite(fd: int, view: memoryview, offset: int) -> int:
        """Write to a file with one call, which may stop short; returns the count."""
        return os.pwrite(fd, view, offset)

else:  # Windows has a file position only: a descriptor is not to be shared by threads there

    def _os_pread(fd: int, view: memoryview, offset: int) -> int:
        os.lseek(fd, offset, os.SEEK_SET)
        data = os.read(fd, len(view))
        view[: len(data)] = data
        return len(data)

    def pwrite(fd: int, view: memoryview, offset: int) -> int:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, view)


def allocate(fd: int, length: int) -> bool:
    """Reserve disk space for the first `length` bytes of a file without changing its size.

    Returns whether it is reserved: False where the system or the file system cannot, which is no error. (Unlike
    `os.posix_fallocate`, which writes zeros then.)

    Raises:
        OSError: ENOSPC, there is not that much space; or EBADF and the like.
    """
    if _fallocate is None or not length:
        return False
    keep_size = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
    try:
        _checked(_fallocate, fd, keep_size, 0, length)
    except OSError as exc:
        if exc.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


def start_write_back(fd: int, offset: int, length: int) -> None:
    """Have the system begin to write a stretch of a file to its disk, without waiting for it: an fsync has less to wait
    for then. Nothing happens where the system has no such call; what goes wrong is told by the fsync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, 2)  # SYNC_FILE_RANGE_WRITE of linux/fs.h


def sync_file_system(directory: str) -> None:
    """Have the disk hold everything that was written to the file system of ``directory``.

    Raises:
        OSError: the disk did not take it.
    """
    if _syncfs is None:
        os.sync()
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _checked(_syncfs, fd)
    finally:
        os.close(fd)


def advise(fd: int, offset: int, length: int, advice: str) -> None:
    """Tell the page cache what will be read: 'sequential', 'random', 'willneed', 'dontneed', 'noreuse' or 'normal'.

    `length` 0 means to the file's end. Nothing happens where the system takes no such advice.

    Raises:
        ValueError: `advice` is none of these.
        OSError: `fd` is not a file.
    """
    if advice not in ("normal", "sequential", "random", "willneed", "dontneed", "noreuse"):
        raise ConfigError(f"advice must be normal, sequential, random, willneed, dontneed or noreuse, got {advice!r}")
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, length, getattr(os, f"POSIX_FADV_{advice.upper()}"))


def copy_range(source: int, target: int, length: int, source_offset: int = 0, target_offset: int = 0) -> int:
    """Copy bytes from file to file within the kernel (a reflink where the file system has them).

    Falls back to reading and writing where the kernel cannot: between some file systems, and outside Linux. Returns the
    count, which is short only at the source's end.

    Raises:
        OSError: reading or writing failed.
    """
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while done < length:
                count = os.copy_file_range(source, target, length - done, source_offset + done, target_offset + done)
                if not count:
                    break  # the end; or a file of /proc, which says 0 and is read below
                done += count
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
    buffer = memoryview(bytearray(min(length - done, 4 << 20)))
    while done < length:
        count = pread_full(source, buffer[: length - done], source_offset + done)
        if not count:
            break
        done += pwrite_full(target, buffer[:count], target_offset + done)
    return done


class DirectAlignment(NamedTuple):
    """What O_DIRECT asks for on one file, in bytes: `memory` of addresses, `offset` of file offsets and lengths."""

    memory: int
    offset: int


def direct_alignment(fd: int) -> DirectAlignment | None:
    """What the kernel says of O_DIRECT on this file, from statx(2), STATX_DIOALIGN (Linux 6.1, few file systems).

    None where it does not say, or where the file takes no O_DIRECT: 4096 is right for any common device then.

    Raises:
        OSError: `fd` is not open.
    """
    if _statx is None:
        return None
    at_empty_path, dioalign = 0x1000, 0x2000  # linux/fcntl.h, linux/stat.h
    raw = (ctypes.c_uint32 * 64)()  # struct statx: 256 bytes
    _checked(_statx, fd, b"", at_empty_path, dioalign, ctypes.addressof(raw))
    mask, memory, offset = raw[0], raw[152 // 4], raw[156 // 4]  # stx_mask, stx_dio_mem_align, stx_dio_offset_align
    return DirectAlignment(memory, offset) if mask & dioalign and memory and offset else None


def map_shared(fd: int, length: int) -> int:
    """Map the first `length` bytes of a file, shared with all that map it; returns the address.

    Unlike an `mmap.mmap`, the mapping keeps no descriptor: a process can have a thousand of these only.

    Raises:
        OSError: the system refused it.
    """
    assert _mmap is not None, "shared memory is asked for on Linux only"
    address = _mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address is None or address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address


def unmap(address: int, length: int) -> None:
    """Undo :func:`map_shared`; nothing may refer to that memory any more."""
    if _munmap is not None:
        _munmap(address, length)


def remove_pages(address: int, length: int) -> None:
    """Free the pages of shared memory, for all processes that map it; it reads as zeros from then on."""
    if _madvise is not None:
        _madvise(address, length, _MADV_REMOVE)
