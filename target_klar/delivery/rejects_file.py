"""The rejects file on disk: locked for the run, whole lines only, and replaced in one step or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from singer_sdk.exceptions import ConfigurationError

from target_klar.runtime.endings import StopHereError, StopNowError
from target_klar.runtime.pipes import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_MAX_LINE: Final = MAX_LINE + (1 << 20)
"""No longer line is written: the tap's own, and what is wrong with it."""
MAX_SIZE: Final = 1_000_000_000
"""The size in bytes from which on a file is not read at the start."""

INPUT: Final = "the input"
"""What messages call what a run reads, beside stdout and stderr, which are called so."""

_logger = logging.getLogger("target-klar")
_OUR_LINES = b'{"type":"'
_LONGEST_WORD = len("-Infinity")
_BLOCK = 1 << 16


class FileNotReadError(Exception):
    """The file was not read at the start: it, or a line of it, is too large, or a signal came."""


class RejectsFile:
    """A file of JSON lines at `path`, open for appending."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.locked = False
        """Whether no other run can have it open."""
        self._file = -1
        self._size = 0
        """Where the next line begins, as far as this run knows."""
        self._synced = True
        self._failure = ""
        """Why nothing more can be written: the file may end in a part of a line, or the system lost some of it."""

    def open(self, open_files: Mapping[str, os.stat_result], *, anew: bool) -> None:
        """Open it, `anew` as an empty file and without a lock; `open_files` are what else the run reads and writes.

        Raises:
            ConfigurationError: It cannot be written, is in use by another run, or is one of those.
        """
        try:
            while not self._open(open_files, anew=anew):
                os.close(self._file)  # another run has just put a new one in its place
            self._sync_folder()
            if self.locked:
                with suppress(OSError):
                    self._beside.unlink()  # what a killed run has left
            if not anew:
                self._repair_last_line()
            self._size = os.fstat(self._file).st_size
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except UnicodeEncodeError as error:
            raise self._unusable("this locale has not all of its letters; LC_ALL=C.UTF-8 has") from error

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield every line with the place where it begins.

        Raises:
            FileNotReadError: It is too large to be read.
        """
        if self._size > MAX_SIZE:
            raise FileNotReadError
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            start = 0
            while line := file.readline(_MAX_LINE + 1):
                if len(line) > _MAX_LINE:
                    raise FileNotReadError
                yield start, line
                start += len(line)

    def read(self, start: int, length: int) -> bytes:
        """Return a part of it."""
        return os.pread(self._file, length, start)

    def append(self, lines: bytes) -> int:
        """Write whole lines behind its last one, all or none of them, and return the place where they begin.

        Raises:
            StopHereError: They cannot be written, or another program has changed the file.
        """
        if self._failure:
            raise StopHereError(self._broken(self._failure))
        left = memoryview(lines)
        self._synced = False
        try:
            if self.locked and os.fstat(self._file).st_size != self._size:
                raise StopHereError(self._replaced())
            while left:
                left = left[os.write(self._file, left) :]
            self._size = os.lseek(self._file, 0, os.SEEK_CUR)
        except OSError as error:
            self._failure = error.strerror or str(error)
            with suppress(OSError):
                if self.locked:  # else what is behind it may be another run's
                    os.ftruncate(self._file, self._size)
                    self._failure = ""
            raise StopHereError(self._broken(error.strerror)) from error
        return self._size - len(lines)

    def sync(self) -> None:
        """Return once everything that was appended is on disk, under its path.

        Raises:
            StopNowError: It could not be brought there, or another file is in its place.
        """
        if self._failure:
            raise StopNowError(self._broken(self._failure))
        if self._is_changed():
            raise StopNowError(self._replaced())
        if not self._synced:
            try:
                os.fsync(self._file)
            except OSError as error:
                self._failure = error.strerror or str(error)  # a second fsync would succeed without the lost pages
                raise StopNowError(self._broken(self._failure)) from error
            self._synced = True

    def replace(self, lines: Iterable[bytes]) -> None:
        """Put a file of these lines in its place, of the same owner and mode; until then the old one stays as it is.

        Raises:
            OSError: That is not possible.
        """
        before = os.fstat(self._file)
        new = os.open(self._beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before it has the name that other runs look for
            made = os.fstat(new)
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(new, before.st_uid, before.st_gid)
            os.fchmod(new, stat.S_IMODE(before.st_mode))
            with open(new, "wb", closefd=False) as file:
                file.writelines(lines)
            os.fsync(new)
            self._beside.rename(self.path.resolve())
        except BaseException:
            os.close(new)
            self._beside.unlink()
            raise
        os.close(self._file)
        self._file = new
        self._size = os.fstat(new).st_size
        self._sync_folder()

    @property
    def is_ours(self) -> bool:
        """Whether the file at the path is the one that this run has open, and ends with what it wrote last."""
        return not self._failure and not self._is_changed()

    @property
    def _beside(self) -> Path:
        path = self.path.resolve()
        return path.with_name(f".{path.name}.target-klar")

    def _open(self, open_files: Mapping[str, os.stat_result], *, anew: bool) -> bool:
        """Open what is at the path now, and tell whether it still is there, locked."""
        # For reading too, so that it does not wait for the other end of a FIFO.
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        opened = os.fstat(self._file)
        if not stat.S_ISREG(opened.st_mode):
            raise self._unusable("not a regular file")
        for name, other in open_files.items():
            if os.path.samestat(opened, other):
                advice = "Move it away before you send it again" if name == INPUT else f"Send {name} to another file"
                raise ConfigurationError(f"{self.path} is both {name} and `rejects_path`. {advice}.")
        if anew:
            os.ftruncate(self._file, 0)
            return True
        self.locked = self._lock()
        return self._is_in_place()

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ConfigurationError(
                f"The rejects file {self.path} is in use by another run. Wait until that run has ended, or set "
                "another `rejects_path`."
            ) from error
        except OSError as error:
            _logger.warning(
                "The rejects file %s cannot be locked here (%s). Let no other run use it at the same time.",
                self.path,
                error.strerror,
            )
            return False
        return True

    def _is_changed(self) -> bool:
        return not self._is_in_place() or (self.locked and os.fstat(self._file).st_size != self._size)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _sync_folder(self) -> None:
        """Bring the name of the file to disk, where folders can be."""
        try:
            folder = os.open(self.path.resolve().parent, os.O_RDONLY)
        except PermissionError:
            return
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(folder)

    def _repair_last_line(self) -> None:
        """Make it end with a whole line: what a crash or a full disk cut off was never acknowledged.

        What somebody has corrected by hand stays, also with a mistake in it.
        """
        size = os.fstat(self._file).st_size
        start = self._start_of_last_line(size)
        if start == size:
            return
        last = os.pread(self._file, min(size - start, _MAX_LINE), start)
        ours = _OUR_LINES.startswith(last[: len(_OUR_LINES)]) and len(last) == size - start
        if self.locked and ours and _is_cut_off(last):
            os.ftruncate(self._file, start)
        else:
            os.write(self._file, b"\n")
        os.fsync(self._file)

    def _start_of_last_line(self, size: int) -> int:
        """Return the place behind the last line break, looked for from behind: the file may be large."""
        end = size
        while end:
            block = os.pread(self._file, min(end, _BLOCK), max(0, end - _BLOCK))
            end -= len(block)
            if at := block.rfind(b"\n") + 1:
                return end + at
        return 0

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"The rejects file {self.path} cannot be written ({why}). Check `rejects_path`.")

    def _broken(self, why: str | None) -> str:
        return (
            f"The rejects file {self.path} cannot be written ({why}). No STATE is written that covers what it should "
            "hold. Check the free space and the permissions, and run again."
        )

    def _replaced(self) -> str:
        return (
            f"The rejects file {self.path} was changed, replaced or removed during the run. No STATE is written that "
            "covers what it should hold. Run again, and move the file only between two runs."
        )


def _is_cut_off(line: bytes) -> bool:
    """Tell whether nothing is wrong with a line of JSON but that it ends too early."""
    text = line.decode(errors="replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _LONGEST_WORD
    except (ValueError, RecursionError):  # a number too long, nested too deep
        return False
    return False
