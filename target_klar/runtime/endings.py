"""Errors that end a run; the class says what may still be done.

An error of the SDK's, such as a line that is no message, counts as a `DeliverEarlierError`; any other error that is
not among these as a `StopSendingError`.
"""

from __future__ import annotations

from singer_sdk.exceptions import FatalSyncError


class DeliverEarlierError(FatalSyncError):
    """End the run where it stands; everything before it is delivered and acknowledged."""


class StopSendingError(FatalSyncError):
    """Send nothing new; what is in flight may end, and what is then covered is acknowledged."""


class StopNowError(FatalSyncError):
    """Acknowledge nothing any more: not even what is in flight could be."""
