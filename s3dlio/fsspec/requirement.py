"""The package that all of this is for; imported before what needs it, for an error that says how to install it."""

from s3dlio.formats.optional_packages import require

require("fsspec", "fsspec", "s3dlio.fsspec")
