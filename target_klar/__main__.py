"""The command `target-klar`, and `python -m target_klar`."""

from __future__ import annotations

import gc
import sys

from target_klar.runtime import nonblocking, shutdown


def main() -> None:
    """Run the command; signals are heard before anything heavy is imported."""
    shutdown.listen()
    nonblocking.bound_stderr()
    gc.disable()  # of what the imports make nothing is garbage, now or later: looking through it costs a tenth of them
    from target_klar.cli import run  # noqa: PLC0415  # the half second of imports must not miss a signal

    gc.freeze()
    gc.enable()
    try:
        code = run(sys.argv[1:])
    finally:
        shutdown.conclude()
    sys.exit(code)


if __name__ == "__main__":
    main()
