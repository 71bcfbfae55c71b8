"""A family of commands: `outdial FAMILY COMMAND`."""

from collections.abc import Callable, Mapping

#: What it is for, and its commands by name.
Family = tuple[str, Mapping[str, Callable[..., None]]]
