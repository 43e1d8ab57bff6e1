"""The command line: the SDK's options and `--check`, and how a run becomes an exit code."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar import stopping
from target_klar.client import KlarError, TokenRefusedError
from target_klar.contract import CONTRACTS
from target_klar.run import load
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger("target-klar")


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0, or 1 after a line on stderr that says what to do.

    Raises:
        SystemExit: With 130 or 143, where a signal ended the run.
    """
    command = TargetKlar.cli
    command.callback = _invoke
    for option in command.params:
        if option.name == "config":
            option.callback = _read_config
        elif option.name == "file_input":  # opened by the reader, since it may be a FIFO that nobody writes
            option.type = click.Path(exists=True, dir_okay=False, allow_dash=True)
    command.params.append(
        click.Option(["--check"], is_flag=True, help="Ask Klar for the status of both streams, and load nothing.")
    )
    try:
        command.main(list(arguments), prog_name=TargetKlar.name, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        _logger.error("%s%s See target-klar --help.", message, end)
    except (SingerSDKError, InvalidInputLine) as error:
        _logger.error("%s", " ".join(str(error).split()))
    else:
        return 0
    return 1


def _invoke(*, about: bool, about_format: str | None, config: Any, file_input: str | None, check: bool) -> None:
    if about:
        TargetKlar.print_about(about_format)
        return
    TargetKlar.print_version(print_fn=_logger.info)
    try:
        target = TargetKlar(config=config.config, parse_env_config=config.parse_env)
    except ConfigValidationError as error:
        raise ConfigurationError(" ".join(error.errors)) from None
    if not check:
        load(target, None if file_input == "-" else file_input)
        return
    stopping.end_at_once()
    if not _check(target):
        raise ConfigurationError("Klar shows the status of neither stream. The lines above say why.")


def _read_config(context: click.Context, option: click.Parameter, paths: tuple[str, ...]) -> Any:
    try:
        return TargetKlar.cb_config(context, option, paths)  # type: ignore[arg-type]  # the SDK types its option narrower
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        why = str(error).rstrip(".") if isinstance(error, OSError) or hasattr(error, "lineno") else "no JSON object"
        raise ConfigurationError(
            f"The configuration {', '.join(paths)} cannot be read ({why}). It must be a file with a JSON object."
        ) from None


def _check(target: TargetKlar) -> bool:
    """Print a table of what Klar says of each stream, and return whether the token works for one of them."""
    client = target.connect(_logger.warning, retry_timeout=0)
    table = [
        ("stream", "address", "version (not asked)", "token", "total", "last batch", "last success", "last failure")
    ]
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
