"""The ledger's migrations, run by `outdial db upgrade`."""
