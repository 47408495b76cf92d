"""Where settings come from outside the program: the environment, a ``.env`` file, a configuration file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from s3dlio.config.fields import OFF, ON
from s3dlio.errors import ConfigError

#: Variables of the package that this one replaces which have no meaning here, and why (``*`` stands for the rest of a
#: name). They are accepted and shown by ``s3-cli config`` as ignored, so that nobody believes that they had an effect.
IGNORED_VARIABLES = {
    "S3DLIO_USE_OPTIMIZED_HTTP": "there is one HTTP layer, and it is always the optimized one",
    "S3DLIO_H2_*": "neither transport lets windows of HTTP/2 be set",
    "S3DLIO_EXPORT_QUIESCE_TIMEOUT_SECS": "buffers are borrowed for the time of a call only",
    "S3DLIO_SKIP_HEAD": "no read asks for the head first",
    "S3DLIO_CONCURRENT_THRESHOLD": "range.threshold and range.chunk say what is read as ranges",
    "S3DLIO_MAX_CONCURRENCY": "max_in_flight of each call and range.concurrency say that",
    "S3DLIO_HTTP_IDLE_TIMEOUT_MS": "http.pool_idle_seconds says that",
    "S3DLIO_GCS_RAPID": "requests to Google Cloud Storage travel over its JSON API, not gRPC",
    "S3DLIO_GCS_GRPC_*": "requests to Google Cloud Storage travel over its JSON API, not gRPC",
    "S3DLIO_GRPC_*": "requests to Google Cloud Storage travel over its JSON API, not gRPC",
    "S3DLIO_GCS_BIDI_*": "requests to Google Cloud Storage travel over its JSON API, not gRPC",
    "S3DLIO_GCS_READ_*": "reads of all services follow the sections http, retry and range",
    "S3DLIO_AZURE_DOWNLOAD_*": "reads of all services follow the sections http, retry and range",
    "S3DLIO_DIRECT_IO_*": "file.alignment and file.direct_fallback say how direct:// works",
    "S3DLIO_TOKIO_CONSOLE": "there is no Tokio runtime",
    "S3DLIO_PROFILE_FREQ": "there is no built-in profiler",
    "RUST_LOG": "the log is Python's: init_logging(), or -v of s3-cli",
}

#: Read where an op-log begins (``oplog.options``).
OPLOG_VARIABLES = frozenset({
    "S3DLIO_OPLOG_BUF", "S3DLIO_OPLOG_FORMAT", "S3DLIO_OPLOG_LEVEL", "S3DLIO_OPLOG_LOSSLESS", "S3DLIO_OPLOG_SORT",
    "S3DLIO_OPLOG_WBUFCAP",
})  # fmt: skip
#: Read elsewhere, so not a misspelling: how long completion waits; where benchmarks find the replaced package.
_KNOWN_ELSEWHERE = OPLOG_VARIABLES | {"S3DLIO_COMPLETION_SECONDS", "S3DLIO_REFERENCE_PYTHON"}

DOTENV_SWITCH = "S3DLIO_LOAD_DOTENV"
TRUST_DOTENV = "S3DLIO_TRUST_DOTENV"
CONFIG_FILE = "S3DLIO_CONFIG"
#: What the origin of a setting begins with that a .env file gives.
DOTENV_ORIGIN = "dotenv file "


def ignored(name: str) -> str | None:
    """Why the variable ``name`` has no meaning here; None where it has one, or is unknown."""
    for pattern, reason in IGNORED_VARIABLES.items():
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return reason
    return None


class Layer(NamedTuple):
    """Variables of one origin: ``origin`` says which: ``environment``, or ``dotenv file`` with its path, which begins
    with ``trusted`` where the environment says that it is."""

    origin: str
    variables: Mapping[str, str]


def variable_layers(environ: Mapping[str, str] | None = None) -> Iterator[Layer]:
    """The layers of variables, the one that wins first: the environment, then the ``.env`` file.

    ``S3DLIO_LOAD_DOTENV`` says which: unset or ``1`` the file ``.env`` in the current directory if there is one,
    ``0`` none, anything else is the path of the file. The environment of the process is never changed, and nothing of
    it is expanded in the file: ``${AWS_SECRET_ACCESS_KEY}`` in an endpoint would send the key there.

    Raises:
        ConfigError: the named file is missing or unreadable.
    """
    environ = os.environ if environ is None else environ
    yield Layer("environment", environ)
    switch = environ.get(DOTENV_SWITCH, "").strip()
    if switch.lower() in OFF:
        return
    named = switch.lower() not in ("", *ON)
    path = switch if named else ".env"
    if named or os.path.isfile(path):
        trusted = "trusted " if environ.get(TRUST_DOTENV, "").strip().lower() in ON else ""
        yield Layer(f"{trusted}{DOTENV_ORIGIN}{path}", _read_dotenv(path))


#: Bytes that a file of settings or credentials has at most.
_MAX_FILE = 1 << 20


def read_small_file(path: str | os.PathLike[str]) -> str:
    """The text of a file of settings or credentials, which may be somebody else's: a device has no end.

    Raises:
        OSError, ValueError: it cannot be read, is no UTF-8, or is larger than such a file is.
    """
    with open(path, "rb") as stream:
        data = stream.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ValueError(f"it is larger than {_MAX_FILE >> 20} MiB")
    return data.decode()


def _read_dotenv(path: str) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        found = dotenv_values(stream=io.StringIO(read_small_file(path), newline=None), interpolate=False)
        return {name: value for name, value in found.items() if value is not None}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read the .env file {path!r}: {error}", hint=f"correct {DOTENV_SWITCH}, or set it to 0"
        ) from error


def config_file(environ: Mapping[str, str] | None = None) -> tuple[str, Mapping[str, Any]]:
    """The path of the configuration file and its tables; an empty path where there is none.

    It is the TOML file that ``S3DLIO_CONFIG`` names, or ``s3dlio/config.toml`` in ``$XDG_CONFIG_HOME``
    (``~/.config``) if it exists.

    Raises:
        ConfigError: the named file is missing, or the file is not TOML.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(CONFIG_FILE, "").strip()
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", ""), ".config")
    path = named or os.path.join(home, "s3dlio", "config.toml")
    if not named and not (os.path.isabs(path) and os.path.isfile(path)):
        return "", {}
    import tomllib

    try:
        return path, tomllib.loads(read_small_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read the configuration file {path!r}: {str(error)[:200]}") from error


def unknown_variables(known: Iterable[str], layers: Iterable[Layer]) -> dict[str, str]:
    """The variables called ``S3DLIO_...`` that are set and nothing reads, each with what may have been meant.

    Args:
        known: the variables of the settings.
        layers: where to look.
    """
    read = {*known, *IGNORED_VARIABLES, *_KNOWN_ELSEWHERE, DOTENV_SWITCH, TRUST_DOTENV, CONFIG_FILE}
    found: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.variables.items():
            if name.startswith("S3DLIO_") and name not in read and value and not ignored(name):
                found[name] = f"no setting has this name{did_you_mean(name, read)}"
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is most like it, or longer by words, if there is
    one."""
    import difflib

    longer = sorted(other for other in known if other.startswith(f"{name}_"))
    close = longer[:1] or difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def ignored_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that are set but have no meaning here, each with the reason."""
    found: dict[str, str] = {}
    for layer in variable_layers(environ):
        found |= {name: reason for name, value in layer.variables.items() if value and (reason := ignored(name))}
    return found
