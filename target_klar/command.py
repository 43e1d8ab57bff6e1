"""The command: its options and `--check`, and a run from its first line to its exit code."""

from __future__ import annotations

import enum
import json
import logging
import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click
from singer_sdk import metrics
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, FatalSyncError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.api.client import KlarError, TokenRefusedError
from target_klar.contract.streams import CONTRACTS
from target_klar.delivery.dispatcher import Interrupted
from target_klar.delivery.rejects import RecordRejectedError
from target_klar.progress import Progress, on_terminal
from target_klar.runtime import shutdown
from target_klar.runtime.pipes import pieces_of
from target_klar.settings.settings import SETTINGS
from target_klar.settings.stream_maps import unused_maps
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger("target-klar")
_FREQUENT = 3
_HELP = {
    "version": "Print the version.",
    "about": "Print every setting with its default.",
    "about_format": "What --about prints: JSON or Markdown in place of text.",
    "config": "A JSON file with the settings, or ENV for variables named TARGET_KLAR_... . May be given several times.",
    "file_input": "Read this file in place of stdin.",
}


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0, or 1 after a line on stderr that says what to do.

    Raises:
        SystemExit: With 130 or 143, where a signal ended the run.
    """
    try:
        _Command.cli.main(list(arguments), prog_name=TargetKlar.name, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        _logger.error("%s%s See target-klar --help.", message, end)
    except (SingerSDKError, InvalidInputLine) as error:
        _logger.error("%s", " ".join(str(error).split()))
    else:
        return 0
    return 1


class _Command(TargetKlar):
    """The target as its command line has it."""

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the SDK's command with `--check`, and an `--input` that the reader opens: nobody may write a FIFO."""
        command = super().get_singer_command()
        command.help = "Load a Singer stream on stdin into Klar. A STATE goes to stdout once Klar holds its records."
        command.context_settings["help_option_names"] = ["-h", "--help"]
        for option in command.params:
            assert isinstance(option, click.Option)
            option.help = _HELP.get(str(option.name), option.help)
            if option.name == "file_input":
                option.type = click.Path(exists=True, dir_okay=False, allow_dash=True)
        for name, told in {
            "--preview": "Show what the first records of the input become, and load nothing. Needs no token.",
            "--check": "Ask Klar for the status of every stream, and load nothing.",
        }.items():
            command.params.append(click.Option([name], is_flag=True, help=told))
        return command

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the files of `--config`.

        Raises:
            ConfigurationError: One cannot be read.
        """
        try:
            return super().cb_config(ctx, param, value)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            why = str(error).rstrip(".") if isinstance(error, OSError) or hasattr(error, "lineno") else "no JSON object"
            raise ConfigurationError(
                f"The configuration {', '.join(value)} cannot be read ({why}). It must be a file with a JSON object."
            ) from None

    @classmethod
    def invoke(  # type: ignore[override]  # as the SDK's own targets narrow it
        cls, *, about: bool, about_format: str | None, config: Any, file_input: str | None, preview: bool, check: bool
    ) -> None:
        """Do what the options say."""
        if about:
            if about_format:
                TargetKlar.print_about(about_format)  # whose docstring is the description
            else:
                _tell_about()
            return
        cls.print_version(print_fn=_logger.info)
        path = None if file_input == "-" else file_input
        try:
            target = (_WithoutToken if preview else cls)(config=config.config, parse_env_config=config.parse_env)
        except ConfigValidationError as error:
            raise ConfigurationError(" ".join(error.errors)) from None
        if preview:
            _preview(target, path)
            return
        if not check:
            load(target, path)
            return
        shutdown.end_at_once()
        if not _check(target):
            raise ConfigurationError("Klar shows the status of no stream. The lines above say why.")


class _WithoutToken(TargetKlar):
    """The target of a preview, which sends nothing."""

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        self._config.setdefault("api_token", "none")
        return super()._validate_config(raise_errors=raise_errors)


def _tell_about() -> None:
    click.echo(f"Name: {TargetKlar.name}\nDescription: {TargetKlar.__doc__}\nVersion: {TargetKlar.plugin_version}")
    click.echo("Settings, each also as a variable TARGET_KLAR_... in capitals under --config=ENV:")
    for name, setting in SETTINGS["properties"].items():
        default = json.dumps(setting["default"]) if "default" in setting else "none"
        default = "required" if name in SETTINGS["required"] else f"default {default}"
        told = f"{name} ({default}): {setting.get('description', setting.get('title', ''))}"
        click.echo(textwrap.fill(told, width=100, initial_indent="  ", subsequent_indent="      "))


def _preview(target: TargetKlar, path: str | None) -> None:
    from target_klar.preview import show  # noqa: PLC0415  # what lays out tables takes long to import

    shutdown.end_at_once()
    show(target.config, path)


def _check(target: TargetKlar) -> bool:
    """Print a table of what Klar says of each stream, and return whether the token works for one of them."""
    client = target.connect(_logger.warning, retry_timeout=0)
    table = [("stream", "address", "version set", "token", "total", "last batch", "last success", "last failure")]
    troubles = []
    for contract in CONTRACTS.values():
        row = (contract.stream, f"{target.config['api_url']}/{contract.path}", target.config[contract.version_setting])
        try:
            figures = [figure or "none" for figure in client.status(contract)]
        except KlarError as error:
            troubles.append(str(error))
            table.append((*row, "refused" if isinstance(error, TokenRefusedError) else "?", *["?"] * 4))
        else:
            table.append((*row, "accepted", *figures))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for trouble in troubles:
        click.echo(trouble)
    return len(troubles) < len(CONTRACTS)


class _Metric(str, enum.Enum):
    REJECTED_RECORDS = "rejected_records"


def load(target: TargetKlar, path: str | None) -> None:
    """Load everything that the file at `path`, or stdin, brings and acknowledge what Klar holds, however it ends.

    Raises:
        FatalSyncError: The run could not go on, in one line that says what was kept.
        SystemExit: A signal ended it.
    """
    if sys.stdout is None:
        raise FatalSyncError("stdout is closed, so no STATE could be written. Open it, or send it to /dev/null.")
    dispatcher = target.dispatcher
    dispatcher.rejects.open(_input(path))
    if not target.config["status_timeout_seconds"]:
        target.logger.warning("status_timeout_seconds is 0: Klar's status has to answer, but not to show the load.")
    shutdown.on_signal(dispatcher.workers.stop.set, dispatcher.workers.wakeup.set)
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        target.logger.info("Waiting for a Singer stream on stdin, as a tap writes it. Ctrl-D ends it.")
    progress = Progress(target, Path(path).stat().st_size if path else 0) if on_terminal() else None
    if progress:
        progress.show()
    try:
        _listen(target, path)
    finally:
        if progress:
            progress.end()
    _conclude(target)
    missing = unused_maps(target.mapper.stream_maps_dict, target.mapper.stream_maps)
    if missing:
        target.logger.warning("`stream_maps` has maps for streams that did not come: %s.", missing)
    refused = dispatcher.rejects.count
    if refused and target.config["validate_only"]:
        raise FatalSyncError(
            f"validate_only: refused {refused} of {dispatcher.ledger.number} records. Fix the mapping."
        )


def _listen(target: TargetKlar, path: str | None) -> None:
    try:
        # What the SDK passes on to our reader is not opened yet: that may take for ever.
        target.listen(cast("IO[str]", pieces_of(path)) if path else None)
    except (SingerSDKError, InvalidInputLine) as error:
        if isinstance(error, Interrupted):
            left = target.dispatcher.requests
            requests = f"{left} request{'s' * (left != 1)}"
            target.logger.info("Stopping: waiting for %s in flight, %.0f s at most.", requests, shutdown.GRACE_SECONDS)
        told = _end_early(target, error)
        _conclude(target)
        number = shutdown.received()
        if number is not None:
            if not isinstance(error, Interrupted):
                target.logger.error("%s", " ".join(told.split()))
            target.logger.warning("Stopped by %s. %s", signal.Signals(number).name, _kept(target))
            raise SystemExit(128 + number) from None
        raise FatalSyncError(f"{told} {_kept(target)}") from error


def _conclude(target: TargetKlar) -> None:
    """Say what became of the records of each stream, and of those that were refused."""
    for sink in target.sinks.values():
        sink.conclude()
        tags = {"stream": sink.stream_name}
        # A name of ours among the SDK's metrics, whose enum cannot be extended.
        metric = cast("metrics.Metric", _Metric.REJECTED_RECORDS)
        point = metrics.Point("counter", metric, sink.stream.rejected, tags)
        metrics.log(target.metrics_logger, point)
    rejects = target.dispatcher.rejects
    if rejects.count:
        where = f", to be found in {rejects.path}" if rejects.path else ""
        reasons = "; ".join(f"{count} x {reason}" for reason, count in rejects.reasons.most_common(_FREQUENT))
        target.logger.warning("Records refused: %d%s. Most often: %s", rejects.count, where, reasons)


def _input(path: str | None) -> os.stat_result | None:
    try:
        return Path(path).stat() if path else os.fstat(sys.stdin.fileno())
    except (AttributeError, OSError):  # no stdin, or a file that only this process knows
        return None


def _end_early(target: TargetKlar, reason: Exception) -> str:
    """Deliver what came before the reason to stop, unless its class says that nothing new may be sent; acknowledge.

    Returns what to tell: of the records that stopped the run the first, and why not all before it was delivered.
    """
    told = reason
    trouble: Exception | None = reason if hasattr(reason, "lets_in_flight_end") else None
    while trouble is None:
        try:
            target.process_endofpipe()
        except RecordRejectedError as error:  # held back too
            if isinstance(told, RecordRejectedError) and error.number < told.number:
                told = error
        except SingerSDKError as error:
            trouble = error
        else:
            return str(told)
    if getattr(trouble, "lets_in_flight_end", False):
        try:
            target.dispatcher.finish_in_flight()
        except FatalSyncError as error:
            trouble = error
    return (
        str(told) if str(told) == str(trouble) else f"{told} Not all of what came before could be delivered: {trouble}"
    )


def _kept(target: TargetKlar) -> str:
    state, read = target.dispatcher.checkpoints.acknowledged, target.dispatcher.ledger.number
    if state is None:
        return "No STATE was written."
    return f"The last STATE written covers {state.number} of the {read} records read."
