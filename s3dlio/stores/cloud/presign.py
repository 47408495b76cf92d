"""What a presigned URL may be for, whichever cloud signs it."""

from __future__ import annotations

from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError

_METHODS = ("GET", "PUT", "HEAD", "DELETE")
_WEEK = 604_800


def check_link(uri: str, method: str, expires: int) -> None:
    """Refuse a URL that no service honours.

    Args:
        uri: the object, for the error.
        method: what the URL is for, in any case of letters.
        expires: seconds of validity.

    Raises:
        ConfigError: a method other than GET, PUT, HEAD and DELETE, or a time other than 1 to 604800 seconds.
    """
    if method.upper() not in _METHODS:
        raise ConfigError(f"a URL can be signed for GET, PUT, HEAD or DELETE, not {method!r}", uri=uri)
    if isinstance(expires, bool) or not isinstance(expires, int) or not 1 <= expires <= _WEEK:
        raise ConfigError(f"expires must be 1 to {_WEEK} seconds, got {shown(expires)}", uri=uri)
