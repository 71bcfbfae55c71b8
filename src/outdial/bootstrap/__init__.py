"""Puts the program together: the one place that knows adapters, and hands stages their ports."""

from outdial.bootstrap.examining import examine_warehouse
from outdial.bootstrap.openers import (
    open_ledger,
    open_parts,
    open_queue,
    open_reconciler,
    open_warehouse,
    upgrade_database,
)
from outdial.bootstrap.parts import Parts
from outdial.bootstrap.running import Running, serve, up
from outdial.bootstrap.simulated import SIMULATOR_KEY

__all__ = [
    "SIMULATOR_KEY",
    "Parts",
    "Running",
    "examine_warehouse",
    "open_ledger",
    "open_parts",
    "open_queue",
    "open_reconciler",
    "open_warehouse",
    "serve",
    "up",
    "upgrade_database",
]
