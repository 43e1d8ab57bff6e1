"""What Klar's status can have told of a load: the part of promise 1 that the log of Klar decides.

A load may be acknowledged once the status shows one of its stream that was booked after the last reading before it
was sent. Mostly it is the load itself; where it is another one, no client can tell whether this one was booked. A
reading shows what was booked a lag before it. It stands for all that was booked up to it, since a check waits for the
lag, but one beside an open request, which nobody waits for, only for what it shows. Without a reading that began
after the load's answer there is no evidence, whatever was booked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.klar import Post, Reading

MAX_SLACK = 0.5
"""Seconds that the lag which a client measures may differ from the real one, on a busy machine."""


def is_shown(load: Post, posts: Sequence[Post], readings: Sequence[Reading], lag: float, now: float) -> bool:
    """Tell whether a client may believe, at the moment `now`, that a load was booked; all belong to one run."""
    own = [post for post in posts if post.stream == load.stream]
    began = [each.began for each in readings if each.stream == load.stream]
    answered = now if load.answered is None else load.answered
    after = [each for each in readings if each.stream == load.stream and answered <= each.began and each.ended <= now]
    if not after:
        return False
    # A second try, and half of a batch, are sent when the first one was.
    sent = min([post.began for post in own if not post.carried.isdisjoint(load.carried)], default=load.began)
    before = max([moment for moment in began if moment < sent], default=float("-inf"))
    slack = min(MAX_SLACK, lag)
    beside = any(post.began < before < (post.answered or now) for post in own)
    known = before - (lag if beside else slack)
    return any(post.booked is not None and known < post.booked < after[-1].ended - (lag - slack) for post in own)
