"""The reconciler: asks Retell about what we have not heard of, and mends the ledger.

Lost webhooks, calls that Retell no longer knows, and calls there that the ledger does not know.
Any number of reconcilers may run at once; asking costs what is open, not history.
"""

from outdial.reconciler.asking import Rules
from outdial.reconciler.stage import Reconciler

__all__ = ["Reconciler", "Rules"]
