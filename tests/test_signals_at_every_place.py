"""A signal at every place where the main thread, a worker or the writer can be: the run ends, and tells the truth.

Each row of the table brings a run to one such place. Wherever it is, SIGTERM and SIGINT end it with 143 and 130
within the grace, by itself; only where one computation holds the main thread does the last border end it.
One row runs by its name:
`TARGET_KLAR_TESTS=thorough pytest tests/test_signals_at_every_place.py -k reading_a_silent_stdin`.
"""

from __future__ import annotations

import gzip
import itertools
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import forked
import program
import pytest
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, state
from silent import silence
from thoroughness import THOROUGH
from watched import Watched, numbered

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from forked import Forked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the rows fill pipes and look at them as Linux does"),
]

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
GRACE = 9.0
AT_ONCE = 1.0
"""Seconds within which a run has heard a signal; what another thread begins in that time may still be sent."""
PATIENCE = 3 * GRACE
SMALL = {"batch_size_rows": 5, "checkpoint_interval_seconds": 0, "max_parallel_requests": 1}
LINES = [REFUNDS_SCHEMA, *numbered(1, 20, every=1)]
TEN = [REFUNDS_SCHEMA, *numbered(1, 10, every=1)]
BLANKS = b"\n" * (1 << 20)


@dataclass
class Place:
    """One run, brought to the place where the signal meets it."""

    folder: Path
    number: int
    held: ExitStack
    options: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    lines: list[Any] = field(default_factory=lambda: LINES)
    tap_ends: bool = True
    started: Callable[[Watched], object] = lambda _: None
    """What is done to the process as soon as it is there."""
    there: Callable[[Watched], object] = lambda _: True
    """Whether the run is at the place."""
    lingers: float = 0.3
    """How much longer it takes to get there, in seconds."""
    kept: int | None = None
    """What the last STATE covers; None where no STATE is written."""
    sure: bool = True
    """Whether it is that very STATE; else any before it may be the last one."""
    reads_stdout: bool = True
    reads_stderr: bool = True
    start: Callable[..., Forked | subprocess.Popen[bytes]] = forked.start
    ends: Literal["soon", "with the grace", "at the last border"] = "soon"
    """Where the run waits for what hangs, until its grace is over; where it does not get to end by itself at all."""

    def klar(self, **options: Any) -> Sandbox:
        return self.held.enter_context(Sandbox(**options))

    def fifo(self, *, opened: bool = False) -> Path:
        """Return a FIFO that nobody writes; where it is opened, somebody could."""
        path = self.folder / "fifo"
        os.mkfifo(path)
        if opened:
            self.held.callback(os.close, os.open(path, os.O_RDWR))
        return path

    def run(self, klar: Any) -> None:
        """Signal the run at its place, and check how it ends."""
        with Watched(
            klar,
            *self.options,
            missing=partial(missing, klar),
            reads_stdout=self.reads_stdout,
            reads_stderr=self.reads_stderr,
            start=self.start,
            **SMALL | self.settings,
        ) as run:
            self.started(run)
            run.feed(self.lines, ends=self.tap_ends)
            run.until(lambda: self.there(run), within=60)
            time.sleep(self.lingers)
            assert run.process.poll() is None, f"it ended before the signal: {run.err}"
            run.signal(self.number)
            code = run.ended(PATIENCE + 60)
        took = run.started + run.took - run.signalled[0]
        assert code == CODES[signal.Signals(self.number)], run.err
        assert took < (GRACE if self.ends == "soon" else PATIENCE), run.err
        assert run.ahead == []
        late = [post for post in getattr(klar, "posts", list)() if post.started > run.signalled[0] + AT_ONCE]
        assert late == [], "a request was sent after the signal"
        assert "Traceback" not in run.err
        if self.reads_stderr:
            assert ("had not ended" in run.err) == (self.ends == "at the last border"), run.err
        if self.reads_stdout:
            last = (run.states or [None])[-1]
            assert last == self.kept or (not self.sure and (last or 0) <= (self.kept or 0)), (run.states, run.err)


def missing(klar: Any, number: int) -> set[str]:
    return {f"R-{each}" for each in range(1, number + 1)} - set(klar.refunds)


ROWS: dict[str, Callable[[Place], Any]] = {}


