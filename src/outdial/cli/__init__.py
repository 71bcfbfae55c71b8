"""The command line: `outdial COMMAND`.

One module a family of commands; each imports what it needs inside the command, so that `--help`
stays fast. Exit codes: 0, 1 (failed), 2 (usage), 130 (Ctrl-C). Errors are one line on stderr.
"""

import os
import sys
from collections.abc import Sequence

import typer

from outdial.cli.app import build
from outdial.cli.output import complain, drop, note
from outdial.errors import OutdialError, Unavailable

NAME = "outdial"
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    if f"_{NAME.upper()}_COMPLETE" in os.environ:
        build().main(prog_name=NAME)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    try:
        command = build()
        with command.make_context(NAME, list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        complain("stopped")
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Unavailable as error:
        complain(_with_remedy(error))
        return 1
    except OutdialError as error:
        complain(str(error))
        return 1
    except BrokenPipeError:
        # `outdial calls list | head` has all it wants: no fault of anybody.
        drop(sys.stdout)
    except OSError as error:
        complain(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return 1
    return 0


def _with_remedy(error: Unavailable) -> str:
    if error.dependency != "database":
        return str(error)
    from outdial import config  # noqa: PLC0415 - `--help` does without
    from outdial.cli.session import database_remedy  # noqa: PLC0415

    return f"{error}; {database_remedy(config.load())}"


def _usage(error: typer.TyperException) -> int:
    # Typer hands on how its validation library puts it.
    message = error.format_message().replace("Input should be", "must be")
    if message.startswith("Usage:"):
        # A command group that was named alone: its help says what there is.
        note(message)
    else:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else NAME
        complain(f"{message.rstrip('.')}; see `{path} --help`")
    return error.exit_code
