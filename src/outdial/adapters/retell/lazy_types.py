"""Retell's SDK without the types it is not asked for.

`import retell` imports its `types`, and with them every model of every endpoint: most of its second
and a half and of its 64 MB go to conversation flows, which nobody here looks at. A package that
loads a submodule when it is named, and everything only where somebody asks for what is no
submodule, behaves the same and takes a third of both.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType

_PACKAGE = "retell"
_TYPES = "retell.types"


def install() -> None:
    """Before the SDK's first import; does nothing after it, or where it is laid out otherwise."""
    if _PACKAGE in sys.modules:
        return
    package = find_spec(_PACKAGE)
    found = package and PathFinder.find_spec(_TYPES, package.submodule_search_locations)
    if found is not None and found.loader is not None and found.submodule_search_locations:
        sys.modules[_TYPES] = _lazy(found)


def _lazy(spec: ModuleSpec) -> ModuleType:
    module = module_from_spec(spec)

    def load(name: str) -> object:
        if not name.startswith("_") and PathFinder.find_spec(
            f"{_TYPES}.{name}", spec.submodule_search_locations
        ):
            return importlib.import_module(f"{_TYPES}.{name}")
        if "__getattr__" in vars(module) and not name.startswith("__"):
            del module.__getattr__
            assert spec.loader is not None  # noqa: S101 - `install` has looked
            spec.loader.exec_module(module)
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(f"module {_TYPES!r} has no attribute {name!r}")

    module.__getattr__ = load  # type: ignore[method-assign]
    return module
