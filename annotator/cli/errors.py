"""What a user is told when something goes wrong: one line that says what to do."""

from __future__ import annotations

import errno
import os

from annotator.errors import AnnotatorError

DEBUG_VARIABLE = "ANNOTATOR_DEBUG"

DISK_WORDS = {
    "disk is full": "there is no space left for the database; free some and run the same command again",
    "readonly database": "the database may only be read; mend its permissions or choose another database_url",
    "database is locked": "another program holds the database; wait for it or stop it, then run the command again",
    "unable to open database file": "the database cannot be opened; check that its folder exists and may be written",
    "disk i/o error": "the database's disk failed or is full; check its space, then run the same command again",
}
"""What SQLite says, and what that means for who reads it."""

CONNECT_WORDS = ("connection failed", "could not connect", "connection refused", "could not translate host name")

SYSTEM_WORDS = {
    errno.ENOSPC: "no space is left; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; mend its permissions or choose another place",
    errno.EPERM: "operation not permitted; mend its permissions or choose another place",
    errno.EROFS: "the file system may only be read; choose another place",
    errno.ENOENT: "there is no such file or folder; check the name",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the name",
    errno.EISDIR: "this is a folder, not a file; check the name",
    errno.EADDRINUSE: "the port is in use; choose another one with --port",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def explain(error: Exception) -> str:
    """One line for a user; a mistake of ours says so and how to see more."""
    if isinstance(error, AnnotatorError):
        return _one_line(str(error))
    if isinstance(error, OSError):
        return _system_error(error)
    if type(error).__module__.startswith("sqlalchemy"):
        return _database_error(error)
    return (
        f"internal error ({type(error).__name__}: {_one_line(str(error))}); set {DEBUG_VARIABLE}=1 for the traceback "
        "and report it"
    )


def wants_traceback() -> bool:
    """Whether the user asked to see where errors come from."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _system_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return place + SYSTEM_WORDS.get(error.errno or 0, _one_line(error.strerror or str(error)))


def _database_error(error: Exception) -> str:
    said = _one_line(str(getattr(error, "orig", None) or error))
    for words, meaning in DISK_WORDS.items():
        if words in said.lower():
            return f"{meaning} ({said})"
    if any(words in said.lower() for words in CONNECT_WORDS):
        return f"cannot connect to the database; check database_url and that the server runs ({said})"
    return f"the database refused: {said}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
