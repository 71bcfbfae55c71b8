"""The voice platform port over Retell's own SDK, which is loaded when it is first used."""

from outdial.adapters.retell.platform import RetellPlatform

__all__ = ["RetellPlatform"]
