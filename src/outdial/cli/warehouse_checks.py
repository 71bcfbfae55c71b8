"""What `outdial doctor --warehouse` checks: Snowflake itself, by a real sign-in."""

from outdial import bootstrap, config
from outdial.cli import progress
from outdial.cli.findings import Check


async def run_warehouse_checks() -> list[Check]:
    """Every finding. Raises `ConfigurationError` where there is no Snowflake."""
    found: list[Check] = []
    with progress.shown("Asking the warehouse") as shown:
        async for finding in bootstrap.examine_warehouse(config.load()):
            found.append(Check(finding.name, finding.state, finding.detail, finding.mend))
            shown.at(len(found), finding.name)
    return found
