"""The relay: moves what is committed out of the ledger.

Due calls go to the call queue, activity events to their sink. Each has a loop of its own, so that
neither waits for the other's neighbour. Any number of relays may run at once.
"""

from outdial.relay.stage import Relay

__all__ = ["Relay"]
