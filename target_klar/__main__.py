"""The command `target-klar`, and `python -m target_klar`."""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Run the command; note signals before anything heavy is imported."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `listen`: Python's own handler would print a traceback
    from target_klar.runtime import nonblocking, shutdown  # noqa: PLC0415  # these take some milliseconds too

    shutdown.listen()
    nonblocking.bound_stderr()
    gc.disable()  # imports make no garbage, and collecting it would take a tenth of their time
    from target_klar import cli  # noqa: PLC0415  # the half second of imports must not miss a signal

    gc.freeze()
    gc.enable()
    try:
        code = cli.main(sys.argv[1:])
    finally:
        shutdown.conclude()
    sys.exit(code)


if __name__ == "__main__":
    main()
