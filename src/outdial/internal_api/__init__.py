"""The Voice API: takes calls in, stores them, publishes them, answers 202."""

from outdial.internal_api.app import create_app
from outdial.internal_api.reading import Defaults

__all__ = ["Defaults", "create_app"]
