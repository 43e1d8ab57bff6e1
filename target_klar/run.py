"""One run from its first line to its exit code: load, end early, report."""

from __future__ import annotations

import enum
import os
import signal
import sys
from contextlib import nullcontext, suppress
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from singer_sdk import metrics
from singer_sdk.exceptions import FatalSyncError, SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.delivery.dispatcher import InterruptedRunError
from target_klar.delivery.rejects import RecordRejectedError
from target_klar.delivery.rejects_file import INPUT
from target_klar.delivery.stream import COUNTS
from target_klar.progress import Progress, on_terminal
from target_klar.records.formatting import counted, listed, shorten
from target_klar.runtime import shutdown
from target_klar.runtime.endings import StopNowError, StopSendingError
from target_klar.runtime.pipes import pieces_of
from target_klar.settings.stream_maps import unused_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.delivery.rejects import Rejects
    from target_klar.target import TargetKlar

_FREQUENT = 3
_Counter = enum.StrEnum("_Counter", {name: f"{name}_records" for name in COUNTS})  # type: ignore[misc]  # not literal
"""Our names among the SDK's metrics, whose enum cannot be extended."""


class UnexpectedError(FatalSyncError):
    """A bug of ours, or a machine that is out of memory or disk space; see the cause."""


def load(target: TargetKlar, path: str | None) -> None:
    """Load the file at `path`, or stdin; however the run ends, acknowledge what Klar has confirmed.

    Raises:
        FatalSyncError: The run stopped; the message is one line that says what the last STATE covers.
        SystemExit: A signal ended it.
    """
    dispatcher = target.dispatcher
    dispatcher.rejects.open(_open_files(path))
    if not target.config["status_timeout_seconds"]:
        target.logger.warning(
            "status_timeout_seconds is 0: Klar's status only has to answer, and need not show a load."
        )
    shutdown.call_on_signal(dispatcher.workers.stop.set, dispatcher.workers.wakeup.set)
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        stream = target.message_reader.stream
        what = "Singer messages, as a tap writes them," if stream is None else f"JSON lines, each a record of {stream},"
        target.logger.info("Waiting for %s on stdin. Ctrl-D ends the input.", what)
    with Progress(target, Path(path).stat().st_size if path else 0) if on_terminal() else nullcontext():
        _listen(target, path)
    _report(target)
    of_one_stream = target.message_reader.stream is not None
    missing = unused_maps(target.mapper.stream_maps_dict, target.mapper.stream_maps, of_one_stream=of_one_stream)
    if missing:
        target.logger.warning("`stream_maps` has maps for streams that did not come: %s. Check the names.", missing)
    sources = target.source_streams
    if target.message_reader.has_records and not any(source.routes for source in sources.values()):
        target.logger.warning(
            "`stream_maps` drops every stream that came (%s), so nothing was loaded. Check its maps of those streams "
            "and its `__else__`.",
            listed(map(shorten, sources)),
        )
    rejected = dispatcher.rejects.count
    if rejected and target.config["validate_only"]:
        raise FatalSyncError(
            f"validate_only: {rejected} of {counted(dispatcher.ledger.number, 'record')} rejected. The warnings above "
            "name field and reason: correct the mapping or the source."
        )
    if rejected and target.config["fail_on_rejects"]:
        raise FatalSyncError(
            f"fail_on_rejects: {counted(rejected, 'record')} rejected{_where(dispatcher.rejects)}; everything else "
            "is loaded and acknowledged. Correct the mapping"
            f"{', move the file away, and send it with `--input`' * dispatcher.rejects.has_rejected}."
        )


def _listen(target: TargetKlar, path: str | None) -> None:
    try:
        # What the SDK passes on to our reader is not opened yet: that may take for ever.
        target.listen(cast("IO[str]", pieces_of(path)) if path else None)
    except Exception as error:  # noqa: BLE001  # of any kind: what is in flight ends and is acknowledged
        if isinstance(error, InterruptedRunError):
            requests = counted(target.dispatcher.in_flight, "request")
            target.logger.info("Stopping: waiting for %s in flight, %.0f s at most.", requests, shutdown.GRACE_SECONDS)
        errors = _end_early(target, error)
        _report(target)
        message = _message(errors)
        number = shutdown.signal_received()
        if number is not None:
            if message:
                target.logger.error("%s", " ".join(message.split()))
            target.logger.warning("Stopped by %s. %s", signal.Signals(number).name, _kept(target))
            raise SystemExit(128 + number) from None
        unexpected = next((each for each in errors if not _is_known(each)), None)
        kind = FatalSyncError if unexpected is None else UnexpectedError
        raise kind(f"{message} {_kept(target)}") from (unexpected or error)


