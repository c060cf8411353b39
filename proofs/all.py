"""Every proof in short, then each with the bugs planted for it, and one table of it all.

    python -m proofs.all
    python -m proofs.all --only disk --only timers

The long runs are those of the proofs themselves: ``python3 tasks.py prove NAME``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from proofs.report import Finding, is_well, read_finding, table

ROOT = Path(__file__).resolve().parents[1]
MAX_SECONDS = 600.0
_GRACE_SECONDS = 30.0
_TAIL_LINES = 3


class Planted(msgspec.Struct, frozen=True):
    """A bug of ``proofs.plants`` that a proof must catch, and the options under which it does."""

    name: str
    options: tuple[str, ...] = ()


class Proof(msgspec.Struct, frozen=True):
    """A module of ``proofs`` that ends in ``report.conclude``, its options for a short run, and the
    bugs planted for it."""

    name: str
    options: tuple[str, ...]
    plants: tuple[Planted, ...]


_DISK = ("--rounds", "2", "--patience-seconds", "8")

# A proof that is added gets its line here; tests/e2e/test_proofs.py asks for it.
PROOFS = (
    Proof(
        "simulation",
        ("--seeds", "12"),
        (
            Planted("memory-no-epoch", ("--seeds", "20")),
            Planted("feeds-too-late", ("--seeds", "20")),
        ),
    ),
    Proof(
        "statements",
        (),
        (
            Planted("half-replace", ("--verb", "replace")),
            Planted("half-step", ("--verb", "commit")),
            Planted("forgets-mail", ("--verb", "commit and send")),
            Planted("no-begin", ("--verb", "rewind")),
        ),
    ),
    Proof(
        "crashes",
        ("--rounds", "15"),
        (Planted("ack-before-commit", ("--rounds", "10", "--seed", "7")),),
    ),
    Proof(
        "entities",
        ("--signals", "200", "--orchestrations", "40", "--kills", "3"),
        (
            Planted(
                "consumes-later",
                ("--signals", "200", "--orchestrations", "40", "--kills", "3"),
            ),
        ),
    ),
    Proof(
        "timers",
        ("--seconds", "2.5"),
        (Planted("passes-over-missed", ("--seconds", "2.5")),),
    ),
    Proof(
        "disk",
        ("--rounds", "4"),
        (
            Planted("ack-before-commit", _DISK),
            Planted("takes-failure-for-success", _DISK),
            Planted("gives-up", _DISK),
            Planted("no-sync", _DISK),
        ),
    ),
    Proof(
        "postgres_statements",
        (),
        (
            Planted("postgres-half-replace", ("--verb", "replace")),
            Planted("postgres-half-step", ("--verb", "commit and send")),
        ),
    ),
    Proof(
        "hosts_crash",
        ("--rounds", "12"),
        (Planted("postgres-ack-before-commit", ("--rounds", "12")),),
    ),
    Proof(
        "races",
        ("--starts", "4000"),
        (Planted("check-then-insert", ("--starts", "2000")),),
    ),
    Proof(
        "pauses",
        ("--rounds", "8"),
        (Planted("postgres-no-fence", ("--rounds", "8")),),
    ),
    Proof(
        "network",
        ("--rounds", "8"),
        (
            Planted("postgres-takes-lost-for-done", ("--rounds", "8")),
            Planted(
                "postgres-asks-again",
                ("--rounds", "12", "--kind", "answers to commits lost"),
            ),
        ),
    ),
    Proof(
        "clocks",
        ("--seconds", "25"),
        (Planted("postgres-own-clock", ("--seconds", "25")),),
    ),
    Proof(
        "failover",
        ("--rounds", "2"),
        (Planted("asynchronous-standby", ("--rounds", "1")),),
    ),
)


def run(name: str, options: tuple[str, ...], plant: str | None = None) -> Finding:
    """Run one proof in a process of its own, and everything it starts with it."""
    began = time.monotonic()
    planted = () if plant is None else ("--plant", plant)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "finding.json"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", f"proofs.{name}", *options, *planted),
                *("--finding", str(written)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired:
            output = f"It did not end in {MAX_SECONDS:.0f} s.\n{_end(process)}"
        except BaseException:
            _end(process)
            raise
        finding = read_finding(written)
    if finding is not None:
        return finding
    tail = " ".join(output.strip().splitlines()[-_TAIL_LINES:])
    return Finding(
        check=name,
        did={},
        seconds=time.monotonic() - began,
        violations=(f"it broke down: {tail}",),
        plant=plant,
        broke_down=True,
    )


def _end(process: subprocess.Popen[str]) -> str:
    """Ask a proof to end and clean up; what then still lives of its processes is killed."""
    process.send_signal(signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its own session, so nobody else's
        else:
            process.kill()
        output, _ = process.communicate()
    return output


def prove(
    proofs: tuple[Proof, ...], *, plants: bool = True
) -> list[tuple[Finding, Finding | None]]:
    """Run proofs one after another, saying what each found; return the rows of the table."""
    rows: list[tuple[Finding, Finding | None]] = []
    for proof in proofs:
        finding = run(proof.name, proof.options)
        print(finding.describe(), flush=True)
        planted: list[Finding | None] = []
        for each in proof.plants if plants else ():
            planted.append(found := run(proof.name, each.options, each.name))
            print(found.line, flush=True)
        rows += [(finding, each) for each in planted or [None]]
    return rows


def main() -> None:
    """Run from the command line; exit 1 on a violation, and on a planted bug nobody caught."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [each.name for each in PROOFS]
    parser.add_argument("--only", action="append", choices=names, help="only this one")
    parser.add_argument("--no-plants", action="store_true", help="plant no bugs")
    arguments = parser.parse_args()
    wanted = tuple(each for each in PROOFS if each.name in (arguments.only or names))
    rows = prove(wanted, plants=not arguments.no_plants)
    print(f"\n{table(rows)}")
    raise SystemExit(not all(is_well(*row) for row in rows))


if __name__ == "__main__":
    main()
