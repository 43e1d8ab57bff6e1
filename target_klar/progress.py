"""How far a load is, on a terminal: one line that is rewritten. In a pipe the log has a line every ten seconds."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from target_klar.target import TargetKlar

INTERVAL_SECONDS = 0.5
_CLEAR = "\r\x1b[2K"
_SHOW_CURSOR = "\x1b[?25h"
"""Takes back what `click` has done at the start of its line."""


class Progress:
    """Records, rate, and of a file of `size` bytes how much of it is read and the time left; shown as a context."""

    def __init__(self, target: TargetKlar, size: int) -> None:
        self._target = target
        self._size = size
        self._started = time.monotonic()
        self._bar: ProgressBar[int] = click.progressbar(
            length=max(1, size),
            label="Loading",
            file=sys.stderr,
            width=20 if size else 0,
            show_eta=bool(size),
            show_percent=bool(size),
            bar_template="%(label)s  %(bar)s  %(info)s" if size else "%(label)s  %(info)s",
            item_show_func=lambda _: self._figures(),
        )

    def __enter__(self) -> None:
        """Rewrite the line from now on; the log's own lines clear it before they are written."""
        target = self._target
        target.dispatcher.progress_interval = INTERVAL_SECONDS
        target.dispatcher.report_progress = self._rewrite
        for handler in logging.getLogger().handlers:
            handler.addFilter(_cleared)

    def __exit__(self, *_: object) -> None:
        """Clear the line for what is said at the end."""
        for handler in logging.getLogger().handlers:
            handler.removeFilter(_cleared)
        sys.stderr.write(_CLEAR + _SHOW_CURSOR)

    def _rewrite(self) -> None:
        sys.stderr.write(_CLEAR)
        read = min(self._size, self._target.message_reader.bytes_read) - self._bar.pos
        if read > 0:
            self._bar.update(read)
        else:
            self._bar.render_progress()

    def _figures(self) -> str:
        read = self._target.dispatcher.ledger.number
        rate = read / max(0.001, time.monotonic() - self._started)
        return f"{read:,} records, {rate:,.0f} a second"


def _cleared(_: logging.LogRecord) -> bool:
    sys.stderr.write(_CLEAR)
    return True


def on_terminal() -> bool:
    """Tell whether somebody looks on as stderr is written."""
    return sys.stderr is not None and sys.stderr.isatty()