def _report(target: TargetKlar) -> None:
    """Log the summary and the warnings of each stream, and the rejected records."""
    for sink in target.sinks.values():
        sink.clean_up()
        stream = sink.stream
        sink.logger.info("%s", stream.summary())
        for level, text in stream.lines():
            sink.logger.log(level, "%s", text)
        for name in COUNTS:
            metric = cast("metrics.Metric", _Counter[name])
            point = metrics.Point("counter", metric, getattr(stream, name), {"stream": stream.name})
            metrics.log(target.metrics_logger, point)
    for source in target.source_streams.values():
        for warning in source.warnings():
            target.logger.warning("%s", warning)
    rejects = target.dispatcher.rejects
    rejects.close()
    if rejects.count:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in rejects.reasons.most_common(_FREQUENT))
        target.logger.warning("Records rejected: %d%s. Most often: %s", rejects.count, _where(rejects), reasons)


def _where(rejects: Rejects) -> str:
    """Say where the rejected records are, if they are in a file."""
    if rejects.path is None:
        return ""
    if rejects.has_rejected:
        holds = "" if rejects.held in (None, rejects.count) else f", which holds {rejects.held}"
        return f", see {rejects.path}{holds}"
    return f", none in {rejects.path}: a newer version of each was accepted or deleted"


def _open_files(path: str | None) -> dict[str, os.stat_result]:
    """Return what the system says of what the run reads, the file at `path` or stdin, and of stdout and stderr."""
    found = {}
    for name, file in ((INPUT, sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr)):
        with suppress(AttributeError, OSError):  # it is closed, or a file that only this process knows
            found[name] = Path(path).stat() if path and name == INPUT else os.fstat(file.fileno())
    return found


def _is_known(error: Exception) -> bool:
    return isinstance(error, (SingerSDKError, InvalidInputLine))


def _may_deliver(error: Exception) -> bool:
    return _is_known(error) and not isinstance(error, (StopSendingError, StopNowError))


def _end_early(target: TargetKlar, reason: Exception) -> list[Exception]:
    """Do what may still be done: deliver what came before the reason to stop, let requests in flight end, acknowledge.

    Returns the reason and what else came up meanwhile: every error that keeps a STATE from leaving.
    """
    errors = [reason]
    while not isinstance(errors[-1], StopNowError):
        may_deliver = all(map(_may_deliver, errors))
        try:
            (target.process_endofpipe if may_deliver else target.dispatcher.finish_in_flight)()
        except Exception as error:  # noqa: BLE001  # of any kind; each time a result less is left to act on
            errors.append(error)
        else:
            break
    return errors


def _message(errors: Sequence[Exception]) -> str:
    """Return one line for all of them: the record that comes first, the others by their order, what else there was."""
    rejections = sorted((error for error in errors if isinstance(error, RecordRejectedError)), key=attrgetter("number"))
    texts = [*map(str, rejections[:1]), *(rejection.rejection for rejection in rejections[1:])]
    texts += [_worded(error) for error in errors if error not in rejections]
    return " Also: ".join(filter(None, dict.fromkeys(texts)))


def _worded(error: Exception) -> str:
    """Return the message of an error; of an unexpected one only the class, since its text may quote a record."""
    if _is_known(error):
        return str(error)
    if isinstance(error, MemoryError):
        return "Out of memory. Lower `batch_size_rows` or `max_parallel_requests`, or run it with more memory."
    why = error.strerror if isinstance(error, OSError) else None
    return f"Unexpected error: {why or type(error).__name__}."


def _kept(target: TargetKlar) -> str:
    state, read = target.dispatcher.checkpoints.acknowledged, target.dispatcher.ledger.number
    if state is None:
        return "No STATE was written."
    return f"The last STATE written covers {state.number} of the {counted(read, 'record')} read."
