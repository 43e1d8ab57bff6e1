"""The command line: the options, `--about` and `--check`."""

from __future__ import annotations

import errno
import json
import logging
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.api.client import KlarError, TokenRefusedError
from target_klar.contract.streams import CONTRACTS
from target_klar.preview.discarding import PreviewTarget
from target_klar.run import UnexpectedError, load
from target_klar.runtime import shutdown
from target_klar.settings.environment import how_to_read_variables, substitute_log_level, unread_variables
from target_klar.settings.settings import SETTINGS
from target_klar.settings.token_claims import TokenClaims
from target_klar.settings.values import read_file, require_no_map_lost, shown_argument
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENVIRONMENT = "ENV"
_CANNOT_WRITE = (errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC)
_logger = logging.getLogger("target-klar")
_HELP = {
    "version": "Print the version.",
    "about": "Print every setting with its default.",
    "about_format": "What --about prints: JSON or Markdown in place of text.",
    "config": "A JSON file with the settings, or ENV for variables named TARGET_KLAR_... . May be given several times.",
    "file_input": "Read this file in place of stdin.",
}


def _only_one(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Take one value, where click would take the last and drop the others without a word."""
    if len(values) > 1:
        raise click.UsageError(f"`{parameter.opts[0]}` is given {len(values)} times. Run once for each")
    return values[0] if values else None


_OWN_OPTIONS = (
    click.Option(
        ["--preview"],
        is_flag=True,
        help="Judge the first 10,000 lines as a load does, show what they become, send nothing. Needs no token.",
    ),
    click.Option(
        ["--check"],
        is_flag=True,
        help="Show what the token says of itself and what Klar's status says of every stream, and load nothing.",
    ),
    click.Option(
        ["--stream"],
        metavar="NAME",
        multiple=True,
        callback=_only_one,
        help="Read plain JSON lines in place of Singer messages: each one is a record of this stream.",
    ),
)
"""The options that are not the SDK's, each a parameter of `invoke`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0, or 1 after an error line on stderr that says what to do.

    Raises:
        SystemExit: With 130 or 143, where a signal ended the run.
    """
    variable = substitute_log_level()
    command = _Command.cli  # which sets up the logging
    if variable:
        _logger.warning("%s is not a log level, so INFO is used. Set it to DEBUG, INFO, WARNING or ERROR.", variable)
    try:
        if sys.stdout is None:
            raise ConfigurationError("stdout is closed. Open it, or send it to /dev/null.")
        command.main(list(arguments), prog_name=TargetKlar.name, standalone_mode=False)
    except click.ClickException as error:
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        _logger.error("%s%s See target-klar --help.", message, end)
    except (SingerSDKError, InvalidInputLine) as error:
        cause = error.__cause__ if isinstance(error, UnexpectedError) else None
        is_bug = cause is not None and not isinstance(cause, (OSError, MemoryError))
        advice = " This is a bug of target-klar: please report it with the traceback below." if is_bug else ""
        _logger.error("%s%s", " ".join(str(error).split()), advice)
        if cause is not None:
            # Where it happened, and not what it says, which may quote a record.
            sys.stderr.write("".join(traceback.format_tb(cause.__traceback__)))
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _logger.error("stdout cannot be written (%s). Check where it leads.", error.strerror)
    else:
        return 0
    return 1


class _Command(TargetKlar):
    """The target with our command line."""

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the SDK's command with our options, and an `--input` that the reader opens, since a FIFO may block."""
        command = super().get_singer_command()
        command.help = "Load a Singer stream on stdin into Klar. A STATE goes to stdout once Klar holds its records."
        command.context_settings["help_option_names"] = ["-h", "--help"]
        for option in command.params:
            assert isinstance(option, click.Option)
            option.help = _HELP.get(str(option.name), option.help)
            if option.name == "file_input":
                option.type = click.Path(exists=True, dir_okay=False, allow_dash=True)
                option.multiple, option.callback = True, _only_one
        command.params.extend(_OWN_OPTIONS)
        others = click.Argument(["others"], nargs=-1, expose_value=False, metavar="", callback=_reject_others)
        command.params.append(others)
        return command

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the files of `--config`, of which a later one overrides an earlier one."""
        given = super().cb_config(ctx, param, tuple(each for each in value if each == _ENVIRONMENT))
        for path in value:
            if path != _ENVIRONMENT:
                read = read_file(path)
                require_no_map_lost(given.config, read, shown_argument(path))
                given.config.update(read)
        return given

    @classmethod
    def invoke(  # type: ignore[override]  # as the SDK's own targets narrow it
        cls,
        *,
        about: bool,
        about_format: str | None,
        config: Any,
        file_input: str | None,
        preview: bool,
        check: bool,
        stream: str | None,
    ) -> None:
        """Do what the options say."""
        if preview and check:
            raise click.UsageError("`--preview` and `--check` do not go together")
        if stream is not None and not stream.strip():  # as of an unset variable
            raise click.UsageError("`--stream` is empty. Name the stream that the lines are records of")
        if about:
            if about_format:
                TargetKlar.print_about(about_format)  # whose docstring is the description
            else:
                _print_about()
            return
        cls.print_version(print_fn=_logger.info)
        path = None if file_input == "-" else file_input
        try:
            target = (PreviewTarget if preview else cls)(config={**config.config}, parse_env_config=config.parse_env)
        except ConfigValidationError as error:
            *others, last = error.errors
            for each in others:
                _logger.error("%s", each)
            raise ConfigurationError(last) from None
        require_no_map_lost(config.config, target.config, "the environment")
        target.message_reader.stream = stream
        if isinstance(target, PreviewTarget):
            _preview(target, path)
            return
        if not check:
            if not config.parse_env and (unread := unread_variables(target.config)):
                names = ", ".join(unread)
                _logger.warning(
                    "No variable is read, and these differ from the configuration: %s. %s",
                    names,
                    how_to_read_variables(),
                )
            load(target, path)
            return
        shutdown.end_at_once()
        _show_token_claims(target.config["api_token"])
        _check(target)


def _reject_others(_context: click.Context, _parameter: click.Parameter, arguments: tuple[str, ...]) -> None:
    """Take no argument that is not an option, as click does, which would show them."""
    if arguments:
        raise click.UsageError(
            f"Unexpected argument{'s' * (len(arguments) > 1)}: {', '.join(map(shown_argument, arguments))}. Quote a "
            "value that has blanks, and name a file with the settings by `--config`"
        )


def _print_about() -> None:
    click.echo(f"Name: {TargetKlar.name}\nDescription: {TargetKlar.__doc__}\nVersion: {TargetKlar.plugin_version}")
    click.echo("Settings, each also as a variable TARGET_KLAR_... in capitals under --config=ENV:")
    for name, setting in SETTINGS["properties"].items():
        default = json.dumps(setting["default"]) if "default" in setting else "none"
        default = "required" if name in SETTINGS["required"] else f"default {default}"
        line = f"{name} ({default}): {setting.get('description', setting.get('title', ''))}"
        click.echo(textwrap.fill(line, width=100, initial_indent="  ", subsequent_indent="      "))


def _preview(target: PreviewTarget, path: str | None) -> None:
    from target_klar.preview.report import show  # noqa: PLC0415  # what lays out tables takes long to import

    shutdown.end_at_once()
    show(target, path)


def _show_token_claims(token: str) -> None:
    claims = TokenClaims.of(token)
    if claims:
        click.echo(f"api_token: {claims}")
        if claims.warning:
            _logger.warning("%s Klar shows a new one under the data source, tab Access Token.", claims.warning)


def _check(target: TargetKlar) -> None:
    """Print a table of what Klar says of each stream, and each reason why it says nothing once.

    Raises:
        ConfigurationError: Klar shows the status of no stream.
    """
    client = target.connect(_logger.warning, retry_timeout=0)
    table = [("stream", "address", "version set", "token", "total", "last batch", "last success", "last failure")]
    reasons: dict[str, str] = {}
    answered = 0
    for contract in CONTRACTS.values():
        row = (contract.stream, f"{target.config['api_url']}/{contract.path}", target.config[contract.version_setting])
        try:
            figures = [figure or "none" for figure in client.status(contract)]
        except KlarError as error:
            # What differs from stream to stream in the same reason is the address alone.
            reasons.setdefault(str(error).removeprefix(contract.stream).replace(contract.path, ""), str(error))
            table.append((*row, "refused" if isinstance(error, TokenRefusedError) else "?", *["?"] * 4))
        else:
            table.append((*row, "accepted", *figures))
            answered += 1
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if not answered:
        raise ConfigurationError(f"No stream's status could be read. {' '.join(reasons.values())}")
    for reason in reasons.values():
        click.echo(reason)
