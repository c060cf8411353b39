"""What people and CI run: ``python3 tasks.py run | test | check | format | bench | prove``.

Needs git, Python and pip, and only the standard library. Every command first makes ``.venv``, or
makes it anew after ``pyproject.toml`` or ``constraints.txt`` changed.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PYTHON_NEEDED = (3, 11)

# Nothing in this file is syntax that Python 3.6 lacks, so that even that one reads the reason.
if sys.version_info < PYTHON_NEEDED:
    sys.exit(
        "Soloist needs Python {}.{} or newer; this is {}.{}. Try: python3.13 tasks.py ...".format(
            *PYTHON_NEEDED, *sys.version_info[:2]
        )
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "soloist-stamp"
DEFAULT_EXAMPLE = "singleton"
WINDOWS = os.name == "nt"
SCRIPTS = VENV / ("Scripts" if WINDOWS else "bin")

USAGE = """\
usage: python3 tasks.py COMMAND

  run [name] [options] serve one of examples/, or singleton; options go to `soloist start`
  test [-- options]    everything CI checks; options go to pytest
  check                the same without the tests
  format               format the code and mend what can be mended
  bench [name ...]     run one of benchmarks/, with its own options, or all; `suite` has peers
  prove [name ...]     run one of proofs/, with its own options; `all` is each in short"""


def tool(name: str) -> str:
    """Return the path of a program in the environment."""
    return str(SCRIPTS / (name + (".exe" if WINDOWS else "")))


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    commands = {
        "run": run,
        "test": test,
        "check": check,
        "format": tidy,
        "bench": bench,
        "prove": prove,
    }
    if not arguments or arguments[0] not in commands:
        asked_for_help = arguments[:1] in (["-h"], ["--help"], ["help"])
        print(USAGE, file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    os.chdir(ROOT)
    set_up()
    options = arguments[1:]
    if options[:1] == ["--"]:
        options = options[1:]
    return commands[arguments[0]](options)


def run(options: list[str]) -> int:
    """Serve an example in the foreground."""
    known = sorted(each.parent.name for each in ROOT.glob("examples/*/host.json"))
    name, rest = DEFAULT_EXAMPLE, options
    if options and not options[0].startswith("-"):
        name, *rest = options
    if name not in known:
        return refuse(f"no {name!r} in examples; there are: {', '.join(known)}")
    command = [tool("soloist"), "start", f"examples/{name}", *rest]
    if not WINDOWS:  # there, exec returns to the shell while the program still runs
        sys.stdout.flush()
        return os.execv(command[0], command)  # noqa: S606  # Ctrl-C then reaches it, and only it
    return subprocess.call(command)


def test(options: list[str]) -> int:
    """Check everything: what needs no test run beside the tests, which leave a core idle."""
    return report([("pytest", [tool("pytest"), *options])], beside=checks())


def check(options: list[str]) -> int:
    """Check everything that needs no test run."""
    if options:
        return refuse("check takes no options")
    return report(checks())


def tidy(options: list[str]) -> int:
    """Format the code and mend what ruff can mend."""
    if options:
        return refuse("format takes no options")
    mended = subprocess.call([tool("ruff"), "check", "--fix", "."])
    return subprocess.call([tool("ruff"), "format", "."]) or mended


def bench(options: list[str]) -> int:
    """Run one benchmark with its options, or each of them."""
    return run_modules("benchmarks", options)


def prove(options: list[str]) -> int:
    """Run one proof with its options, or each in short and then with its planted bugs."""
    return run_modules("proofs", options or ["all"])


def run_modules(package: str, options: list[str]) -> int:
    """Run one command of a package, or each of them."""
    modules = (path for path in ROOT.glob(f"{package}/[!_]*.py"))
    known = sorted(each.stem for each in modules if "__main__" in each.read_text(encoding="utf-8"))
    if options and options[0] not in known:
        return refuse(f"no {options[0]!r} in {package}; there are: {', '.join(known)}")
    runs = [options] if options else [[name] for name in known]
    return report(
        [
            (f"{package} {name}", [tool("python"), "-m", f"{package}.{name}", *rest])
            for name, *rest in runs
        ]
    )


def checks() -> list[tuple[str, list[str]]]:
    """Return what is checked without running the tests: a name and a command each."""
    return [
        ("ruff format", [tool("ruff"), "format", "--check", "."]),
        ("ruff check", [tool("ruff"), "check", "."]),
        ("mypy", [tool("mypy")]),
        ("lint-imports", [tool("lint-imports")]),
    ]


Step = tuple[str, list[str]]


class Result(NamedTuple):
    """What became of a step; ``told`` is what it printed, if that was kept back."""

    name: str
    code: int
    seconds: float
    told: str = ""

    @property
    def verdict(self) -> str:
        """In a word."""
        return "ok" if self.code == 0 else f"FAILED (exit code {self.code})"


def report(steps: list[Step], beside: Sequence[Step] = ()) -> int:
    """Run all steps, whatever becomes of each, and sum up at the end.

    Those that run ``beside`` the others say nothing unless they fail.
    """
    with ThreadPoolExecutor(max_workers=1) as other_core:
        quiet = [other_core.submit(run_quietly, *step) for step in beside]
        results = [run_aloud(*step) for step in steps]
        results = [each.result() for each in quiet] + results
    failed = [each for each in results if each.code != 0]
    for each in failed:
        if each.told:
            print(f"\n=== {each.name}\n{each.told}", flush=True)
    print("\n=== summary")
    for each in results:
        print(f"  {each.name:<14} {each.seconds:>7.1f} s  {each.verdict}")
    names = ", ".join(each.name for each in failed)
    print(f"failed: {names}" if failed else "all good", flush=True)
    return 1 if failed else 0


def run_aloud(name: str, command: list[str]) -> Result:
    """Run a step that everybody may follow."""
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    code = subprocess.call(command)
    result = Result(name, code, time.monotonic() - began)
    print(f"--- {name}: {result.verdict}, {result.seconds:.1f} s", flush=True)
    return result


def run_quietly(name: str, command: list[str]) -> Result:
    """Run a step and keep back what it prints."""
    began = time.monotonic()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return Result(name, done.returncode, time.monotonic() - began, done.stdout)


def set_up() -> None:
    """Make ``.venv`` with exactly the pinned packages, unless it is there already."""
    place, packages = f"{ROOT} {sys.version}", wanted_packages()
    stamped = STAMP.read_text(encoding="utf-8").split("\n\n") if STAMP.exists() else []
    if stamped == [place, packages] and Path(tool("python")).exists():
        return
    if stamped[:1] != [place] or not Path(tool("python")).exists():
        create_environment()
    STAMP.unlink(missing_ok=True)  # half an installation must not pass for a whole one
    install_packages()
    STAMP.write_text(f"{place}\n\n{packages}", encoding="utf-8")


def wanted_packages() -> str:
    """Return a fingerprint of everything that decides what is installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def create_environment() -> None:
    """Create an empty ``.venv`` in place of whatever was there."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            sys.exit(
                f"This Python has no module {module!r}, which makes environments. "
                "On Debian and Ubuntu: apt install python3-venv"
            )
    print(f"Making .venv with Python {sys.version.split()[0]} ...", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    if subprocess.call([sys.executable, "-m", "venv", str(VENV)]) != 0:
        sys.exit("Could not make .venv; the reason is above.")


def install_packages() -> None:
    """Install Soloist for editing, and the pinned packages."""
    print("Installing packages into .venv (about a minute the first time) ...", flush=True)
    pip = [tool("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.call([*pip, "-e", ".[dev]", "-c", "constraints.txt"]) != 0:
        sys.exit(
            "pip could not install the packages; its own words are above. "
            "Without a network, point pip to a local index (PIP_INDEX_URL or PIP_FIND_LINKS) "
            "and run the same command again."
        )


def refuse(reason: str) -> int:
    """Say what was wrong with the command line."""
    print(f"tasks.py: {reason}\n\n{USAGE}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
