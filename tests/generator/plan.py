"""What a plan of whole runs consists of; as JSON it can be kept and performed again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Source:
    """One stream of the tap, and what the stream maps make of it."""

    name: str
    target: str | None
    """Klar's stream that it is loaded into; None: it is dropped, whatever its name says."""
    kind: str
    """The stream of Klar's whose objects it writes."""
    own_form: bool = False
    """Whether its records are in Klar's own form, or in snake_case."""
    number_ids: bool = False
    text_numbers: bool = False
    compact: bool = False
    """Whether its JSON has no blanks."""
    removes: bool = False
    """Its map removes a column."""
    computes: bool = False
    """Its map computes a field out of columns that Klar does not know."""
    filters: bool = False
    """Its map drops some of its records."""
    batches: bool = False
    """Its records come in BATCH messages."""
    tap_key: str = "klar"
    """What its SCHEMA has as `key_properties`: Klar's key, one that is `coarser` (several of Klar's keys share it),
    `finer` (it tells versions of one of Klar's keys apart), `unrelated` or `none`."""
    hides_keys: bool = False
    """Of some of its records Klar's key cannot be read before the maps are mended."""


@dataclass(frozen=True)
class Record:
    """One record of the tap; its version is its place in the order of writing, and what Klar is sent shows it."""

    version: int
    source: int
    key: int
    flaw: str = ""
    """`contract`: not what Klar takes; `key`: nor can Klar's key be read; `klar`: Klar refuses it all the same."""
    filtered: bool = False
    deleted: bool = False
    bare: bool = False
    """The deletion comes with the tap's own key alone, which is not Klar's."""
    pad: int = 0
    """How many bytes a column that Klar does not know holds."""


@dataclass(frozen=True)
class Feed:
    """What one tap writes from its first night on."""

    sources: list[Source]
    records: list[Record]
    every: int
    """A STATE after so many records, and one at the end of each run."""
    growth: int = 0
    """How many bytes a STATE grows with each record."""

    @property
    def offset(self) -> int:
        """The version before its first one."""
        return self.records[0].version - 1


@dataclass(frozen=True)
class Step:
    """One run, or a few of the same file."""

    kind: str
    """`load`, `dry run`, `again` (the rejects file) or `beside` (a load, and the other feed's on the same file)."""
    feed: int = 0
    upto: int = 0
    """How many records of the feed are written by its end."""
    settings: dict[str, Any] = field(default_factory=dict)
    weather: dict[str, Any] = field(default_factory=dict)
    """Attributes of the local Klar during the run."""
    faults: list[str] = field(default_factory=list)
    end: str = ""
    """`SIGTERM`, `SIGINT`, `kill -9`, or nothing."""
    end_at: int = 0
    """The request to Klar behind which that happens, counted from 1; 0: as soon as the run listens to signals."""
    end_after: float = 0.0
    """So many seconds later."""
    pauses: dict[str, float] = field(default_factory=dict)
    """For how many seconds the tap is silent behind a version."""
    fixed: bool = False
    """The maps are mended, and Klar refuses no more."""
    calm: bool = False
    """Nothing disturbs it: it has to succeed."""


@dataclass(frozen=True)
class Plan:
    """Everything that happens, except for what time decides."""

    seed: int
    focus: str
    feeds: list[Feed]
    """The tap's, and sometimes that of another run which has the same rejects file and no stream in common."""
    steps: list[Step]
    hard_delete: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as values that JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Plan:
        """Return the plan that was kept as JSON."""
        feeds = [
            Feed(
                [Source(**each) for each in feed["sources"]],
                [Record(**each) for each in feed["records"]],
                feed["every"],
                feed["growth"],
            )
            for feed in kept["feeds"]
        ]
        return cls(**kept | {"feeds": feeds, "steps": [Step(**each) for each in kept["steps"]]})

    def source(self, record: Record) -> Source:
        """Return the stream that a record is of."""
        return next(feed for feed in reversed(self.feeds) if record.version > feed.offset).sources[record.source]

    def skipped(self, record: Record) -> bool:
        """Tell whether it is a deletion that Klar cannot be told of."""
        cancels = self.hard_delete and self.source(record).kind in ("refunds", "orders")
        return record.deleted and not cancels

    def dropped(self, record: Record) -> bool:
        """Tell whether the maps keep a record away from Klar."""
        return self.source(record).target is None or record.filtered
