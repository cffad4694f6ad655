"""The terminal: `main` runs a command and turns what went wrong into a message, a hint and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress

from depcli.errors import BUG, DONE, FAILURE, INTERRUPTED, MISSING, DepError

# The state of the machine, not a mistake of ours: reported like a DepError. Every other OSError is a bug.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
_FILES = 8192  # open at once


def main(arguments: list[str] | None = None) -> int:
    """Run `dep` with these arguments (default: the command line's) and return its exit code."""
    if os.name == "nt":
        sys.stderr.write("error: dep runs on Linux and macOS\nhint: on Windows install it in WSL, the Linux that Windows has\n")
        return MISSING
    try:
        import click

        from depcli.cli.group import dep, going_on
        from depcli.cli.sink import OutputClosed, complain
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    arguments = sys.argv[1:] if arguments is None else arguments
    _stand_in_for_closed_streams()
    _allow_many_files()
    try:
        code = dep.main(arguments, prog_name="dep", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except DepError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        context = error.ctx
        complain(error.format_message(), f"see `{context.command_path if context else 'dep'} --help`")
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return FAILURE
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click reads any EOFError as an abort; ours would be a bug
            return _bug(error.__cause__)
        complain("interrupted", going_on(arguments))
        return INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        _let_go_of_stdout()
        return FAILURE
    except OSError as error:
        if error.errno not in _MACHINE:
            return _bug(error)
        where = f": {error.filename}" if error.filename else ""
        complain(f"{error.strerror}{where}", "make room, or check who may write there; nothing half-written is used")
        return FAILURE
    except SystemExit:
        raise
    except BaseException as error:  # LanceDB's panics are no Exceptions
        return _bug(error)


def _bug(error: BaseException) -> int:
    traceback.print_exception(error)
    from depcli.cli.sink import complain

    complain(f"{type(error).__name__} (a bug in dep)", "please report it with the lines above, without your data")
    return BUG


def _stand_in_for_closed_streams() -> None:
    """Daemons start programs without standard streams. Nothing else may get their numbers, into which native code prints."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _allow_many_files() -> None:
    """As many open files as the system lets us have: macOS begins with 256, which a store and some inputs exceed."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _let_go_of_stdout() -> None:
    """Whoever read our output has closed it: keep the interpreter from complaining about that when it ends."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
