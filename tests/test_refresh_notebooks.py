"""`make notebooks` stores what the lessons print, and a second run changes no byte."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

TOOL = Path(__file__).resolve().parent.parent / "tools" / "refresh_notebooks.py"
CELLS = [
    new_code_cell("import os; print(f'mnt:[{os.getpid()}]')"),  # another number in each run: sanitize.cfg forgives it
    new_code_cell("os.getpid()", metadata={"tags": ["nbval-ignore-output"]}),
    new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
    new_code_cell("import ipywidgets; ipywidgets.IntSlider()"),
]


def test_a_second_run_changes_no_byte(tmp_path):
    lesson = tmp_path / "lesson.ipynb"
    nbformat.write(new_notebook(cells=CELLS), lesson)
    texts = []
    for _ in range(2):
        subprocess.run([sys.executable, str(TOOL), str(lesson)], check=True, capture_output=True)
        texts.append(lesson.read_bytes())
    assert texts[0] == texts[1]
    inode, _, error, widget = [cell.outputs[0] for cell in nbformat.reads(texts[0].decode(), 4).cells]
    assert inode.text.startswith("mnt:[")
    assert error.traceback == ["ZeroDivisionError: division by zero"]
    assert dict(widget.data) == {"text/plain": "IntSlider(value=0)"}
