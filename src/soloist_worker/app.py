"""The app: importing a Function app and describing what it declares."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from soloist_worker.classic import ClassicSurface
from soloist_worker.codec import Codec, find_codec, modern_codec
from soloist_worker.failures import trace_of
from soloist_worker.functions import Function, FunctionUnusable, read_function
from soloist_worker.v1 import FolderFunction, find_folders, import_script

_DURABLE_SDK = "azure-functions-durable"
_FIRST_MODERN = 2
_LIFESPAN_SECONDS = 5.0
_TRIGGERS = {
    "activity": "activityTrigger",
    "orchestrator": "orchestrationTrigger",
    "entity": "entityTrigger",
}
_PACKAGES = os.path.join(".python_packages", "lib", "site-packages")


class AppUnusable(Exception):
    """The app cannot be hosted. ``trace`` is the app's own traceback, or empty."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.trace = trace


class App:
    """A loaded app: its functions by name, and by the names that orchestrators call."""

    def __init__(
        self,
        functions: list[Function],
        codec: Codec,
        warnings: Iterable[str],
        declaration: Any = None,
        *,
        is_modern: bool = False,
    ) -> None:
        self.codec = codec
        self.is_modern = is_modern
        self._declaration = declaration
        self.functions = {function.name: function for function in functions}
        self.warnings = tuple(warnings)
        self.activities = _by_durable_name(functions, "activityTrigger")
        self.entities = _by_durable_name(functions, "entityTrigger")
        orchestrators = _by_durable_name(functions, "orchestrationTrigger")
        self._handles: dict[str, dict[str, Function]] = {}
        self.orchestrators: dict[str, ClassicSurface] = {}
        if is_modern:
            self._handles["orchestrationTrigger"] = orchestrators
            self._handles["entityTrigger"] = self.entities
        else:
            self.orchestrators = {
                name: _surface(function, codec) for name, function in orchestrators.items()
            }

    def activity(self, name: str) -> Function | None:
        """Return the activity of that name, letter case aside."""
        return self.activities.get(name.casefold())

    def orchestrator(self, name: str) -> ClassicSurface | None:
        """Return the orchestrator of that name, letter case aside."""
        return self.orchestrators.get(name.casefold())

    def entity(self, name: str) -> Function | None:
        """Return the entity function of that name, letter case aside."""
        return self.entities.get(name.casefold())

    def handle(self, trigger: str, name: str) -> Function | None:
        """Return the modern orchestrator or entity of that name, letter case aside."""
        return self._handles.get(trigger, {}).get(name.casefold())

    def unknown(self, name: str, kind: str) -> str:
        """Return the sentences about a name that no function of that kind has."""
        trigger = _TRIGGERS[kind]
        names = sorted(
            str(each.durable_name)
            for each in self.functions.values()
            if each.trigger == trigger and not each.is_disabled
        )
        article = "an" if kind[0] in "aeiou" else "a"
        text = (
            f"The function '{name}' doesn't exist, is disabled, or is not {article} {kind}"
            " function. Additional info: "
        )
        if not names:
            return text + f"No {kind} functions are known."
        quoted = ", ".join(f"'{each}'" for each in names)
        return text + f"The following are the known {kind} functions: {quoted}."

    def describe(self) -> dict[str, Any]:
        """Return the ``loaded`` message."""
        return {
            "kind": "loaded",
            "functions": [function.describe() for function in self.functions.values()],
            "python": platform.python_version(),
            "sdk": _sdk_version(),
            "is_modern": self.is_modern,
            "warnings": list(self.warnings),
        }

    async def end(self) -> None:
        """Tell an ASGI app of the SDK's that it ends, if that was told that it begins.

        Left alone, it does this in its finalizer, on an event loop of its own, and waits there
        for ever for a task of the loop that is gone.
        """
        if getattr(self._declaration, "startup_task_done", False):
            self._declaration.startup_task_done = False
            ending = self._declaration.middleware.notify_shutdown()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ending, _LIFESPAN_SECONDS)


