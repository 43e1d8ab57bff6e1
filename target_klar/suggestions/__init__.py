"""What a tap's stream and its columns may stand for at Klar: advice for a person, on which nothing is loaded."""

from target_klar.suggestions.proposal import Proposal, Sample, propose
from target_klar.suggestions.streams import likely_stream, renaming, unknown_stream

__all__ = ["Proposal", "Sample", "likely_stream", "propose", "renaming", "unknown_stream"]
