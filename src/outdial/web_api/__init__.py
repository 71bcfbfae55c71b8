"""Analytics over the warehouse, for programs at `/v1/analytics` and for people at `/`."""

from outdial.web_api.app import create_app

__all__ = ["create_app"]
