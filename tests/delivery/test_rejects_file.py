"""The rejects file on disk: who has it, what a crash leaves of it, and what its start removes."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rejects_file import SCHEMA, opened, origin, records, release
from singer_sdk.exceptions import ConfigurationError, FatalSyncError

from target_klar.delivery.rejects import Rejects
from target_klar.delivery.rejects_index import MAX_KEYS
from target_klar.records.formatting import Problem

WRONG = [Problem("id", "is wrong")]
RUN = """
import io, itertools, os, signal, sys
from target_klar.delivery.rejects import Rejects
path = sys.argv[1]
for moment in itertools.count(1):
    child = os.fork()
    if not child:
        with open(path + ".before", "rb") as before, open(path, "wb") as now:
            now.write(before.read())
        passed = 0
        def count(frame, event, called):
            global passed
            system = getattr(called, "__module__", "") in ("posix", "fcntl")
            passed += system or isinstance(getattr(called, "__self__", None), io.BufferedWriter)
            if passed == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(count)
        Rejects(path, 1).open(None)
        sys.setprofile(None)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(path, "rb") as after:
        print(after.read().hex())
    if not code:
        break
"""
"""Opens a copy of a file in one process after the other, each killed before or after one more call of the system."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.jsonl"


def rejected_line(key: str, version: int, **fields: Any) -> bytes:
    record = {"id": key, "version": version}
    message = {"type": "RECORD", "stream": "order_refunds", "record": record, "klar": {"stream": "refunds"}} | fields
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def bad(key: str, version: int) -> bytes:
    return rejected_line(key, version, errors=[{"path": "id", "message": "is wrong"}], source="contract")


def good(key: str, version: int, source: str = "accepted") -> bytes:
    return rejected_line(key, version, source=source)


def reject(rejects: Rejects, key: str, version: int, number: int) -> None:
    record = json.dumps({"id": key, "version": version}).encode()
    rejects.reject(origin(record, number), "refunds", key, WRONG, "klar")


def versions(path: Path) -> list[tuple[str, int]]:
    return [(each["record"]["id"], each["record"]["version"]) for each in records(path)]


# --- One run at a time ---


def test_a_second_run_stops_at_its_start_and_changes_nothing(path: Path) -> None:
    first = opened(path)
    reject(first, "a", 1, 1)
    half = path.read_bytes()[:-7]
    path.write_bytes(half)  # as the other run sees a write that is not whole yet
    with pytest.raises(ConfigurationError, match=r"in use by another run\. Wait until that run has ended, or set"):
        Rejects(str(path), 1).open(None)
    assert path.read_bytes() == half

    release(first)
    release(opened(path))
    assert records(path) == []


def test_a_run_that_finds_the_file_replaced_while_it_takes_the_lock_takes_that_of_the_new_one(path: Path) -> None:
    path.write_bytes(SCHEMA + b"\n" + bad("a", 1) + good("a", 2) + bad("b", 1))
    old = path.stat().st_ino
    first = opened(path)  # which writes the file anew, under a lock from its first moment on
    assert path.stat().st_ino != old
    with pytest.raises(ConfigurationError, match="in use by another run"):
        Rejects(str(path), 1).open(None)
    release(first)


def test_a_dry_run_takes_no_lock_and_leaves_the_file_that_is_sent_again_alone(path: Path) -> None:
    path.write_bytes(SCHEMA + b"\n" + bad("a", 1))
    before = path.read_bytes()
    load = opened(path)
    for version in (1, 2):
        dry = opened(path, dry_run=True)
        reject(dry, "a", version, 1)
        release(dry)

        assert versions(Path(f"{path}.dry-run")) == [("a", version)]
        assert (dry.path, path.read_bytes()) == (f"{path}.dry-run", before)
    release(load)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes a system without locks")
