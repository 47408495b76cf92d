"""``python -m s3dlio``, and what the console scripts ``s3-cli`` and ``s3dlio`` start."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    try:
        from s3dlio.cli.main import main as run  # here, for Ctrl-C while it is imported

        return run()
    except KeyboardInterrupt:  # before the command has begun; from then on it has more to say
        return 130


if __name__ == "__main__":
    sys.exit(main())
