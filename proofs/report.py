"""What a proof found, in one line, and the table of many."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

MAX_VIOLATIONS_SHOWN = 20

_TERMINATED = 143


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run of one proof.

    ``did`` counts what was done and seen. ``left_out`` says which parts could not be done on this
    machine, and why; ``details`` are shown when the proof runs alone. ``plant`` is the planted bug under which it ran, if any: then violations are
    what is hoped for. ``broke_down`` says that the proof itself did not come to an end.
    """

    check: str
    did: Mapping[str, int]
    seconds: float
    violations: tuple[str, ...]
    seed: int | None = None
    left_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    plant: str | None = None
    broke_down: bool = False

    @property
    def line(self) -> str:
        """Everything in one line, but for what the violations were."""
        parts = [
            ", ".join(f"{count:,} {what}" for what, count in self.did.items()),
            "" if self.seed is None else f"seed {self.seed}",
            f"{self.seconds:.0f} s",
            f"{len(self.violations)} violations",
            *(f"left out: {each}" for each in self.left_out),
        ]
        planted = "" if self.plant is None else f" with {self.plant}"
        return f"{self.check}{planted}: {'; '.join(part for part in parts if part)}"

    def describe(self) -> str:
        """Return the details, the line and the first violations."""
        return "\n".join([*self.details, self.line, *self.violations[:MAX_VIOLATIONS_SHOWN]])


Prove = Callable[[argparse.Namespace], Finding]


def parser_for(module_doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every proof takes: ``--plant`` and ``--finding``."""
    parser = argparse.ArgumentParser(description=(module_doc or "").partition("\n")[0])
    parser.add_argument("--plant", help="a planted bug of proofs/plants.py, to be caught")
    parser.add_argument("--finding", type=Path, help="also write what was found here, as JSON")
    return parser


def conclude(parser: argparse.ArgumentParser, prove: Prove) -> None:
    """Run a proof from the command line: print its line, exit 1 on a violation."""
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # and clean up on the way
    finding = prove(arguments)
    if arguments.finding is not None:
        arguments.finding.write_bytes(msgspec.json.encode(finding))
    print(finding.describe(), flush=True)
    raise SystemExit(bool(finding.violations))


def read_finding(path: Path) -> Finding | None:
    """Return what a proof wrote, ``None`` when it did not come so far."""
    if not path.exists() or not path.stat().st_size:
        return None
    return msgspec.json.decode(path.read_bytes(), type=Finding)


def is_well(finding: Finding, planted: Finding | None) -> bool:
    """Whether a proof holds, and catches what it is given to catch as far as it can here."""
    if finding.violations or finding.broke_down:
        return False
    if planted is None or (planted.left_out and not planted.did):
        return True
    return bool(planted.violations) and not planted.broke_down


def table(rows: Sequence[tuple[Finding, Finding | None]]) -> str:
    """Return a table of findings, each beside what its planted bug led to."""
    lines: list[tuple[str, ...]] = [
        ("check", "runs", "seed", "duration", "violations", "planted bug", "caught")
    ]
    lines += [_row(*row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (lines[0], rule, *lines[1:])
    )


def _row(finding: Finding, planted: Finding | None) -> tuple[str, ...]:
    done = ", ".join(f"{count:,} {what}" for what, count in finding.did.items())
    return (
        finding.check,
        " ".join([done, *(f"(left out: {each})" for each in finding.left_out)]).strip(),
        "" if finding.seed is None else str(finding.seed),
        f"{finding.seconds:.0f} s",
        str(len(finding.violations)),
        "" if planted is None else planted.plant or "",
        _verdict(planted),
    )


def _verdict(planted: Finding | None) -> str:
    if planted is None:
        return ""
    if planted.broke_down:
        return "NO, broke down"
    if planted.violations:
        return f"yes, {len(planted.violations)}"
    return "left out" if planted.left_out and not planted.did else "NO"
