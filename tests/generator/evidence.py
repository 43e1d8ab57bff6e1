"""What Klar's status can have told of a load: the part of promise 1 that the log of Klar decides.

A load that was answered as taken and never booked may be acknowledged only where no client could tell: another load
of its stream was booked between the last reading before it was sent and the last one before the STATE, so that the
newer time is that load's. A reading tells what was booked up to it; one beside an open request only what was booked a
lag earlier, since nobody waits for the lag there. Without a reading that began after the load's answer there is no
evidence at all, whatever was booked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from generator.klar import Post, Reading


def read_since(post: Post, readings: Sequence[Reading], now: float) -> Reading | None:
    """Return the last reading of a load's stream that began after its answer and has ended, or None."""
    since = post.answered or now
    after = [each for each in readings if each.stream == post.stream and each.began >= since and each.ended <= now]
    return after[-1] if after else None


def untellable(lost: Post, posts: Sequence[Post], readings: Sequence[Reading], lag: float, now: float) -> bool:
    """Tell whether no client could have known, before `now`, that a load was not booked."""
    shown = read_since(lost, readings, now)
    if shown is None:
        return False
    own = [post for post in posts if post.stream == lost.stream]
    sent = first_sent(lost.versions, own, lost.began)
    before = max(
        (each.began for each in readings if each.stream == lost.stream and each.began < sent), default=float("-inf")
    )
    if any(post.began < before < (post.answered or now) for post in own):
        before -= lag
    return any(post.booked is not None and before < post.booked < shown.ended for post in own)


def first_sent(versions: Collection[int], posts: Sequence[Post], latest: float) -> float:
    """Return when the first load of these that holds one of the versions came in, `latest` at the latest."""
    return min((post.began for post in posts if not post.carried.isdisjoint(versions)), default=latest)
