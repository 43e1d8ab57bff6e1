"""The command line: the SDK's options and `--check`, and how a run becomes an exit code."""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.client import KlarError
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
    command.params.append(
        click.Option(["--check"], is_flag=True, help="Ask Klar for the status of both streams, and load nothing.")
    )
    try:
        command.main(list(arguments), prog_name=TargetKlar.name, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        _logger.error("%s%s See target-klar --help.", message, end)  # noqa: TRY400 - one line, no traceback
    except (SingerSDKError, InvalidInputLine) as error:
        _logger.error("%s", " ".join(str(error).split()))  # noqa: TRY400 - one line, no traceback
    else:
        return 0
    return 1


def _invoke(*, about: bool, about_format: str | None, config: Any, file_input: IO[str] | None, check: bool) -> None:
    if about:
        TargetKlar.print_about(about_format)
        return
    TargetKlar.print_version(print_fn=_logger.info)
    try:
        target = TargetKlar(config=config.config, parse_env_config=config.parse_env)
    except ConfigValidationError as error:
        raise ConfigurationError(" ".join(error.errors)) from None
    except ValueError as error:
        if not config.parse_env:
            raise
        raise ConfigurationError(
            f"A TARGET_KLAR_ variable cannot be read ({error}). Numbers are whole; lists and maps are JSON."
        ) from None
    if not check:
        load(target, file_input)
    elif not _check(target):
        raise ConfigurationError("The token works for neither stream. Check `api_token` and `api_url`.")


def _read_config(context: click.Context, option: click.Parameter, paths: tuple[str, ...]) -> Any:
    try:
        return TargetKlar.cb_config(context, option, paths)  # type: ignore[arg-type]  # the SDK types its option narrower
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The configuration {', '.join(paths)} cannot be read ({error}). It must be a file with a JSON object."
        ) from None


def _check(target: TargetKlar) -> bool:
    """Print what Klar says of each stream, and return whether the token works for one of them."""
    client = target.connect(_logger.warning)
    works = False
    for contract in CONTRACTS.values():
        try:
            status = client.status(contract)
        except KlarError as error:
            click.echo(f"{contract.stream}: {error}")
            continue
        works = True
        figures = ", ".join(f"{name.replace('_', ' ')} {figure or 'none'}" for name, figure in status._asdict().items())
        version = target.config[contract.version_setting]
        click.echo(f"{contract.stream}: token accepted at {target.config['api_url']}, version {version}; {figures}")
    return works