def row(build: Callable[[Place], Any]) -> Callable[[Place], Any]:
    """Enter a place into the table; the function prepares it and returns its Klar."""
    ROWS[build.__name__] = build
    return build


def loading(run: Watched) -> bool:
    """Whether the program has begun: its imports are done."""
    return "target-klar v" in run.err


def wrote(number: int) -> Callable[[Watched], bool]:
    return lambda run: number in run.states


def posts(klar: Sandbox, count: int) -> Callable[[Watched], bool]:
    return lambda _: len(klar.posts()) >= count


# The main thread reads


@row
def during_the_imports(place: Place) -> Any:
    place.start, place.started, place.lingers = program.start, Watched.until_it_listens, 0.1
    place.lines, place.tap_ends = [], False  # on a busy machine the imports may be over before this test goes on
    return place.klar()


@row
def reading_the_configuration_from_a_fifo_that_nobody_writes(place: Place) -> Any:
    place.options = ["--config", str(place.fifo())]
    place.lingers, place.ends = 3.0, "at the last border"
    return place.klar()


@row
def reading_a_silent_stdin(place: Place) -> Any:
    place.lines, place.tap_ends, place.there, place.kept = TEN, False, wrote(10), 10
    return place.klar()


@row
def opening_an_input_that_nobody_writes(place: Place) -> Any:
    place.options, place.there = ["--input", str(place.fifo())], loading
    return place.klar()


@row
def reading_an_input_that_falls_silent(place: Place) -> Any:
    fifo = place.fifo(opened=True)
    place.options = ["--input", str(fifo)]
    place.started = lambda _: fifo.write_bytes(b"".join(map(line, TEN)))
    place.there, place.kept = wrote(10), 10
    return place.klar()


def batch(place: Place, path: Path, compression: str | None = None) -> Any:
    message = {
        "type": "BATCH",
        "stream": "refunds",
        "encoding": {"format": "jsonl", "compression": compression},
        "manifest": [str(path)],
    }
    place.lines = [*TEN, message, *numbered(11, 20)]
    place.there, place.kept = wrote(10), 10
    return place.klar()


@row
def opening_a_batch_file_that_nobody_writes(place: Place) -> Any:
    return batch(place, place.fifo())


@row
def reading_a_batch_file_that_falls_silent(place: Place) -> Any:
    return batch(place, place.fifo(opened=True))


@row
def reading_a_batch_file_of_blank_lines_without_end(place: Place) -> Any:
    fifo = place.fifo()

    def write() -> None:
        with suppress(BrokenPipeError), fifo.open("wb", buffering=0) as file:
            while file.write(BLANKS):
                pass

    place.started = lambda _: threading.Thread(target=write, daemon=True).start()
    return batch(place, fifo)


@row
def unpacking_a_batch_file_of_two_billion_blank_lines(place: Place) -> Any:
    packed = place.folder / "blank.jsonl.gz"
    member = gzip.compress(BLANKS * 16, 1)
    with packed.open("wb") as file:
        for _ in range(128):
            file.write(member)
    return batch(place, packed, "gzip")


@row
def a_stream_map_that_takes_long_for_each_of_many_lines(place: Place) -> Any:
    place.settings["stream_maps"] = {"refunds": {"note": "4000000 ** 40000 > 0"}}
    place.settings["batch_size_rows"] = 1000
    file = place.folder / "input.jsonl"
    file.write_bytes(b"".join(map(line, [REFUNDS_SCHEMA, *numbered(1, 5000, every=10_000)])))
    place.options = ["--input", str(file)]
    place.there, place.lingers = loading, 1.0
    return place.klar()


@row
def a_stream_map_that_takes_long_for_one_line(place: Place) -> Any:
    place.settings["stream_maps"] = {"refunds": {"note": "[4000000 ** 40000 > 0 for each in 'x' * 9000]"}}
    place.there, place.lingers, place.ends = loading, 1.0, "at the last border"
    return place.klar()


@row
def a_stream_map_that_is_one_long_call(place: Place) -> Any:
    place.settings["stream_maps"] = {"refunds": {"note": "4000000 ** 4000000 > 0"}}
    place.there, place.lingers, place.ends = loading, 1.0, "at the last border"
    return place.klar()


# A worker talks to Klar, and the main thread waits for it