def test_where_nothing_can_be_locked_one_warning_says_so_and_nothing_is_cut_off_or_removed(path: Path) -> None:
    before = SCHEMA + b"\n" + bad("a", 1) + good("a", 2) + b'{"type":"RECORD","str'
    path.write_bytes(before)
    run = f"from target_klar.delivery.rejects import Rejects; Rejects({str(path)!r}, 1).open(None)"
    done = subprocess.run(
        [
            *[
                "strace",
                "-f",
                "--seccomp-bpf",
                "-o",
                "/dev/null",
                "-e",
                "trace=flock",
                "-e",
                "inject=flock:error=ENOLCK",
            ],
            sys.executable,
            "-c",
            run,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == [
        f"The rejects file {path} cannot be locked here (No locks available). Let no other run use it at the same time."
    ]
    assert path.read_bytes() == before + b"\n"


# --- What is no place for rejects ---


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in [("fifo", "not a regular file"), ("/dev/null", "not a regular file"), (".", "Is a directory")]:
        with pytest.raises(ConfigurationError, match=rf"cannot be written \({why}\)\. Check `rejects_path`"):
            Rejects(str(tmp_path / name), 1).open(None)


@pytest.mark.parametrize("change", ["replaced", "removed", "emptied", "appended"])
def test_a_file_that_somebody_changes_during_the_run_stops_it_before_the_next_state(path: Path, change: str) -> None:
    rejects = opened(path)
    reject(rejects, "a", 1, 1)
    rejects.sync()
    whole = path.read_bytes()
    if change in ("replaced", "removed"):
        path.unlink()
    if change == "replaced":
        path.write_bytes(whole)
    elif change == "emptied":
        path.write_bytes(b"")
    elif change == "appended":
        path.write_bytes(whole + b"\n")

    with pytest.raises(FatalSyncError, match=r"changed, replaced or removed during the run\. No STATE is written"):
        rejects.sync()
    release(rejects)


# --- What a crash and a full disk leave ---


def test_wherever_a_crash_cuts_the_file_off_whole_lines_remain_and_every_one_that_was_whole(path: Path) -> None:
    begun = SCHEMA + b"\n" + bad("a", 1)
    added = bad("b", 2) + bad("c", 3)
    for cut in range(len(added) + 1):
        path.write_bytes(begun + added[:cut])
        release(opened(path))

        *whole, last = (begun + added[:cut]).splitlines()
        if last.count(b"{") == last.count(b"}"):
            whole.append(last)
        assert path.read_bytes() == b"".join(line + b"\n" for line in whole)


@pytest.mark.parametrize(
    ("right", "wrong"), [(b"1", b"1.,"), (b'"source"', b'"source'), (b'"b"', b'b"'), (b"},", b"]")]
)
def test_a_last_line_with_a_mistake_by_hand_and_no_line_break_stays_and_is_warned_of(
    right: bytes, wrong: bytes, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun = SCHEMA + b"\n" + bad("a", 1)
    edited = bad("b", 1).rstrip().replace(right, wrong, 1)
    path.write_bytes(begun + edited)
    release(opened(path))
    assert path.read_bytes() == begun + edited + b"\n"
    assert f"Lines of the rejects file {path} that no run of target-klar writes: 1, the first is line 3" in caplog.text


def test_a_line_of_any_length_that_a_crash_cut_off_goes_and_the_one_before_it_stays(path: Path) -> None:
    begun = SCHEMA + b"\n" + rejected_line("a" * 150_000, 1)
    for length in (150_000, 65_536, 65_535, 70_000):
        path.write_bytes(begun + rejected_line("b" * 150_000, 2)[:length])
        release(opened(path))
        assert path.read_bytes() == begun, length


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_removes_what_is_settled_leaves_the_old_file_or_the_new_one(path: Path) -> None:
    before = SCHEMA + b"\n" + b"".join([bad("a", 1), bad("b", 2), good("a", 3), bad("c", 4), good("c", 5), bad("a", 6)])
    after = SCHEMA + b"\n" + bad("b", 2) + bad("a", 6)
    Path(f"{path}.before").write_bytes(before)
    done = subprocess.run([sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=True)
    *killed, last = map(bytes.fromhex, done.stdout.splitlines())

    assert len(killed) > 40
    assert [content for content in killed if content not in (before, after)] == []
    assert (killed[0], killed[-1], last) == (before, after, after)
    assert len(list(path.parent.iterdir())) == 2, "what a killed run left beside the file is gone"


def test_a_write_that_fails_is_cut_back_to_the_last_whole_line_and_the_next_one_follows_that(path: Path) -> None:
    rejects = opened(path)
    reject(rejects, "a", 1, 1)
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        with pytest.raises(FatalSyncError, match=r"cannot be written \(File too large\)\. No STATE is written that"):
            reject(rejects, "b", 1, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole

    reject(rejects, "c", 1, 3)
    rejects.sync()
    assert versions(path) == [("a", 1), ("c", 1)]
    release(rejects)


def traced(path: Path, *options: str, then: str = "") -> subprocess.CompletedProcess[str]:
    """Open a rejects file in a process of its own under strace, and do more with it there."""
    script = f"""
from rejects_file import *
from target_klar.records.formatting import Problem
def attempt(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)
def reject(key, number):
    record = b'{{"id":"%b","version":%d}}' % (key.encode(), number)
    rejects.reject(origin(record, number), "refunds", key, [Problem("id", "is wrong")], "klar")
rejects = opened(Path({str(path)!r}))
{then}
"""
    return subprocess.run(
        ["strace", "-f", "--seccomp-bpf", *options, sys.executable, "-c", f"from pathlib import Path{script}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows calls, and makes them fail")


@needs_strace
def test_names_and_lines_are_on_disk_before_the_run_begins(path: Path) -> None:
    """The new file before it has the old one's name, and the folder after each new name."""
    path.write_bytes(SCHEMA + b"\n" + bad("a", 1) + good("a", 2) + bad("b", 1) + b'{"type":"REC')
    trace = path.with_name("trace")
    done = traced(path, "-y", "-e", "trace=fsync,rename", "-o", str(trace))

    assert done.returncode == 0, done.stderr
    folder, old, new = path.parent, path, path.with_name(f".{path.name}.target-klar")
    lines = [line for line in trace.read_text().splitlines() if "(" in line and str(folder) in line]  # no bytecode
    calls = [line.split(" ", 1)[1].strip() for line in lines]
    names = {f"<{folder}>": "folder", f"<{old}>": "file", f"<{new}>": "new", "rename(": "rename"}
    found = [next(name for text, name in names.items() if text in call) for call in calls]
    assert found == ["folder", "file", "new", "rename", "folder"]


@needs_strace
@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("fsync", "EINVAL", ""),
        ("fsync", "EOPNOTSUPP", ""),
        ("fsync", "EIO", "cannot be written (Input/output error)"),
        ("openat", "EACCES", ""),
    ],
)
def test_a_folder_that_cannot_be_synced_stops_the_run_only_where_the_disk_fails(
    path: Path, call: str, error: str, said: str
) -> None:
    only = ["-P", str(path.parent), "-o", "/dev/null"]
    done = traced(path, *only, "-e", f"trace={call}", "-e", f"inject={call}:error={error}")
    assert (said in done.stderr) if said else (done.returncode, done.stderr) == (0, "")
    assert bool(said) is bool(done.returncode)


@needs_strace
@pytest.mark.parametrize("error", ["EAGAIN", "EACCES"])
def test_a_lock_that_another_machine_has_stops_the_run(path: Path, error: str) -> None:
    done = traced(path, "-o", "/dev/null", "-e", "trace=flock", "-e", f"inject=flock:error={error}")
    assert "in use by another run" in done.stderr


@needs_strace
def test_lines_that_a_disk_lost_are_never_said_to_be_on_it(path: Path) -> None:
    """A second fsync would succeed without them, and a copy of the file would lack them."""
    then = """
reject("a", 1)
rejects.accept([(origin(b'{"id":"a","version":2}', 2), "a")], "refunds")
attempt(rejects.sync)
attempt(rejects.sync)
attempt(lambda: reject("b", 3))
rejects.close()
"""
    done = traced(path, "-P", str(path), "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", then=then)
    first, second, third = done.stdout.splitlines()
    assert first == second
    assert first.startswith(f"StopNowError The rejects file {path} cannot be written (Input/output error).")
    assert third.startswith("StopHereError")
    assert versions(path) == [("a", 1), ("a", 2)]


@needs_strace
def test_a_write_that_fails_where_nothing_can_be_locked_is_the_last_one(path: Path) -> None:
    """What is behind the last whole line may be another run's: nothing is cut off."""
    then = f"""
import resource
reject("a", 1)
size = Path({str(path)!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
attempt(lambda: reject("b", 2))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
attempt(lambda: reject("c", 3))
attempt(rejects.sync)
print(Path({str(path)!r}).stat().st_size - size)
"""
    done = traced(path, "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", then=then)
    *said, more = done.stdout.splitlines()
    assert [each.split()[0] for each in said] == ["StopHereError", "StopHereError", "StopNowError"]
    assert all("cannot be written (File too large)" in each for each in said)
    assert more == "20"


@needs_strace
def test_where_nothing_can_be_locked_another_run_may_append_too(path: Path) -> None:
    then = f"""
reject("a", 1)
def other():
    with Path({str(path)!r}).open("a") as file:
        file.write("# another run's line\\n")
other()
attempt(lambda: reject("b", 2))
other()
attempt(rejects.sync)
"""
    done = traced(path, "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", then=then)
    assert (done.returncode, done.stdout) == (0, "")
    lines = [line for line in path.read_text().splitlines() if '"SCHEMA"' not in line]
    assert [line[:1] for line in lines] == ["{", "#", "{", "#"]


# --- What the start and the end remove ---


def test_the_start_removes_what_is_settled_and_keeps_all_else_byte_for_byte(path: Path) -> None:
    other = SCHEMA.replace(b"order_refunds", b"other") + b"\n"
    schema = SCHEMA + b"\n"
    lines = [
        (schema, "kept"),
        (bad("a", 1), ""),
        (good("a", 2), ""),
        (bad("b", 1), "kept"),
        (b"# somebody's own line\n", "kept"),
        (bad("c", 1), ""),
        (good("c", 3, "deleted"), ""),
        (schema, ""),
        (b"\n", "kept"),
        *((line + b"\n", "kept") for line in NOT_OURS),
        (bad("d", 1), "kept"),
        (bad("d", 2), "kept"),
        (bad("a", 3), ""),
        (good("a", 4), ""),
        (other, "kept"),
        (bad("b", 2).replace(b"order_refunds", b"other"), "kept"),
        (bad("a", 9), "kept"),
    ]
    path.write_bytes(b"".join(text for text, _ in lines))
    path.chmod(0o640)
    release(opened(path))

    assert path.read_bytes() == b"".join(text for text, kept in lines if kept)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


NOT_OURS = [
    b"[1]",
    b'{"type":"STATE","value":1}',
    b'{"type":"RECORD","stream":"order_refunds"}',
    b'{"type":"RECORD","stream":7,"record":{"id":"a"}}',
    b'{"type":"ACTIVATE_VERSION","stream":"order_refunds","record":{"id":"a"}}',
]


def test_a_line_that_does_not_say_which_of_klars_streams_it_was_for_is_never_removed(path: Path) -> None:
    """Any record of the tap with its key may be one for another of Klar's streams."""
    nameless = bad("a", 1).replace(b',"klar":{"stream":"refunds"}', b"")
    path.write_bytes(SCHEMA + b"\n" + 2 * nameless + good("a", 2))
    release(opened(path))
    assert path.read_bytes() == SCHEMA + b"\n" + 2 * nameless


def test_the_end_removes_what_is_settled_and_the_run_keeps_its_lock(path: Path) -> None:
    rejects = opened(path)
    for number, key in enumerate("abc", 1):
        reject(rejects, key, 1, number)
    rejects.accept([(origin(b'{"id":"a","version":2}', 4), "a")], "refunds")
    rejects.delete(origin(b'{"id":"b"}', 5), "refunds", "b")
    rejects.close()

    assert versions(path) == [("c", 1)]
    with pytest.raises(ConfigurationError, match="in use by another run"):
        Rejects(str(path), 1).open(None)
    release(rejects)


@pytest.mark.parametrize("earlier", ["accepted", "rejected"])
def test_the_end_leaves_a_line_once_that_had_to_be_written_again_behind_an_earlier_version(
    path: Path, earlier: str
) -> None:
    """What became of the version before is known only after the newer one was rejected."""
    rejects = opened(path)
    rejects.reject(origin(b'{"id":"a","version":1}', 1), "refunds", None, WRONG, "contract")
    reject(rejects, "a", 3, 3)
    before = origin(b'{"id":"a","version":2}', 2)
    if earlier == "accepted":
        rejects.accept([(before, "a")], "refunds")
    else:
        rejects.reject(before, "refunds", None, WRONG, "contract")
    rejects.close()

    assert versions(path) == [("a", 1), ("a", 2), ("a", 3)]
    release(rejects)


def test_an_accepted_record_that_was_read_before_every_line_about_it_is_not_written(path: Path) -> None:
    rejects = opened(path)
    reject(rejects, "a", 2, 2)
    before = path.read_bytes()
    rejects.accept([(origin(b'{"id":"a","version":1}', 1), "a")], "refunds")
    assert path.read_bytes() == before
    release(rejects)


def test_no_line_is_written_again_for_one_of_another_key(path: Path) -> None:
    """Or the file would grow with the square of what is rejected."""
    rejects = opened(path)
    for number in [*range(51, 101), *range(1, 51)]:  # the contract rejects at once, Klar late
        reject(rejects, f"k{number}", 1, number)
    assert len(records(path)) == 100
    release(rejects)


@pytest.mark.parametrize("change", ["replaced", "removed", "appended"])
def test_the_end_leaves_a_file_alone_that_somebody_has_changed(path: Path, change: str) -> None:
    rejects = opened(path)
    reject(rejects, "a", 1, 1)
    rejects.accept([(origin(b'{"id":"a","version":2}', 2), "a")], "refunds")
    whole = path.read_bytes()
    moved = path.with_name("again.jsonl")
    if change == "appended":
        path.write_bytes(whole + b"\n")
    else:
        path.rename(moved)
    if change == "replaced":
        path.write_bytes(b"# somebody's own\n")
    before = {each: each.read_bytes() for each in path.parent.iterdir()}
    rejects.close()

    assert {each: each.read_bytes() for each in path.parent.iterdir()} == before
    release(rejects)


def test_a_symbolic_link_stays_one(path: Path) -> None:
    real = path.with_name("real.jsonl")
    real.write_bytes(SCHEMA + b"\n" + bad("a", 1) + good("a", 2))
    path.symlink_to(real)
    rejects = opened(path)
    rejects.sync()

    assert (path.is_symlink(), real.read_bytes()) == (True, b"")
    release(rejects)


def test_a_file_that_cannot_be_written_anew_keeps_its_lines_and_the_run_goes_on(path: Path, caplog: Any) -> None:
    (path.with_name(f".{path.name}.target-klar")).mkdir()
    before = SCHEMA + b"\n" + bad("a", 1) + good("a", 2)
    path.write_bytes(before)
    rejects = opened(path)

    assert "cannot be replaced (File exists), so it keeps records that Klar has accepted since" in caplog.text
    assert (path.read_bytes(), rejects.may_have_keys) == (before, True)
    release(rejects)


def test_where_the_new_file_does_not_fit_on_the_disk_the_old_one_stays_alone(path: Path, caplog: Any) -> None:
    before = SCHEMA + b"\n" + bad("a", 1) + good("a", 2) + bad("b", 1)
    path.write_bytes(before)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        release(opened(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "cannot be replaced (File too large)" in caplog.text
    assert (path.read_bytes(), list(path.parent.iterdir())) == (before, [path])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_file_stays_its_owners_when_root_removes_what_is_settled(path: Path) -> None:
    path.write_bytes(SCHEMA + b"\n" + bad("a", 1) + good("a", 2))
    os.chown(path, 12345, 54321)
    release(opened(path))
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_gid) == (b"", 12345, 54321)


@pytest.mark.slow
def test_of_a_file_with_too_many_keys_nothing_is_removed_and_every_newest_version_is_appended(
    path: Path, caplog: Any
) -> None:
    """Safe is a line too many: one that is missing would let an older version win."""
    record = (
        b'{"type":"RECORD","stream":"order_refunds","record":{"id":"%d","version":1},"klar":{"stream":"refunds"}}\n'
    )
    many = b"".join(record % number for number in range(MAX_KEYS))
    path.write_bytes(SCHEMA + b"\n" + many + good("0", 2))
    release(opened(path))
    assert (caplog.messages, path.stat().st_size) == ([], len(SCHEMA) + 1 + len(many) - len(record % 0))

    path.write_bytes(SCHEMA + b"\n" + many + bad("one more", 1) + good("0", 2))
    size = path.stat().st_size
    rejects = opened(path)
    (said,) = caplog.messages
    assert "too large to be read (more than 100,000 keys or 1 GB)" in said
    assert (path.stat().st_size, rejects.may_have_keys) == (size, True)

    for number, key in enumerate(["7", "never seen"], 1):
        rejects.accept([(origin(b'{"id":"%b","version":2}' % key.encode(), number), key)], "refunds")
    rejects.sync()
    assert versions(path)[-2:] == [("7", 2), ("never seen", 2)]
    release(rejects)


def test_a_file_of_more_than_a_gigabyte_is_not_read(path: Path, caplog: Any) -> None:
    path.write_bytes(SCHEMA + b"\n")
    os.truncate(path, 1_000_000_001)
    with path.open("ab") as file:
        file.write(b"\n" + bad("a", 1))
    rejects = opened(path)

    assert "too large to be read" in caplog.text
    assert rejects.may_have_keys
    before = path.stat().st_size
    reject(rejects, "b", 1, 1)
    with path.open("rb") as file:
        file.seek(before)
        assert json.loads(file.read().splitlines()[-1])["record"] == {"id": "b", "version": 1}
    rejects.accept([(origin(b'{"id":"b","version":2}', 2), "b")], "refunds")
    reject(rejects, "c", 2, 4)
    rejects.accept([(origin(b'{"id":"c","version":1}', 3), "c")], "refunds")  # of which an older one may be there
    with path.open("rb") as file:
        file.seek(before)
        texts = [line for line in file.read().splitlines() if b'"id":"c"' in line.replace(b" ", b"")]
    assert [json.loads(text)["record"]["version"] for text in texts] == [2, 1, 2]
    rejects.close()
    assert caplog.text.count("too large to be read") == 1
    release(rejects)


@pytest.fixture(autouse=True)
def _warnings(caplog: Any) -> None:
    caplog.set_level(logging.WARNING, "target-klar")