def load_app(app_dir: str, script: str, *, owns_process: bool = True) -> App:
    """Import ``script`` in ``app_dir`` and read the functions that it declares.

    A process of its own changes into the folder for good. A guest in somebody else's process
    changes there only while importing, and :func:`unload_app` takes the rest back.

    Raises:
        AppUnusable: the app cannot be hosted; the message says why.
    """
    root = Path(app_dir).resolve()
    path = root / script
    folders = find_folders(root)
    if not path.is_file() and not folders:
        raise AppUnusable(
            f"The app has no file {script} in {root}, and no folders with a function.json."
        )
    _prepend_paths(root)
    warnings = []
    declaration = None
    is_modern = _sdk_is_modern()
    with _working_directory(root, for_good=owns_process):
        if owns_process:
            os.environ["AzureWebJobsScriptRoot"] = str(root)
        if path.is_file():
            declaration = _declaration(_import(path), script)
            declared = _declared(declaration, script)
            functions = [_read(each, root, is_modern=is_modern) for each in declared]
        else:
            functions = [_read_folder(each, root, is_modern=is_modern) for each in folders]
    _refuse_twins(functions)
    if not functions:
        warnings.append(f"{script} declares no functions.")
    if path.is_file() and folders:
        warnings.append(f"Folders with a function.json are ignored; {script} declares the app.")
    is_modern = is_modern and any(each.is_durable for each in functions)
    codec = modern_codec() if is_modern else find_codec()
    return App(functions, codec, warnings, declaration, is_modern=is_modern)


def unload_app(app_dir: str) -> None:
    """Forget the modules and paths of an app that was loaded into somebody else's process."""
    root = Path(app_dir).resolve()
    modules = list(sys.modules.items())
    # All are found before the first is gone: where a package lies is asked of its parent.
    for name in [name for name, module in modules if _lies_below(module, str(root))]:
        del sys.modules[name]
    for entry in (str(root), str(root / _PACKAGES)):
        if entry in sys.path:
            sys.path.remove(entry)


def _lies_below(module: ModuleType, root: str) -> bool:
    """Whether a module, or a package without a file of its own, comes from the app's folder."""
    file = getattr(module, "__file__", None)
    places = [file] if file is not None else list(getattr(module, "__path__", ()))
    return any(each == root or str(each).startswith(root + os.sep) for each in places)


def _prepend_paths(root: Path) -> None:
    packages = root / _PACKAGES
    for entry in ([packages] if packages.is_dir() else []) + [root]:
        if str(entry) not in sys.path:
            sys.path.insert(0, str(entry))


@contextmanager
def _working_directory(root: Path, *, for_good: bool) -> Iterator[None]:
    before = os.getcwd() if not for_good else None
    os.chdir(root)
    try:
        yield
    finally:
        if before is not None:
            os.chdir(before)


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        with _importing(path, path.parent):
            spec.loader.exec_module(module)
    except AppUnusable:
        sys.modules.pop(path.stem, None)
        raise
    return module


