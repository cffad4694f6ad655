"""What the disk can do to a store, in words: errors of the operating system and of LanceDB become DepErrors."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import DepError

# LanceDB passes the system's error on as text: "... Permission denied (os error 13) ...".
_SYSTEM_ERROR = re.compile(r"os error (\d+)")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}
_BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_DAMAGE = re.compile(
    r"no longer exists|was not found|not found:|corrupt|invalid (?:magic|protobuf)|LanceError\(IO\)"
    r"|LanceError\(Arrow\): (?:Parser|Io) error",
    re.I,
)
_PLACE_IN_SOURCE = re.compile(r", /\S+\.rs:\d+(?::\d+)?$")  # of LanceDB, on the machine where it was compiled


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Raise a DepError for a full disk, missing permission, or a damaged file under `folder`; let bugs through."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        translated = _translate(error, folder)
        if translated is None:
            raise
        raise translated from error


def _translate(error: Exception, folder: Path) -> DepError | None:
    found = _SYSTEM_ERROR.search(str(error))
    code = getattr(error, "errno", None) or (int(found[1]) if found else None)
    if code in _NO_SPACE:
        return DepError(
            f"no room left for the profile store in {folder}",
            "free some space and run the same command again: what was committed is safe, and it goes on from there",
        )
    if code == errno.EROFS:
        return DepError(f"{folder} lies on a read-only file system", "copy the folder elsewhere, and name that with --profiles")
    if code in _NO_ACCESS:
        hint = f"give yourself access (ls -ld {folder}), or name another folder with --profiles"
        return DepError(f"no permission to use the profile store in {folder}", hint)
    if code in _TOO_MANY:
        hint = "allow more (ulimit -n 4096), or name fewer files at once"
        return DepError(f"the profile store in {folder} cannot be used: too many files are open", hint)
    if code in _BLOCKED:
        return DepError(f"{folder} cannot be a profile store: a file is in the way", "name another folder with --profiles")
    if isinstance(error, OSError) or code is not None:
        hint = "run the same command again; restore a backup if it fails again"
        return DepError(f"the profile store in {folder} failed: {os.strerror(code) if code else error}", hint)
    if _DAMAGE.search(str(error)):
        hint = "dep check tells what; --repair mends what can be computed again; else restore a backup"
        said = _PLACE_IN_SOURCE.sub("", str(error).splitlines()[0])
        return DepError(f"the profile store in {folder} is damaged: {said[:200]}", hint)
    return None
