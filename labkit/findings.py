"""What a check-up of a machine found: for a person as text or HTML, for a program as JSON and an exit status."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

ANSWERS = {
    0: "Yes: this machine can run the lessons. A lab was started, used and ended just now.",
    1: "No: this machine can not run a lab yet.",
    3: "Yes, a lab can run; but something that the lessons use is missing.",
}
MARKS = {True: "yes", False: "NO", None: "not tried"}
SHORT = MARKS | {None: "-"}
KEEP = "/etc/sysctl.d/ (settings), /etc/modules-load.d/ (modules), /etc/security/limits.d/ (limits)"
LASTS = {True: "yes", False: f"no; a file keeps it, in {KEEP}", None: ""}


@dataclass(frozen=True)
class Finding:
    """`ok`: None where it was not tried, since something before it was refused. `needed`: without it no lab runs; else
    a lesson lacks something. `lasts`: does the mend last over a reboot?
    """

    what: str
    ok: bool | None
    why: str = ""
    mend: str = ""
    lasts: bool | None = None
    needed: bool = True


@dataclass(frozen=True)
class Checkup:
    """All findings, in the order in which they were made. `place`: the container or the like that this is, or ""."""

    findings: tuple[Finding, ...]
    place: str = ""

    @property
    def able(self) -> bool:
        """Can a lab run here?"""
        return all(finding.ok for finding in self.findings if finding.needed)

    @property
    def status(self) -> int:
        """An exit status: 0 all is well; 1 no lab can run; 3 one can, but something that the lessons use is missing."""
        return 0 if all(finding.ok for finding in self.findings) else 3 if self.able else 1

    @property
    def answer(self) -> str:
        """The status in words, and where something is not well, the place."""
        return ANSWERS[self.status] + (f" (This is {self.place}.)" if self.place and self.status else "")

    def json(self) -> str:
        """`able`, `status`, `place`, and the fields of each `Finding`."""
        fields = {"able": self.able, "status": self.status, **asdict(self)}
        return json.dumps(fields, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return "\n".join([self.answer, "", *map(_text, self.findings)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        troubles = "".join(_trouble(finding) for finding in self.findings if finding.ok is False)
        others = [finding for finding in self.findings if finding.ok is not False]
        rows = "".join(
            f"<tr><td {CELL}>{MARKS[each.ok]}</td><td {CELL}>{escape(each.what)}</td></tr>" for each in others
        )
        passed = sum(finding.ok is True for finding in others)
        summary = f"well: {passed}" + (f", not tried: {len(others) - passed}" if others[passed:] else "")
        return (
            f"<p><strong>{escape(self.answer)}</strong></p>{troubles}"
            f"<details><summary>{summary}</summary><table>{rows}</table></details>"
        )


def _details(finding: Finding) -> dict[str, str]:
    details = {"why": finding.why, "what to do": finding.mend, "lasts over a reboot": LASTS[finding.lasts]}
    return {name: detail for name, detail in details.items() if detail}


def _text(finding: Finding) -> str:
    lines = [f"  {SHORT[finding.ok]:<4} {finding.what}{' (not tried)' if finding.ok is None else ''}"]
    for name, detail in _details(finding).items():
        lines.append(f"         {name}: " + detail.replace("\n", "\n             "))
    return "\n".join(lines)


def _trouble(finding: Finding) -> str:
    """Why and what to do stand below each other: a table of five columns is not read in a narrow window."""
    head = f'<tr><th {HEAD} scope="col">NO</th><th {CELL} scope="col">{escape(finding.what)}</th></tr>'
    rows = "".join(
        f'<tr><th {HEAD} scope="row">{name}</th><td {CELL}>{escape(detail)}</td></tr>'
        for name, detail in _details(finding).items()
    )
    return f"<table>{head}{rows}</table>"


HEAD = 'style="text-align:left;vertical-align:top"'
CELL = 'style="text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere"'
