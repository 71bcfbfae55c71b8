"""Retell's HTTP API, simulated: real requests and signed webhooks, and nobody's phone rings."""
