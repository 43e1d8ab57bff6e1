"""What an access token says of itself, if it is a JWT (RFC 7519): when it was issued, and when it expires."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_ENOUGH = timedelta(days=7)
_FORMAT = "%Y-%m-%d %H:%M UTC"


@dataclass(frozen=True)
class TokenClaims:
    """The times in a token, None for a missing one. They are not verified: the signature is not checked."""

    issued: datetime | None
    expires: datetime | None

    @classmethod
    def of(cls, token: str) -> TokenClaims | None:
        """Return the claims of a token, or None if it is not a JWT."""
        header, *rest = map(_decoded, token.split("."))
        if header is None or len(rest) != 2 or rest[0] is None:  # noqa: PLR2004  # header, claims, signature
            return None
        return cls(_time(rest[0].get("iat")), _time(rest[0].get("exp")))

    def __str__(self) -> str:
        issued = f"issued {self.issued:{_FORMAT}}" if self.issued else "does not say when it was issued"
        expires = f"expires {self.expires:{_FORMAT}}" if self.expires else "does not say when it expires"
        return f"{issued}, {expires}"

    @property
    def warning(self) -> str | None:
        """Say that the token has expired, or does so within a week; None if it does not."""
        now = datetime.now(UTC)
        if self.expires is None or self.expires - now >= _ENOUGH:
            return None
        return f"`api_token` {'expired on' if self.expires <= now else 'expires on'} {self.expires:{_FORMAT}}."


def _decoded(part: str) -> dict[str, Any] | None:
    """Return the object of a part of a JWT; the signature has none."""
    try:
        read = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True))
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _time(claim: object) -> datetime | None:
    """Return a claim's time, or None if it is not a valid number of seconds."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError):
        return None
