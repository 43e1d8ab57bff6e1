"""The process that imports a program once, and forks for each of its runs: `forked` starts it, and asks for them.

It is Python of the environment that has the program, so of ours it imports nothing but that.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def import_target_klar() -> None:
    """Import what takes so long; the last two, and a part of the SDK on Python 3.11, a run imports only if needed."""
    with suppress(ModuleNotFoundError):
        import importlib_metadata._adapters  # noqa: F401, PLC0415

    import target_klar.cli  # noqa: PLC0415
    import target_klar.preview.report  # noqa: PLC0415
    import target_klar.records.explain  # noqa: F401, PLC0415


def target_klar() -> None:
    """Be target-klar."""
    from target_klar.__main__ import main  # noqa: PLC0415 - it listens to signals

    main()


def import_meltano() -> None:
    """Import Meltano, and what each run of it imports later."""
    for name in ("meltano.cli", "alembic.command", "anyio.to_thread", "sqlalchemy.dialects.sqlite", "tzdata"):
        import_module(name)


def meltano() -> None:
    """Be Meltano, in a process group of its own with the plugins that it starts."""
    os.setsid()
    sys.exit(import_module("meltano.cli").main())


PROGRAMS: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
    "target-klar": (import_target_klar, target_klar),
    "meltano": (import_meltano, meltano),
}


def serve(asked: socket.socket, program: str) -> None:
    """Fork for every run that is asked for, and tell its exit code, until nobody can ask any more."""
    imported, main = PROGRAMS[program]
    imported()
    gc.collect()
    gc.freeze()  # what all runs share stays shared
    woken, wake = socket.socketpair()
    os.set_blocking(wake.fileno(), False)  # as Python asks for
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    runs: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            while runs and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with runs.pop(ended[0]) as run, suppress(ConnectionError):
                    run.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
        if asked in ready:
            told, descriptors, _, _ = socket.recv_fds(asked, 1, 4)
            if not told:
                return
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for ours in (asked, woken, wake, *runs.values()):
                    ours.close()
                become(program, main, descriptors)
            for descriptor in descriptors[:-1]:
                os.close(descriptor)
            runs[child] = socket.socket(fileno=descriptors[-1])


def become(program: str, main: Callable[[], None], descriptors: list[int]) -> None:
    """Be a run until its end: with these streams, and what is told over the last descriptor; tell the process id."""
    *streams, told = descriptors
    with socket.socket(fileno=told) as run:
        with run.makefile() as asked:
            options, environment, folder, cleans_up = json.loads(asked.readline())
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        # Whoever is told of the run finds its streams in their places.
        run.sendall(b"%d\n" % os.getpid())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [str(Path(sys.executable).with_name(program)), *options]
    try:
        main()
    except SystemExit as end:
        if cleans_up or not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
