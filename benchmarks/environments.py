"""What the suite installs when it is first needed: an environment for each peer, and the plots.

Peers live in environments of their own under ``.venv/peers``, so that no version of theirs decides
about one of ours. Only direct needs are pinned here, with the versions that are measured.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(sys.prefix) / "peers"

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "dbos": ("dbos==3.4.0", "psycopg[binary]==3.3.9"),
    "absurd": ("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]==3.3.9"),
}

_STAMP = "installed"
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class CannotBeHad(Exception):
    """A package could not be installed.

    The first line says which and what to do; the rest is what pip said.
    """


def python_of(peer: str) -> str:
    """Return the interpreter of a peer's environment, which is made when it is not there.

    Raises:
        CannotBeHad: its packages cannot be installed.
    """
    packages = PACKAGES[peer]
    folder = PEERS / peer
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / _STAMP
    if python.exists() and stamp.exists() and stamp.read_text().split() == list(packages):
        return str(python)
    print(f"Installing {', '.join(packages)} into {folder.relative_to(ROOT)} ...", flush=True)
    made = _output([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    failure = made or _output([sys.executable, *_PIP, *packages], python=python)
    if failure:
        raise CannotBeHad(
            f"{peer} cannot be had and is left out: pip could not install {', '.join(packages)}."
            f" With a network, or an index that has them, run this again.\n{failure}"
        )
    stamp.write_text("\n".join(packages))
    return str(python)


def need_plots() -> None:
    """Install what draws, unless it is there.

    Raises:
        CannotBeHad: it cannot be installed.
    """
    if importlib.util.find_spec("matplotlib") is not None:
        return
    print("Installing the extra 'bench', which draws ...", flush=True)
    command = [sys.executable, *_PIP, "-e", f"{ROOT}[bench]", "-c", str(ROOT / "constraints.txt")]
    failure = _output(command)
    importlib.invalidate_caches()
    if failure:
        raise CannotBeHad(
            "The plots are left out: pip could not install the extra 'bench'. With a network, run"
            f" `python3 tasks.py bench plots`.\n{failure}"
        )


def _output(command: list[str], python: Path | None = None) -> str:
    """Run a command; return what it said when it failed, and nothing when it did not.

    ``python`` is whose environment our pip is to work on, if not its own.
    """
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **({} if python is None else {"PIP_PYTHON": str(python)})},
    )
    return "" if done.returncode == 0 else done.stdout.strip() or "It said nothing."
