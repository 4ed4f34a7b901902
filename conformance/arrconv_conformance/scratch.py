"""A folder for files that pass between two programs: in memory where there is room, and not for longer than needed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from arrconv_conformance.adapters import Unavailable

_MEMORY = Path("/dev/shm")
_ROOM = 1 << 28
"""Bytes that must be free in memory for files to lie there."""

_PREFIX, _LOCK = "arrconv-calls-", ".lock"
_TRIES = 5


class Scratch:
    """A folder of this process. It is removed with the object or, after a sudden death, by the next one that is made.

    A lock on a file in it shows that its process lives.

    Raises:
        Unavailable: the path of the place for temporary files has spaces, which the line protocol has not.
    """

    def __init__(self) -> None:
        place = _place()
        for path in place.glob(f"{_PREFIX}*/{_LOCK}"):
            if (lock := _locked(path)) is not None:
                _remove(path.parent, lock)
        for _ in range(_TRIES):  # another process may take it for a dead one's before it is locked
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
            (self.path / _LOCK).touch()
            lock = _locked(self.path / _LOCK)
            if self.path.exists():
                break
            if lock is not None:
                os.close(lock)
        self._ending = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Remove it."""
        self._ending()


def _place() -> Path:
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    place = Path(tempfile.gettempdir())
    if len(str(place).split()) != 1:
        raise Unavailable(f"the folder for temporary files is '{place}', and may have no spaces; set TMPDIR to another")
    return place


def _locked(path: Path) -> int | None:
    """A lock of a file, or None where somebody has it, or there are no locks, or the file is not this user's."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path, lock: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        os.close(lock)
