"""The v1 programming model: one folder a function, described by its ``function.json``.

A folder is made to look like a function that decorators declared, so that the rest of the worker
knows one programming model only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from soloist_worker.functions import FunctionUnusable

PACKAGE = "__app__"
"""The package, made up by Azure's worker, that the app's folder is."""

_TYPES = {
    each.lower(): each
    for each in (
        "httpTrigger",
        "timerTrigger",
        "orchestrationTrigger",
        "activityTrigger",
        "entityTrigger",
        "durableClient",
        "http",
    )
} | {"orchestrationclient": "durableClient"}
_ATTRIBUTES = {
    "route": "route",
    "methods": "methods",
    "authLevel": "auth_level",
    "orchestration": "orchestration",
    "activity": "activity",
    "entityName": "entity_name",
    "schedule": "schedule",
    "runOnStartup": "run_on_startup",
    "useMonitor": "use_monitor",
}
_DEFAULT_AUTH_LEVEL = "function"
_TRUE = ("true", "1")


class FolderFunction:
    """One folder's function, with the methods of a function of the v2 model."""

    def __init__(self, path: Path, root: Path) -> None:
        """Read a ``function.json``.

        Raises:
            FunctionUnusable: it cannot describe a function.
        """
        settings = _read(path)
        self._name = path.parent.name
        self.script = _script(path, settings, root)
        self.entry_point = settings.get("entryPoint") or "main"
        self.is_disabled = _is_true(settings.get("disabled"))
        self._bindings = [_binding(each) for each in settings["bindings"]]
        self._trigger = _trigger(self._name, self._bindings)
        self._call: Callable[..., Any] | None = None

    def module_name(self, root: Path) -> str:
        """Return the name under which the script is imported."""
        parts = list(self.script.relative_to(root).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        return ".".join([PACKAGE, *parts])

    def take(self, module: ModuleType) -> None:
        """Take the entry point out of the imported script.

        Raises:
            FunctionUnusable: it is not there.
        """
        call = getattr(module, self.entry_point, None)
        if not callable(call):
            raise FunctionUnusable(
                f"The function '{self._name}' has no entry point: {self.script} defines no"
                f" function '{self.entry_point}'."
            )
        self._call = call

    def get_function_name(self) -> str:
        """As the SDK's."""
        return self._name

    def get_user_function(self) -> Any:
        """As the SDK's."""
        return self._call

    def get_trigger(self) -> Any:
        """As the SDK's."""
        return self._trigger

    def get_bindings(self) -> list[Any]:
        """As the SDK's."""
        return self._bindings


def find_folders(root: Path) -> list[Path]:
    """Return the ``function.json`` of every function folder."""
    return sorted(root.glob("*/function.json"))


def import_script(name: str, root: Path) -> ModuleType:
    """Import a script below the made-up package, which stands for ``root``."""
    package = sys.modules.get(PACKAGE)
    if package is None or list(package.__path__) != [str(root)]:
        for each in [each for each in sys.modules if each.split(".")[0] == PACKAGE]:
            del sys.modules[each]
        package = ModuleType(PACKAGE)
        package.__path__ = [str(root)]
        sys.modules[PACKAGE] = package
    importlib.invalidate_caches()
    __import__(name)  # importlib.import_module would be a frame in the user's traceback
    return sys.modules[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FunctionUnusable(f"{path} is not JSON: {error}.") from error
    bindings = settings.get("bindings") if isinstance(settings, dict) else None
    if not isinstance(bindings, list) or not all(isinstance(each, dict) for each in bindings):
        raise FunctionUnusable(f"{path} has no list of bindings.")
    found: dict[str, Any] = settings
    return found


def _script(path: Path, settings: dict[str, Any], root: Path) -> Path:
    given = settings.get("scriptFile") or "__init__.py"
    script = Path(os.path.normpath(path.parent / given))
    if script.suffix != ".py" or root not in script.parents or not script.is_file():
        raise FunctionUnusable(
            f"{path} names the script '{given}', which is no Python file in the app's folder."
        )
    return script


def _binding(settings: dict[str, Any]) -> SimpleNamespace:
    written = str(settings.get("type", ""))
    kind = _TYPES.get(written.lower(), written)
    binding = SimpleNamespace(
        type=kind,
        name=str(settings.get("name", "")),
        direction=str(settings.get("direction") or "in").lower(),
    )
    for key, attribute in _ATTRIBUTES.items():
        setattr(binding, attribute, settings.get(key))
    if kind == "httpTrigger" and binding.auth_level is None:
        binding.auth_level = _DEFAULT_AUTH_LEVEL
    return binding


def _trigger(name: str, bindings: list[SimpleNamespace]) -> SimpleNamespace:
    triggers = [each for each in bindings if each.type.lower().endswith("trigger")]
    if len(triggers) != 1:
        raise FunctionUnusable(
            f"The function '{name}' has {len(triggers)} triggers in its function.json but must"
            " have one."
        )
    return triggers[0]


def _is_true(disabled: Any) -> bool:
    """Whether ``disabled`` says so itself, or names an app setting that does."""
    if isinstance(disabled, str):
        disabled = os.environ.get(disabled, disabled).strip().lower() in _TRUE
    return bool(disabled)