@contextmanager
def _importing(path: Path, root: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # SystemExit too: sys.exit() in a script is a refusal
        raise AppUnusable(_import_sentence(path, root, error), trace_of(error)) from error


def _import_sentence(path: Path, root: Path, error: BaseException) -> str:
    host_json = root / "host.json"
    if isinstance(error, json.JSONDecodeError) and host_json.is_file():
        try:
            json.loads(host_json.read_text(encoding="utf-8"))
        except ValueError as reason:
            return (
                f"host.json is not strict JSON ({reason}), and azure-functions-durable reads it"
                " strictly when it is imported. Remove comments and trailing commas from"
                f" {host_json}."
            )
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package == "azure":
            return (
                f"{path.name} cannot be imported: {error}. Install the app's requirements"
                f" (azure-functions, azure-functions-durable) for {sys.executable}."
            )
        if package and _is_uninstalled(package):
            return (
                f"{path.name} cannot be imported: {error}. Install the app's requirements for"
                f" {sys.executable}, which runs it."
            )
    return f"{path.name} cannot be imported: {type(error).__name__}: {error}"


def _is_uninstalled(package: str) -> bool:
    """Whether a top-level package that cannot be imported is one that can be installed: neither
    Python's own, nor there, in the app's folder too, so that only a part of it is missing."""
    if package in sys.modules or package in sys.stdlib_module_names:
        return False
    try:
        return importlib.util.find_spec(package) is None
    except (ImportError, ValueError):
        return False


def _declaration(module: ModuleType, script: str) -> Any:
    """Return the module's one app."""
    try:
        from azure.functions import FunctionRegister
    except ImportError as error:
        raise AppUnusable(
            f"The package azure-functions cannot be imported by {sys.executable}: {error}."
        ) from error
    apps = {id(each): each for each in vars(module).values() if isinstance(each, FunctionRegister)}
    if not apps:
        raise AppUnusable(
            f"Could not find top level function app instances in {script}: it needs one"
            " FunctionApp or DFApp in a global variable."
        )
    if len(apps) > 1:
        names = [name for name, each in vars(module).items() if id(each) in apps]
        raise AppUnusable(
            f"{script} has {len(apps)} function apps ({', '.join(names)}) but must have one."
            " Use blueprints for the others."
        )
    (app,) = apps.values()
    return app


def _declared(app: Any, script: str) -> list[Any]:
    """Return the functions of an app."""
    try:
        return list(app.get_functions())
    except Exception as error:
        raise AppUnusable(
            f"The functions of {script} are refused: {error}", trace_of(error)
        ) from error


def _read(declared: Any, root: Path, *, is_modern: bool) -> Function:
    with _reading():
        return read_function(declared, str(root), is_modern=is_modern)


def _read_folder(path: Path, root: Path, *, is_modern: bool) -> Function:
    with _reading():
        declared = FolderFunction(path, root)
    with _importing(declared.script, root):
        module = import_script(declared.module_name(root), root)
    with _reading():
        declared.take(module)
        function = read_function(declared, str(path.parent), is_modern=is_modern)
    function.is_disabled = function.is_disabled or declared.is_disabled
    return function


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except FunctionUnusable as error:
        raise AppUnusable(str(error)) from error


def _refuse_twins(functions: Iterable[Function]) -> None:
    seen: dict[tuple[str, str], Function] = {}
    for function in functions:
        if function.durable_name is None:
            continue
        key = (function.trigger, function.durable_name.casefold())
        other = seen.setdefault(key, function)
        if other is not function:
            raise AppUnusable(
                f"The functions '{other.name}' and '{function.name}' are both"
                f" '{function.durable_name}' to orchestrators and clients (names are compared"
                " without regard to case). Give one of them another name."
            )


def _by_durable_name(functions: Iterable[Function], trigger: str) -> dict[str, Function]:
    """Return enabled functions by folded name, and by Python name where that is unambiguous."""
    chosen = [each for each in functions if each.trigger == trigger and not each.is_disabled]
    found = {str(each.durable_name).casefold(): each for each in chosen}
    aliases = [each.alias.casefold() for each in chosen if each.alias is not None]
    for each in chosen:
        alias = (each.alias or "").casefold()
        if alias and aliases.count(alias) == 1:
            found.setdefault(alias, each)
    return found


def _surface(function: Function, codec: Codec) -> ClassicSurface:
    user_function = getattr(function.call, "orchestrator_function")  # noqa: B009  # the SDK's own
    input_type = getattr(function.call, "_df_input_type", None)
    return ClassicSurface(user_function, str(function.durable_name), codec, input_type)


def _sdk_is_modern() -> bool:
    """Whether the SDK runs orchestrators and entities itself, as it does from 2.0 on."""
    try:
        version = metadata.version(_DURABLE_SDK)
    except metadata.PackageNotFoundError:
        return False
    major = version.partition(".")[0]
    return major.isdecimal() and int(major) >= _FIRST_MODERN


def _sdk_version() -> str:
    try:
        return f"{_DURABLE_SDK} {metadata.version(_DURABLE_SDK)}"
    except metadata.PackageNotFoundError:
        return f"azure-functions {metadata.version('azure-functions')}"
