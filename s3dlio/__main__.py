"""``python -m s3dlio``, and what the console scripts ``s3-cli`` and ``s3dlio`` start."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    gc.set_threshold(50_000, 20, 50)  # imports, and items of transfers, are no garbage: 10 ms of the start
    try:
        from s3dlio.cli.main import main as run  # here, for Ctrl-C while it is imported

        return run()
    except KeyboardInterrupt:  # before the command has begun; from then on it has more to say
        return 130
    finally:
        gc.freeze()  # what the process leaves at its end goes with it: 20 ms without a last collection


if __name__ == "__main__":
    sys.exit(main())
