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
MARKS = {True: "yes", False: "NO", None: "-"}
LASTS = {True: "yes", False: "no; to keep it, write it to a file in /etc/sysctl.d/", None: ""}
HEADS = ("", "what", "why", "what to do", "lasts over a reboot")


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

    def json(self) -> str:
        """`able`, `status`, `place`, and the fields of each `Finding`."""
        fields = {"able": self.able, "status": self.status, **asdict(self)}
        return json.dumps(fields, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return "\n".join([ANSWERS[self.status], "", *map(_text, self.findings)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        shown = len(HEADS) if self.status else 2  # where all is well, there is nothing to explain
        heads = "".join(f'<th scope="col" style="{LEFT}">{head}</th>' for head in HEADS[:shown])
        rows = "".join(f"<tr>{''.join(_cells(finding)[:shown])}</tr>" for finding in self.findings)
        return f"<p>{escape(ANSWERS[self.status])}</p><table><tr>{heads}</tr>{rows}</table>"


LEFT = "text-align:left;vertical-align:top"
LONG = f"{LEFT};white-space:pre-wrap;overflow-wrap:anywhere"


def _text(finding: Finding) -> str:
    details = {"why": finding.why, "do": finding.mend, "lasts over a reboot": LASTS[finding.lasts]}
    lines = [f"  {MARKS[finding.ok]:<4} {finding.what}"]
    for name, detail in details.items():
        if detail:
            lines.append(f"         {name}: " + detail.replace("\n", "\n             "))
    return "\n".join(lines)


def _cells(finding: Finding) -> list[str]:
    mark = MARKS[finding.ok]
    return [
        f'<td style="{LEFT}">{f"<strong>{mark}</strong>" if finding.ok is False else mark}</td>',
        f'<th scope="row" style="{LEFT};font-weight:normal">{escape(finding.what)}</th>',
        *(f'<td style="{LONG}">{escape(text)}</td>' for text in (finding.why, finding.mend, LASTS[finding.lasts])),
    ]
