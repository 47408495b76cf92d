"""s3dlio in DLIO (dlio_benchmark).

``callback``, ``reader``, ``data_loader`` and ``checkpointing`` are named in DLIO's configuration: no file of it is
changed. The functions here are the other way: they put a storage class into a DLIO that may be changed.
"""

from __future__ import annotations

import difflib
import logging
import os
import shutil

_log = logging.getLogger(__name__)
_HERE = os.path.dirname(__file__)


def get_s3dlio_storage_path() -> str:
    """The path of ``s3dlio_storage.py``, the storage type ``s3dlio`` of DLIO."""
    return os.path.join(_HERE, "s3dlio_storage.py")


def get_s3dlio_storage_content() -> str:
    """What is in ``s3dlio_storage.py``."""
    return _text(get_s3dlio_storage_path())


def get_storage_file_path() -> str:
    """The path of ``s3_torch_storage.py``, which takes the place of DLIO's own."""
    return os.path.join(_HERE, "s3_torch_storage.py")


def get_storage_file_content() -> str:
    """What is in ``s3_torch_storage.py``."""
    return _text(get_storage_file_path())


def generate_patch(dlio_path: str | os.PathLike[str] | None = None, output_file: str | None = None) -> str:
    """Write a patch that gives DLIO the storage type ``s3dlio``. It is for ``git apply`` or ``patch --binary -p1``,
    in the folder above ``dlio_benchmark``.

    Args:
        dlio_path: the folder ``dlio_benchmark``, or the one above it, whose files the patch is for; default: those of
            dlio_benchmark 2.0.0.
        output_file: default: ``dlio_s3dlio.patch``.

    Returns:
        The path of the patch.

    Raises:
        ValueError: there is no DLIO, or it has other factories than this patch knows.
    """
    output = output_file or "dlio_s3dlio.patch"
    package = None if dlio_path is None else _package(dlio_path)
    with open(output, "w", encoding="utf-8", newline="") as file:  # 2.0.0 has lines that end in CR LF, and keeps them
        for name, (anchor, added) in _CHANGES.items():
            before = _BEFORE[name] if package is None else _text(os.path.join(package, name))
            shown = f"dlio_benchmark/{name}"
            after = _with_addition(before, anchor, added, shown)
            lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
            file.writelines(difflib.unified_diff(*lines, f"a/{shown}", f"b/{shown}"))
    _log.info("wrote %s; apply it with: patch --binary -p1 < %s", output, os.path.abspath(output))
    return output


def install_s3dlio_storage(dlio_path: str | os.PathLike[str]) -> str:
    """Copy ``s3dlio_storage.py`` into DLIO. Its storage type is known there once the patch of :func:`generate_patch` is
    applied.

    Args:
        dlio_path: the folder ``dlio_benchmark``, or the one above it.

    Returns:
        The path of the copy.

    Raises:
        ValueError: there is no DLIO.
    """
    target = os.path.join(_package(dlio_path), "storage", "s3dlio_storage.py")
    shutil.copyfile(get_s3dlio_storage_path(), target)
    _log.info("installed %s; generate_patch(%r) adds the storage type", target, os.fspath(dlio_path))
    return target


def install_dropin_replacement(dlio_path: str | os.PathLike[str]) -> str:
    """Put ``s3_torch_storage.py`` in the place of DLIO's own, which is kept as ``s3_torch_storage.py.original.bak``.

    Args:
        dlio_path: the folder ``dlio_benchmark``, or the one above it.

    Returns:
        The path of the copy.

    Raises:
        ValueError: there is no DLIO.
    """
    target = os.path.join(_package(dlio_path), "storage", "s3_torch_storage.py")
    kept = f"{target}.original.bak"
    if os.path.exists(target) and not os.path.exists(kept):
        shutil.copy2(target, kept)
    shutil.copyfile(get_storage_file_path(), target)
    _log.info("installed %s", target)
    return target


install_to_dlio = install_dropin_replacement

_ENUMERATIONS = os.path.join("common", "enumerations.py")
_FACTORY = os.path.join("storage", "storage_factory.py")
#: A file of DLIO -> the line after (or, for a branch, before) which something is added, and what.
_CHANGES = {
    _ENUMERATIONS: ("    S3 = 's3'\n", "    S3DLIO = 's3dlio'\n"),
    _FACTORY: (
        "        elif storage_type == StorageType.S3:\n",
        "        elif storage_type == StorageType.S3DLIO:\n"
        "            from dlio_benchmark.storage.s3dlio_storage import S3dlioStorage\n"
        "            return S3dlioStorage(namespace, framework)\n",
    ),
}
#: The places in dlio_benchmark 2.0.0, with as many lines before them as there are.
_BEFORE = {
    name: ("\n" * lines + text).replace("\n", "\r\n")
    for name, lines, text in (
        (
            _ENUMERATIONS,
            46,
            "    LOCAL_FS = 'local_fs'\n    PARALLEL_FS = 'parallel_fs'\n    S3 = 's3'\n\n"
            "    def __str__(self):\n        return self.value\n\n",
        ),
        (
            _FACTORY,
            26,
            "    def get_storage(storage_type, namespace, framework=None):\n"
            "        if storage_type == StorageType.LOCAL_FS:\n            return FileStorage(namespace, framework)\n"
            "        elif storage_type == StorageType.S3:\n            return S3Storage(namespace, framework)\n"
            "        else:\n\n",
        ),
    )
}


def _package(dlio_path: str | os.PathLike[str]) -> str:
    path = os.fspath(dlio_path)
    for package in (path, os.path.join(path, "dlio_benchmark")):
        if os.path.isdir(os.path.join(package, "storage")):
            return package
    raise ValueError(f"no DLIO: {os.path.join(path, 'storage')} does not exist; name the folder dlio_benchmark")


def _with_addition(text: str, anchor: str, added: str, shown: str) -> str:
    if "\r\n" in text:
        anchor, added = anchor.replace("\n", "\r\n"), added.replace("\n", "\r\n")
    if added in text:
        return text
    if text.count(anchor) != 1:
        raise ValueError(f"{shown}: expected {anchor.strip()!r} once, found {text.count(anchor)}")
    return text.replace(anchor, added + anchor if ":" in anchor else anchor + added)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
