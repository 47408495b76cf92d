"""``python -m s3dlio``, and what the console scripts ``s3-cli`` and ``s3dlio`` start."""

from __future__ import annotations

import sys

from s3dlio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
