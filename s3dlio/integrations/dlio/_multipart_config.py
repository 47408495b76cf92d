"""How objects are uploaded in parts, as the settings (and the variables of the environment that set them) say now."""

from __future__ import annotations

from s3dlio.config.sections import MiB, MultipartSettings
from s3dlio.config.settings import Settings

#: From this threshold on nothing goes in parts: no larger object can be put in one request.
_NEVER = 5000 * MiB


def _settings() -> MultipartSettings:
    return Settings.resolve().multipart


def multipart_threshold_bytes() -> int:
    """``S3DLIO_MULTIPART_THRESHOLD_MB`` (MiB; default 32): larger objects go in parts; 0: all do."""
    return _settings().threshold


def multipart_part_size_bytes() -> int:
    """``S3DLIO_MULTIPART_PART_SIZE_MB`` (MiB; default 16): bytes a part."""
    return _settings().part_size


def multipart_max_in_flight() -> int:
    """``S3DLIO_MULTIPART_MAX_IN_FLIGHT`` (default 8): parts of one object that are in flight."""
    return _settings().max_in_flight


def multipart_disabled() -> bool:
    """``S3DLIO_DISABLE_MULTIPART`` (1, true, yes, on): every object that one request can take is put whole."""
    return _settings().threshold >= _NEVER
