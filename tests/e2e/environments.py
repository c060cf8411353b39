"""The environment of an app on another Python than ours: made once, and kept between test runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "SOLOIST_TEST_MODERN_PYTHON"
"""Names the interpreter to be used, where the one that would be found is not the right one."""

LEAST = (3, 13)

_BIN = "Scripts" if sys.platform == "win32" else "bin"
_MADE = "made.txt"
_INSTALL_SECONDS = 300
_ASK_SECONDS = 20


class Unavailable(Exception):
    """There is no such environment here; the text says why."""


def modern_python(requirements: Path, cache: Path) -> Path:
    """Return the interpreter of an environment with what ``requirements`` lists.

    It lies in ``cache`` under a name that says what is in it, and is made when it is not there.

    Raises:
        Unavailable: there is no interpreter for it, or something cannot be installed.
    """
    base, version = _find_base()
    content = f"{version}\n{requirements.read_text(encoding='utf-8')}"
    folder = cache / hashlib.sha256(content.encode()).hexdigest()[:16]
    python = folder / _BIN / "python"
    if not (folder / _MADE).exists():
        shutil.rmtree(folder, ignore_errors=True)  # half made, when a run was broken off
        _run([base, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)])
        (folder / _MADE).write_text(content, encoding="utf-8")
    return python


def _find_base() -> tuple[str, str]:
    for candidate in _candidates():
        version = _version_of(candidate)
        if version is not None and version >= LEAST:
            return candidate, ".".join(map(str, version))
    least = ".".join(map(str, LEAST))
    raise Unavailable(f"There is no Python {least} or newer here; name one in {VARIABLE}.")


def _candidates() -> Iterator[str]:
    """Yield interpreters, the likeliest first."""
    named = os.environ.get(VARIABLE)
    if named:
        yield named
        return
    yield sys.executable
    for minor in (13, 14):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            yield found
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for folder in sorted(versions.glob("3.1[3-9]*")):
        yield str(folder / "bin" / "python")


def _version_of(python: str) -> tuple[int, int] | None:
    """Return an interpreter's version, ``None`` when it cannot be run."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        asked = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
        major, minor = map(int, asked.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise Unavailable(f"{' '.join(command[1:4])}: {' '.join(last)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command[1:4])}: {error}") from error
