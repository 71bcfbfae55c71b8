"""The tree of commands."""

import inspect
from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperGroup

from outdial.cli import (
    audit,
    calls,
    db,
    demo,
    dlq,
    doctor,
    events,
    following,
    importing,
    keys,
    pausing,
    reconciling,
    serve,
    up,
    warehouse,
)
from outdial.cli.family import Family
from outdial.cli.output import say

#: As they are listed: what starts it, what places calls, what looks and acts, what keeps it well.
ORDER = (
    "up",
    "demo",
    "serve",
    "call",
    "import",
    "calls",
    "pause",
    "resume",
    "events",
    "dlq",
    "reconcile",
    "audit",
    "keys",
    "db",
    "warehouse",
    "doctor",
)
_CONTEXT = {"help_option_names": ["-h", "--help"]}


def build() -> typer.core.TyperGroup:
    """The command that `outdial` is."""
    app = typer.Typer(
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )
    app.callback(help=_help(_root))(_root)
    single: dict[str, Callable[..., None]] = {
        "up": up.up,
        "demo": demo.demo,
        "serve": serve.serve,
        "call": following.call,
        "import": importing.import_,
        "pause": pausing.pause,
        "resume": pausing.resume,
        "audit": audit.audit,
        "reconcile": reconciling.reconcile,
        "doctor": doctor.doctor,
    }
    for name, function in single.items():
        app.command(name, help=_help(function))(function)
    families: dict[str, Family] = {
        "calls": calls.FAMILY,
        "events": events.FAMILY,
        "dlq": dlq.FAMILY,
        "keys": keys.FAMILY,
        "db": db.FAMILY,
        "warehouse": warehouse.FAMILY,
    }
    for name, (text, commands) in families.items():
        family = typer.Typer(help=text, no_args_is_help=True, context_settings=_CONTEXT)
        for verb, function in commands.items():
            family.command(verb, help=_help(function))(function)
        app.add_typer(family, name=name)
    command = typer.main.get_command(app)
    if not isinstance(command, TyperGroup):
        raise TypeError(type(command))
    command.commands = {name: command.commands[name] for name in ORDER}
    return command


def _help(function: Callable[..., None]) -> str:
    # Paragraphs that begin with \b keep their lines; in a docstring it stands as two letters.
    return (inspect.getdoc(function) or "").replace("\\b\n", "\b\n")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - Typer passes a flag's value by position
    if asked:
        from importlib import metadata  # noqa: PLC0415 - a fifth of what `--help` may take

        say(f"outdial {metadata.version('outdial')}")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    r"""Outbound voice-AI calls: never lost, never dialed twice, always accounted for.

    \b
    Start here:
      outdial demo                       see it work, on the simulator
      outdial up                         run it
      outdial import contacts.csv        place a call to everyone in a file

    Settings are environment variables (OUTDIAL_…, also from .env): docs/configuration.md.
    """
