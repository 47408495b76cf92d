"""TLS: always verified; a private CA bundle is the way to trust a private server."""

from __future__ import annotations

import os
import ssl
import sys
from functools import lru_cache

from s3dlio.errors import ConfigError
from s3dlio.net import faults
from s3dlio.wording import either

faults.would_block += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
faults.wants_read += (ssl.SSLWantReadError,)


@lru_cache(maxsize=64)
def client_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The context for connections to servers whose certificates ``ca_bundle`` (a PEM file or directory) vouches for.

    None: the system's CAs. One context per bundle is shared by all connections, so that sessions can be resumed.

    Raises:
        ConfigError: the bundle is not there or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies certificates and the names in them
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET  # of TLS 1.2
    context.post_handshake_auth = True
    context.hostname_checks_common_name = False
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if key_log := os.environ.get("SSLKEYLOGFILE"):
        context.keylog_filename = os.path.expandvars(key_log)
    if ca_bundle is None:
        context.load_default_certs()
        return context
    try:
        if os.path.isdir(ca_bundle):
            context.load_verify_locations(capath=ca_bundle)
        else:
            context.load_verify_locations(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the CA bundle '{ca_bundle}' cannot be used: {error}",
            hint=f"set AWS_CA_BUNDLE (or {either('ca_bundle=', '--ca-bundle')}) to a PEM file of CA certificates",
        ) from error
    return context