def answers_three_times(place: Place, fault: str) -> Any:
    klar = place.klar(faults=[fault])
    place.there, place.kept = posts(klar, 3), 10
    return klar


@row
def waiting_for_a_place_while_a_request_hangs(place: Place) -> Any:
    place.ends = "with the grace"
    place.sure = False  # the status that covers the second batch is read beside the request that hangs
    return answers_three_times(place, "hang@3+")


@row
def waiting_while_an_answer_trickles_in(place: Place) -> Any:
    place.ends = "with the grace"
    place.sure = False
    return answers_three_times(place, "trickle@3+")


@row
def waiting_for_another_try(place: Place) -> Any:
    return answers_three_times(place, "503@3+")


@row
def waiting_as_long_as_klar_asks_for(place: Place) -> Any:
    return answers_three_times(place, "429-after-seconds@3+")


@row
def the_first_request_hangs(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["hang@1+"])
    place.there = posts(klar, 1)
    return klar


@row
def the_first_status_hangs(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["status:hang@1+"])
    place.there = lambda _: klar.requests
    return klar


@row
def four_requests_hang_while_the_tap_goes_on(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["hang@2+"])
    place.settings["max_parallel_requests"] = 4
    place.lines = [REFUNDS_SCHEMA, *numbered(1, 2000, every=1)]
    place.there, place.kept, place.sure = posts(klar, 5), 5, False
    return klar


@row
def the_connection_does_not_come_about(place: Place) -> Any:
    place.ends = "with the grace"
    place.there, place.lingers = loading, 1.0
    return place.held.enter_context(silence(full=True))


@row
def the_tls_handshake_does_not_come_about(place: Place) -> Any:
    place.ends = "with the grace"
    place.there, place.lingers = loading, 1.0
    return place.held.enter_context(silence(full=False, scheme="https"))


