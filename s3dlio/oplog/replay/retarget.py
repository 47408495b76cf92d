"""Where a recorded operation is replayed: under a target, under what a prefix is mapped to, or where it was."""

from __future__ import annotations

import zlib

from s3dlio.errors import ConfigError, InvalidURIError
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.operation import Operation
from s3dlio.transfer.destination_directory import safe_segments
from s3dlio.uri import LOCAL_SCHEMES, has_scheme
from s3dlio.uri_templates import translate_uri


class Places:
    """Translates URIs.

    Args:
        config: has the target and the mapping.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._target = config.target_uri
        self._in_place = config.in_place
        longest_first = sorted(config.targets().items(), key=lambda each: -len(each[0]))
        self._mapping = [(_without_slash(prefix), targets) for prefix, targets in longest_first]
        #: The recorded places that the target takes the place of.
        self.replaced: set[str] = set()

    def uri(self, operation: Operation) -> str:
        """Where to do it.

        Raises:
            ConfigError: it would change what is stored where it was recorded, and that is not allowed; or the log does
                not tell where that was.
            UnsafeKeyError: its name leads out of a local target.
        """
        uri = self._translated(operation)
        if uri is None:
            uri = operation.uri
            if not has_scheme(uri):
                raise ConfigError(
                    f"the log does not tell the store of {uri!r}",
                    hint="give a target: --target s3://bucket; or where names begin with their bucket, "
                    f"--map {operation.place or 'FROM'}=s3://",
                )
        if operation.is_write and not self._in_place and uri == operation.uri:
            raise refusal(operation)
        return uri

    def _translated(self, operation: Operation) -> str | None:
        uri = operation.uri
        for prefix, targets in self._mapping:
            if not uri.startswith(prefix):
                continue
            rest = uri[len(prefix) :]
            if rest and rest[0] != "/" and not prefix.endswith("//"):
                continue
            target = targets[0] if len(targets) == 1 else targets[zlib.crc32(rest.encode(*_ANY)) % len(targets)]
            rest = rest.lstrip("/")
            return _checked(target + rest if target.endswith("://") else f"{target.rstrip('/')}/{rest}", target)
        if self._target is None:
            return None
        if operation.place not in self.replaced:
            self.replaced.add(operation.place)
        return _checked(translate_uri(uri, operation.place, self._target), self._target)


_ANY = ("utf-8", "surrogateescape")


def refusal(operation: Operation, what: str = "would change what is stored where it was recorded") -> ConfigError:
    """Why what is stored there is left alone."""
    return ConfigError(
        f"the log has a {operation.kind}, which {what}",
        uri=operation.uri,
        hint="--target URI replays it elsewhere, --ops GET,HEAD,LIST leaves it out, --in-place does it there",
    )


def _without_slash(prefix: str) -> str:
    bare = prefix.rstrip("/")
    return f"{bare}//" if bare.endswith(":") else bare


def _checked(uri: str, target: str) -> str:
    """A name of a log never leaves a local target."""
    if target.partition("://")[0].lower() in LOCAL_SCHEMES:
        relative = uri[len(target.rstrip("/")) :].strip("/")
        if relative:
            safe_segments(relative, uri=uri, destination=target)
    elif uri.endswith("://"):
        raise InvalidURIError("the target names no bucket", uri=uri)
    return uri
