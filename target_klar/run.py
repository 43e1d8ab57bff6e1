"""A run from its first line to its exit code: how it begins, how it ends early, what it says at the end."""

from __future__ import annotations

import enum
import os
import signal
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from singer_sdk import metrics
from singer_sdk.exceptions import FatalSyncError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar import stopping
from target_klar.client import KlarError
from target_klar.delivery import Interrupted
from target_klar.pipes import OutputLostError, pieces_of
from target_klar.rejects import RecordRefusedError
from target_klar.stream_maps import unmet

if TYPE_CHECKING:
    from target_klar.target import TargetKlar

_FREQUENT = 3


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
    delivery = target.delivery
    delivery.rejects.open(_input(path))
    if not target.config["status_timeout_seconds"]:
        target.logger.warning("status_timeout_seconds is 0: Klar's status has to answer, but not to show the load.")
    stopping.tell(delivery.stop.set, delivery.wakeup.set)
    try:
        # What the SDK passes on to our reader is not opened yet: that may take for ever.
        target.listen(cast("IO[str]", pieces_of(path)) if path else None)
    except (SingerSDKError, InvalidInputLine) as error:
        told = _end_early(target, error)
        _conclude(target)
        number = stopping.received()
        if number is not None:
            if not isinstance(error, Interrupted):
                target.logger.error("%s", " ".join(told.split()))
            target.logger.warning("Stopped by %s. %s", signal.Signals(number).name, _kept(target))
            raise SystemExit(128 + number) from None
        raise FatalSyncError(f"{told} {_kept(target)}") from error
    _conclude(target)
    missing = unmet(target.mapper.stream_maps_dict, target.mapper.stream_maps)
    if missing:
        target.logger.warning("`stream_maps` has maps for streams that did not come: %s.", missing)
    refused = delivery.rejects.count
    if refused and target.config["validate_only"]:
        raise FatalSyncError(f"validate_only: refused {refused} of {delivery.ledger.number} records. Mend the mapping.")


def _conclude(target: TargetKlar) -> None:
    """Say what became of the records of each stream, and of those that were refused."""
    for sink in target.sinks.values():
        sink.conclude()
        tags = {"stream": sink.stream_name}
        # A name of ours among the SDK's metrics, whose enum cannot be extended.
        metric = cast("metrics.Metric", _Metric.REJECTED_RECORDS)
        point = metrics.Point("counter", metric, sink.report.rejected, tags)
        metrics.log(target.metrics_logger, point)
    rejects = target.delivery.rejects
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
    """Deliver what came before the reason to stop, unless the reason is Klar or a signal; then acknowledge.

    Returns what to tell: of the records that stopped the run the first, and why not all before it was delivered.
    """
    told = reason
    trouble: Exception | None = reason if isinstance(reason, KlarError | Interrupted | OutputLostError) else None
    while trouble is None:
        try:
            target.process_endofpipe()
        except RecordRefusedError as error:  # held back too
            if isinstance(told, RecordRefusedError) and error.number < told.number:
                told = error
        except SingerSDKError as error:
            trouble = error
        else:
            return str(told)
    if isinstance(trouble, KlarError | Interrupted):
        try:
            target.delivery.wind_down()
        except FatalSyncError as error:
            trouble = error
    return (
        str(told) if str(told) == str(trouble) else f"{told} Not all of what came before could be delivered: {trouble}"
    )


def _kept(target: TargetKlar) -> str:
    number, read = target.delivery.acknowledged, target.delivery.ledger.number
    if number is None:
        return "No STATE was written."
    return f"The last STATE written covers {number} of the {read} records read."