@row
def the_status_never_shows_the_first_load(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(status_frozen=True)
    place.there, place.lingers = posts(klar, 1), 1.0
    return klar


@row
def the_status_no_longer_shows_a_load(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar()
    klar.observer = lambda *_: setattr(klar, "status_frozen", len(klar.posts()) > 2)
    place.there, place.kept, place.sure, place.lingers = posts(klar, 3), 15, False, 1.0
    return klar


@row
def halving_a_batch_that_klar_refuses(place: Place) -> Any:
    klar = place.klar(refuse=lambda sent: sent["id"] == "R-13", refuse_style="opaque", latency=0.5)
    place.settings["rejects_path"] = str(place.folder / "rejects.jsonl")
    place.there, place.kept, place.lingers = posts(klar, 4), 10, 0.0
    return klar


@row
def waiting_for_the_last_request_after_the_end_of_the_input(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["hang@4+"])
    place.there, place.kept, place.sure = posts(klar, 4), 15, False
    return klar


@row
def winding_down_after_an_error_while_a_request_hangs(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["refunds/hang@1+", "transaction_costs/409@1"], latency=1)
    place.settings["max_parallel_requests"] = 4
    place.lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        *numbered(1, 5),
        *(cost_record(f"C-{number}") for number in range(1, 6)),
    ]
    place.there, place.lingers = posts(klar, 2), 1.0
    return klar


@row
def a_dry_run_whose_request_hangs(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["validate:hang@2+"])
    place.settings["validate_only"] = True
    place.there = lambda _: len(klar.requests) >= 2
    return klar


@row
def a_check_whose_request_hangs(place: Place) -> Any:
    klar = place.klar(faults=["status:hang@1+"])
    place.options, place.there = ["--check"], lambda _: klar.requests
    return klar


# The writer


def with_big_states(size: int = 50_000) -> list[Any]:
    lines: list[Any] = [REFUNDS_SCHEMA]
    for message in numbered(1, 100, every=1):
        value = message.get("value")
        lines.append(message if value is None else state({"n": value, "padding": "x" * size}))
    return lines


def quiet(klar: Sandbox) -> Callable[[Watched], bool]:
    """Whether the last request is long over, since the main thread is held up elsewhere."""
    return lambda _: bool(klar.posts()) and time.monotonic() - (klar.requests[-1].ended or time.monotonic()) > 1


@row
def writing_a_state_that_nobody_reads(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar()
    place.lines, place.reads_stdout, place.there = with_big_states(), False, quiet(klar)
    return klar


@row
def writing_a_state_that_nobody_reads_while_a_worker_tries_again(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar(faults=["503@3+"], latency=0.2)
    place.settings["max_parallel_requests"] = 2
    big = state({"n": 10, "padding": "x" * 200_000})
    place.lines, place.reads_stdout = [REFUNDS_SCHEMA, *numbered(1, 10), big, *numbered(11, 20, every=10)], False
    place.there, place.lingers = posts(klar, 4), 0.5
    return klar


@row
def writing_a_state_that_is_read_slowly(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar()

    def trickle(run: Watched) -> None:
        assert run.process.stdout is not None
        with os.fdopen(os.dup(run.process.stdout.fileno()), "rb", buffering=0) as out:
            while out.read(16):
                time.sleep(0.001)

    place.lines, place.reads_stdout, place.there = with_big_states(1_000_000), False, quiet(klar)
    place.started = lambda run: threading.Thread(target=trickle, args=(run,), daemon=True).start()
    return klar


@row
def writing_a_line_to_an_stderr_that_nobody_reads(place: Place) -> Any:
    klar = place.klar()
    versions = [{"type": "ACTIVATE_VERSION", "stream": f"{number:x<30}", "version": 1} for number in range(2000)]
    place.lines, place.tap_ends = [*TEN, *versions, *numbered(11, 20)], False
    place.reads_stderr, place.there, place.kept, place.lingers = False, posts(klar, 2), 10, 2.0
    return klar


@row
def an_stderr_that_is_full_from_the_start(place: Place) -> Any:
    place.started, place.reads_stderr, place.lingers = lambda run: run.fill(2), False, 2.0
    return place.klar()


@row
def an_stderr_and_an_stdout_that_nobody_reads(place: Place) -> Any:
    place.ends = "with the grace"
    klar = place.klar()
    place.lines, place.reads_stdout, place.reads_stderr, place.there = with_big_states(), False, False, quiet(klar)
    return klar


@row
def printing_the_table_of_a_check_that_nobody_reads(place: Place) -> Any:
    place.options, place.started, place.reads_stdout = ["--check"], lambda run: run.fill(1), False
    place.there, place.lingers = loading, 1.0
    return place.klar()


@row
def printing_what_it_is_to_nobody(place: Place) -> Any:
    place.start = program.start  # which is slow enough for its stdout to be full before it prints
    place.options, place.started, place.reads_stdout = ["--about"], lambda run: run.fill(1), False
    place.lingers, place.ends = 3.0, "at the last border"
    return place.klar()


@row
def setting_many_records_aside(place: Place) -> Any:
    rejects = place.folder / "rejects.jsonl"
    bad = [record("refunds", id=f"R-{number}", createdAt="never" * 100) for number in range(1, 100_001)]
    place.lines = [REFUNDS_SCHEMA, *itertools.chain(*((each, state(0)) for each in bad))]
    place.settings |= {"rejects_path": str(rejects), "rejects_limit": 1_000_000}
    place.there, place.kept = wrote(0), 0
    return place.klar()


# In a thorough search every row meets both signals; else every third row meets one, in turns.
CASES = list(itertools.product(ROWS, CODES) if THOROUGH else zip([*ROWS][::3], itertools.cycle(CODES)))


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, signal.Signals], Future[None]]]:
    """A run for each case that was asked for, many at once: nearly all of a run is waiting."""
    tests: list[Any] = [item for item in request.session.items if item.path == request.path]
    cases = [test.callspec.params["case"] for test in tests]
    tmp_path_factory.getbasetemp()  # made by one thread, before many of them ask for a folder in it

    def run(name: str, number: int) -> None:
        with ExitStack() as held:
            place = Place(tmp_path_factory.mktemp("place"), number, held)
            place.run(ROWS[name](place))

    with ThreadPoolExecutor(8 if THOROUGH else 16) as pool:
        yield {case: pool.submit(run, *case) for case in cases}


@pytest.mark.xdist_group("the table of signals")  # one worker holds them all at once
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].name}")
def test_a_signal_ends_the_run_within_the_grace(
    case: tuple[str, signal.Signals], runs: dict[tuple[str, signal.Signals], Future[None]]
) -> None:
    runs[case].result()
