"""What a tap's stream and its columns may stand for at Klar: advice for a person, on which nothing is loaded."""

from target_klar.suggestions.advice import advice, advice_on_filter, times
from target_klar.suggestions.fields import item_columns, likely, missing
from target_klar.suggestions.stream_map import map_for
from target_klar.suggestions.streams import likely_stream, renaming, unknown_stream

__all__ = [
    "advice",
    "advice_on_filter",
    "item_columns",
    "likely",
    "likely_stream",
    "map_for",
    "missing",
    "renaming",
    "times",
    "unknown_stream",
]
