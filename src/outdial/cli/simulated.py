"""Commands that ask Retell, where the running `up` has the simulator in its place."""

from pydantic import SecretStr

from outdial import bootstrap
from outdial.cli import home
from outdial.config import Settings


def with_simulator(settings: Settings) -> Settings:
    """Without a key of Retell's: the simulator that the running `up` has started, if one runs."""
    if settings.retell_api_key is not None:
        return settings
    running = home.running(settings.home) or {}
    url = running.get("urls", {}).get("simulator")
    if url is None:
        return settings
    key = SecretStr(bootstrap.SIMULATOR_KEY)
    return settings.model_copy(update={"retell_api_key": key, "retell_base_url": str(url)})
