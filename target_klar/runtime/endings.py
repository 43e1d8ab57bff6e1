"""What may still be done when a run ends early: the class of its error says so."""

from __future__ import annotations

from singer_sdk.exceptions import FatalSyncError


class StopHereError(FatalSyncError):
    """End the run here: everything before this point is still sent, confirmed and acknowledged."""


class StopSendingError(FatalSyncError):
    """End the run without another request: what is in flight may end, and is confirmed and acknowledged."""


class StopNowError(FatalSyncError):
    """End the run at once: what is in flight could not be acknowledged."""
