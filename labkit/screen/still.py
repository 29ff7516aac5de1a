"""What stands for the screen on a page that has no kernel behind it: the same each time, so that it can be verified."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from ..transcript import BLOCK, badge

if TYPE_CHECKING:
    from ..tables import DataFrame

GRID = "display:grid;gap:4px 8px;grid-template-columns:repeat({},minmax(0,1fr))"
LIVE = "Run this cell in JupyterLab to see the {} live."


def of_terminals(text: str, labels: Mapping[str, str]) -> tuple[str, str]:
    """The text, and a box for each terminal with the label of its namespace."""
    boxes = "".join(
        f'<div style="{BLOCK}"><strong>{escape(name)}</strong> '
        f"{f'in namespace {badge(label)}' if label else 'its shell has ended'}</div>"
        for name, label in labels.items()
    )
    return text, f'<div style="{GRID.format(len(labels))}">{boxes}</div><em>{LIVE.format("terminals")}</em>'


def of_table(table: DataFrame) -> tuple[str, str]:
    """The mounts and who sees them, without what differs from run to run."""
    stable = table.drop(columns=["peer_group", "master", "super_options", "root"])
    return str(stable), f"{stable._repr_html_()}<em>{LIVE.format('table')}</em>"  # type: ignore[operator]
