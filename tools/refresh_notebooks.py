"""Run the lessons again and write what they print; a second run changes no byte.

A cell keeps its stored output where it differs only in what notebooks/sanitize.cfg forgives (inodes, sizes),
and where it is tagged nbval-ignore-output: to renew such a one, clear it first.
"""

import argparse
import copy
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbval.plugin import get_sanitize_patterns

LESSONS = Path(__file__).resolve().parent.parent / "notebooks"
PATTERNS: list[tuple[str, str]] = get_sanitize_patterns((LESSONS / "sanitize.cfg").read_text())
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Refresh the notebooks named, or all of them, and say which ones changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    for path in parser.parse_args().notebooks or sorted(LESSONS.glob("*.ipynb")):
        before = path.read_text()
        after = refreshed(before, path.parent)
        if after != before:
            path.write_text(after)
        print(f"{path.name}: {'unchanged' if after == before else 'refreshed'}", file=sys.stderr)


def refreshed(text: str, directory: Path) -> str:
    """Return the notebook `text` with the outputs of a run in `directory`."""
    notebook = nbformat.reads(text, as_version=4)
    stored = [copy.deepcopy(cell.get("outputs", [])) for cell in notebook.cells]
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=120,
        coalesce_streams=True,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(directory)}},
    ).execute()
    for cell, old in zip(notebook.cells, stored, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs = [stable(output) for output in cell.outputs]
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        if sanitized(cell.outputs) == sanitized(old) or (ignored and old):
            cell.outputs = old
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    return f"{nbformat.writes(notebook, indent=1)}\n"


def stable(output: Any) -> Any:
    """Take from an output what belongs to one run only: the id of a widget, the paths of a traceback."""
    if "data" in output:
        output.data.pop(WIDGET_VIEW, None)
    if output.output_type == "error":
        output.traceback = [f"{output.ename}: {output.evalue}"]
    return output


def sanitized(value: Any) -> Any:
    """Apply the patterns of sanitize.cfg to every text inside `value`, as nbval does before it compares."""
    if isinstance(value, str):
        for pattern, replacement in PATTERNS:
            value = re.sub(pattern, replacement, value)
        return value
    if isinstance(value, dict):
        return {key: sanitized(each) for key, each in value.items()}
    if isinstance(value, list):
        return [sanitized(each) for each in value]
    return value


if __name__ == "__main__":
    main()
