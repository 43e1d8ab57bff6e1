"""The command `target-klar-sandbox`, and `python -m target_klar.sandbox`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from target_klar.sandbox import trial
from target_klar.sandbox.answers import STYLES
from target_klar.sandbox.control import is_loopback
from target_klar.sandbox.export import json_lines
from target_klar.sandbox.faults import FAULTS, Fault
from target_klar.sandbox.klar import KNOWN_VERSIONS
from target_klar.sandbox.objects import STREAMS
from target_klar.sandbox.server import LARGEST_BODY
from target_klar.sandbox.stand_in import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_klar.sandbox.shapes import Json

_ABOUT = """A local stand-in for Klar: it takes what Klar's import API takes, as it does,
and shows at its address what arrived and what was refused. It ends with SIGTERM or Ctrl-C, exit code 0."""

_DAY_MS = 24 * 60 * 60 * 1000
_STOPS = {signal.SIGINT, signal.SIGTERM}


def main() -> NoReturn:
    """Serves until a signal, or for as long as a load takes."""
    asked, command = _asked(sys.argv[1:])
    sandbox = _sandbox(asked)
    if not (asked.load or command):
        # Blocked before there are threads, so that none of them takes the signal that the main one waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        sandbox.start()
    except OSError as error:
        sys.exit(f"cannot listen on {asked.host}, port {asked.port}: {error.strerror}; choose another with --port")
    if not is_loopback(asked.host):
        sys.stderr.write(f"warning: whoever can reach {asked.host} can read and clear what this Klar holds\n")
    try:
        code = _serve(sandbox, asked, command)
    finally:
        sandbox.close()
        if asked.export:
            _export(sandbox, asked.export)
    sys.exit(code)


def _serve(sandbox: Sandbox, asked: argparse.Namespace, command: list[str]) -> int:
    """Serves a load, a command or until a signal; returns the exit code."""
    if asked.load:
        code, state = trial.load(sandbox, asked.load, asked.config)
        _say(f"{trial.arrived(sandbox)}\nSTATE:\n  {state or 'none'}")
        return code
    if command:
        try:
            code = trial.run(sandbox, command)
        except OSError as error:
            sys.exit(f"cannot run {command[0]}: {error.strerror}")
        _say(trial.arrived(sandbox))
        return code
    _say(f"api_url: {sandbox.url}\napi_token: {sandbox.token}\npage: {sandbox.url}/")
    signal.sigwait(_STOPS)
    return 0


def _export(sandbox: Sandbox, file: Path) -> None:
    """Writes what is held, or ends with one line where that fails."""
    try:
        file.write_text("".join(json_lines(sandbox)), encoding="utf-8")
    except OSError as error:
        sys.exit(f"cannot write {file}: {error.strerror}; what this Klar held is lost")


def _asked(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line; what follows `--` is a command of the user's."""
    own = list(arguments)
    command: list[str] = []
    if "--" in own:
        cut = own.index("--")
        own, command = own[:cut], own[cut + 1 :]
    parser = _parser()
    asked = parser.parse_args(own)
    if asked.run != bool(command):
        parser.error("--run and a command belong together: --run -- COMMAND")
    if command and asked.load:
        parser.error("--run and --load are two things: choose one")
    return asked, command


def _sandbox(asked: argparse.Namespace) -> Sandbox:
    unwanted = [key for keys in asked.refuse for key in keys.split(",")]
    sandbox = Sandbox(
        host=asked.host,
        port=asked.port,
        latency=asked.latency_ms / 1000,
        jitter=asked.jitter_ms / 1000,
        status_lag=asked.status_lag_ms / 1000,
        status_frozen=asked.status_frozen,
        faults=asked.fault,
        counts_nothing=asked.count_nothing,
        state_spelling=asked.state_spelling,
        refuse_style=asked.refuse_style,
        limit_bytes=asked.limit_bytes,
        extra_fields=asked.extra_field,
        versions={name: (*KNOWN_VERSIONS[name], *asked.api_version) for name in STREAMS},
    )
    if asked.token:
        sandbox.token = asked.token
    if unwanted:
        sandbox.refuse = lambda sent: any(sent.get(stream.key) in unwanted for stream in STREAMS.values())
    return sandbox


def _parser() -> argparse.ArgumentParser:
    width = max(len(fault.name) for fault in FAULTS)
    parser = argparse.ArgumentParser(
        prog="target-klar-sandbox",
        description=_ABOUT,
        epilog="\n".join(["faults:", *(f"  {fault.name:{width}}  {fault.sentence}" for fault in FAULTS)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="listen on this address (default: %(default)s, this machine alone)")
    add(
        "--port", metavar="N", type=_number(0, 65535), default=0, help="listen on this port (default: any that is free)"
    )
    add("--token", help="expect this token (default: a new one, printed at the start)")
    add("--load", metavar="FILE", type=Path, action="append", help="load a Singer file, tell what arrived, and end")
    add("--config", metavar="FILE", type=_config, default={}, help="the target's settings for --load")
    add(
        "--export",
        metavar="FILE",
        type=_emptied,
        help='at the end, also by a signal, write what is held as JSON lines {"stream": ..., "object": ...}, by stream '
        "and then by key, numbers digit for digit; while it runs, GET /sandbox/export answers the same",
    )
    add("--run", action="store_true", help="run the command after --, which finds this Klar in its environment")
    for name, what in (
        ("latency", "let every call take at least this long"),
        ("jitter", "and up to this much longer, at random"),
        ("status-lag", "let the status show a load only after this long"),
    ):
        add(f"--{name}-ms", metavar="N", type=_number(0, _DAY_MS), default=0, help=what)
    add("--status-frozen", action="store_true", help="let the status never show a load")
    add("--state-spelling", action="store_true", help="give the status of costs at /state, not at /status")
    add("--count-nothing", action="store_true", help="take every load, store nothing and count 0")
    add("--refuse", metavar="KEY[,KEY]", action="append", default=[], help="refuse the objects with these keys")
    add("--refuse-style", choices=STYLES, help="how refusals are written (default: as Klar's page of the stream)")
    add(
        "--limit-bytes",
        metavar="N",
        type=_number(1, LARGEST_BODY),
        default=Sandbox.limit_bytes,
        help="answer 413 above this",
    )
    add("--extra-field", metavar="NAME", action="append", default=[], help="accept this field everywhere too")
    add("--api-version", metavar="MM.YYYY", action="append", default=[], help="accept this version in paths too")
    add(
        "--fault",
        metavar="SPEC",
        type=_fault,
        action="append",
        default=[],
        help="misbehave, e.g. 503@3, hang@2x4, 503@1+, status:500@2, refunds/413@1; the names are listed below",
    )
    return parser


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _emptied(text: str) -> Path:
    """Empties a file, so that one that cannot be written is found now, and an older export is never taken for ours.

    A new one is for its owner alone: orders hold personal data.
    """
    try:
        os.close(os.open(text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be written: {error.strerror}") from None
    return Path(text)


def _config(text: str) -> dict[str, Json]:
    try:
        settings = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error}") from None
    if not isinstance(settings, dict):
        raise argparse.ArgumentTypeError(f"{text} must hold a JSON object")
    return settings


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
