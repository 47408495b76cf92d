"""Exceptions that other libraries raise on damaged data become a CorruptDataError."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from s3dlio.errors import CorruptDataError, OutOfMemoryError, S3dlioError


@contextlib.contextmanager
def as_corruption(reason: str, uri: str | None = None) -> Iterator[None]:
    """Any exception becomes a CorruptDataError: on damaged input zipfile, its decompressors, numpy's header parser and
    Arrow raise a dozen unrelated classes between them (BadZipFile, zlib.error, LZMAError, struct.error, TokenError,
    ArrowInvalid, ...).

    Args:
        reason: what could not be done.
        uri: the object.

    Raises:
        CorruptDataError: something was raised.
        OutOfMemoryError: there is no memory for what the data promise.
    """
    try:
        yield
    except S3dlioError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{reason}: there is not enough memory", uri=uri) from error
    except Exception as error:
        raise CorruptDataError(f"{reason}: {str(error) or type(error).__name__}"[:500], uri=uri) from error
