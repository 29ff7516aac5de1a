"""%%left, %%right and %%terminal in a real IPython with a real lab: what is published, and what is said when not."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import labkit

HOME = str(Path(labkit.__file__).parents[1])
PROMPT = "root@server:~# "

SHELL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config
shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}))
results = []
for cell in json.loads(sys.argv[2]):
    with capture_output() as captured:
        result = shell.run_cell(cell)
    error = result.error_in_exec or result.error_before_exec
    results.append(dict(
        error=type(error).__name__ if error else None,
        message=str(error) if error else "",
        printed=captured.stdout + captured.stderr,
        published=[output.data for output in captured.outputs],
        answer=repr(result.result),
    ))
print(json.dumps(results))
"""  # noqa: E501


def run(*cells: str) -> list[dict[str, Any]]:
    """What came of each cell in a fresh IPython."""
    command = [sys.executable, "-c", SHELL, HOME, json.dumps(cells)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Text(HTMLParser):
    """The text that a browser shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data


CELLS = {
    "load": "%load_ext labkit",
    "no lab": "%%left\necho early",
    "not a lab": "lab = 'something else'",
    "still no lab": "%%right\necho early",
    "no lab for a name": "%%terminal left\necho early",
    "lab": "from labkit import Lab; lab = Lab(timeout=20)",
    "left": "%%left\necho one\ncd /tmp\nfalse\npwd",
    "right": "%%right\ngrep nothing /proc/mounts\n",
    "here": "%%left\ncat << END\na <b>bold</b> & more\nEND",
    "nested": "%%left\nunshare -m /bin/bash\ncd",
    "in both": "%%left\necho in B",
    "open": "lab.open('third'); None",
    "third": "%%terminal third\necho named",
    "third with options": "%%terminal third --timeout 20\necho named",
    "default by name": "%%terminal left\necho by name",
    "unknown": "%%terminal nobody\necho never",
    "no name": "%%terminal\necho never",
    "option": "%%left --nosuchoption\necho never",
    "number": "%%left --timeout soon\necho never",
    "word": "%%left word\necho never",
    "needs": "%%needs bash linux-5.14\n%%left\necho there",
    "lacks": "%%needs bash no-such-program linux-99.0\n%%left\necho never",
    "needs python": "%%needs bash\n40 + 2",
    "needs and fails": "%%needs bash\n1 / 0",
    "timeout": "%%right --timeout 0.5\necho before\necho partial; sleep 60\necho never",
    "after": "%%right\necho usable",
    "unfinished": "%%right\necho done before\necho 'open",
    "after unfinished": "%%right\necho usable",
    "ended": "%%terminal third\nexit",
    "after the end": "%%terminal third\necho never",
    "other name": "%%left\necho $MAGIC {1 + 1} $lab",
    "table": "lab.left.mounts()",
    "line magic": "%left",
    "close": "lab.close()",
    "closed": "%%left\necho never",
    "again": "%load_ext labkit",
    "reload": "%reload_ext labkit",
}


@pytest.fixture(scope="module")
def told() -> dict[str, dict[str, Any]]:
    return dict(zip(CELLS, run(*CELLS.values()), strict=True))


def shown(cell: dict[str, Any]) -> str:
    """The one transcript that a cell published, as text; its HTML shows the same, labels before the commands."""
    (data,) = cell["published"]
    assert set(data) == {"text/plain", "text/html"}
    assert data["text/html"].startswith("<pre ")
    plain, html = data["text/plain"].split("\n"), Text(data["text/html"]).text.split("\n")
    assert len(plain) == len(html)
    for line, with_label in zip(plain, html, strict=True):
        assert with_label in (line, *(f"{label} {line}" for label in "ABC"))
    return str(data["text/plain"])


def test_load_ext_says_nothing(told: dict[str, dict[str, Any]]) -> None:
    """Also a second time."""
    for name in ("load", "again", "reload"):
        assert (told[name]["error"], told[name]["published"], told[name]["answer"]) == (None, [], "None")
        assert "Traceback" not in told[name]["printed"]


@pytest.mark.parametrize("name", ["no lab", "still no lab", "no lab for a name"])
def test_without_a_lab_the_cell_says_how_to_get_one(told: dict[str, dict[str, Any]], name: str) -> None:
    """A usage error of IPython: one line, no traceback."""
    assert told[name]["error"] == "UsageError"
    assert "lab = Lab()" in told[name]["message"]
    assert told[name]["printed"].startswith("UsageError: there is no lab yet")
    assert told[name]["published"] == []


def test_each_line_is_typed_and_shown_as_the_terminal_showed_it(told: dict[str, dict[str, Any]]) -> None:
    """One output for the cell; the prompt follows the directory, and a status that is not 0 is said."""
    expected = (
        f"{PROMPT}echo one\none\n{PROMPT}cd /tmp\nroot@server:/tmp# false\n[exit status 1]\nroot@server:/tmp# pwd\n/tmp"
    )
    assert shown(told["left"]) == expected
    assert (told["left"]["error"], told["left"]["answer"], told["left"]["printed"]) == (None, "None", "")


def test_a_grep_that_finds_nothing_is_no_exception(told: dict[str, dict[str, Any]]) -> None:
    assert shown(told["right"]) == f"{PROMPT}grep nothing /proc/mounts\n[exit status 1]"
    assert told["right"]["error"] is None


def test_html_in_the_output_is_text(told: dict[str, dict[str, Any]]) -> None:
    assert shown(told["here"]).endswith("cat << END\n> a <b>bold</b> & more\n> END\na <b>bold</b> & more")
    assert "<b>" not in told["here"]["published"][0]["text/html"]


def test_the_label_is_that_of_the_namespace_it_was_typed_in(told: dict[str, dict[str, Any]]) -> None:
    """The first line of "nested" was typed in A, the second in B."""
    titles = [f'title="namespace {label}"' for label in "AB"]
    nested = told["nested"]["published"][0]["text/html"]
    assert [nested.count(title) for title in titles] == [1, 1]
    assert nested.index(titles[0]) < nested.index(titles[1])
    assert [told["in both"]["published"][0]["text/html"].count(title) for title in titles] == [0, 1]


def test_a_terminal_by_its_name(told: dict[str, dict[str, Any]]) -> None:
    for name in ("third", "third with options"):
        assert shown(told[name]) == f"{PROMPT}echo named\nnamed"
        assert 'aria-label="terminal third"' in told[name]["published"][0]["text/html"]
    assert shown(told["default by name"]).endswith("echo by name\nby name")


def test_a_name_that_is_not_open_says_which_are(told: dict[str, dict[str, Any]]) -> None:
    assert told["unknown"]["error"] == "UsageError"
    assert told["unknown"]["message"] == (
        "no terminal 'nobody' (there are left, right, third): lab.open(\"nobody\") opens one"
    )
    assert told["unknown"]["published"] == []


@pytest.mark.parametrize("name", ["no name", "option", "number", "word"])
def test_what_is_not_understood_is_a_usage_error(told: dict[str, dict[str, Any]], name: str) -> None:
    """And nothing was typed."""
    assert told[name]["error"] == "UsageError"
    assert told[name]["message"]
    assert told[name]["published"] == []


def test_a_command_that_does_not_end_is_shown_as_far_as_it_came(told: dict[str, dict[str, Any]]) -> None:
    """With the commands before it; what follows is not typed, and the terminal is usable."""
    cell = told["timeout"]
    assert cell["error"] == "CommandTimeout"
    assert "did not end within 0.5 s" in cell["message"]
    assert shown(cell) == (
        f"{PROMPT}echo before\nbefore\n{PROMPT}echo partial; sleep 60\npartial\n[no end after 0.5 s]"
    )
    assert cell["printed"].strip() == f"CommandTimeout: {cell['message']}"
    assert shown(told["after"]) == f"{PROMPT}echo usable\nusable"


def test_what_was_done_before_an_error_is_shown(told: dict[str, dict[str, Any]]) -> None:
    cell = told["unfinished"]
    assert cell["error"] == "Unfinished"
    assert shown(cell).startswith(f"{PROMPT}echo done before\ndone before")
    assert shown(told["after unfinished"]) == f"{PROMPT}echo usable\nusable"


def test_a_shell_that_has_ended_says_the_way_back(told: dict[str, dict[str, Any]]) -> None:
    assert 'lab.open("third")' in shown(told["ended"])
    assert told["after the end"]["error"] == "TerminalEnded"
    assert 'lab.open("third")' in told["after the end"]["message"]
    assert told["after the end"]["printed"].strip() == f"TerminalEnded: {told['after the end']['message']}"


def test_the_cell_is_the_shells_not_ipythons(told: dict[str, dict[str, Any]]) -> None:
    """IPython expands $name and {expression} in the line of a magic only: here both are bash's."""
    assert shown(told["other name"]).splitlines()[-1] == "{1 + 1}"
    assert shown(told["other name"]).splitlines()[0].endswith("echo $MAGIC {1 + 1} $lab")


def test_tables_are_shown_whole(told: dict[str, dict[str, Any]]) -> None:
    """%load_ext tells pandas: no column is left out, no cell cut."""
    lines = told["table"]["printed"].splitlines()
    assert lines[0].startswith("Out[")
    assert lines[1].split()[:2] == ["mount_point", "source"]
    assert lines[1].split()[-1] == "root"
    assert "..." not in told["table"]["printed"]


def test_a_line_magic_says_that_there_is_a_cell_magic(told: dict[str, dict[str, Any]]) -> None:
    """IPython's own words."""
    assert "%%left" in told["line magic"]["printed"]


def test_a_lab_that_was_closed_says_the_way_back(told: dict[str, dict[str, Any]]) -> None:
    assert told["closed"]["error"] in ("TerminalEnded", "LabEnded")
    assert "lab.reset()" in told["closed"]["message"]
    assert told["closed"]["published"] == []


def test_nothing_was_typed_by_a_cell_that_was_refused(told: dict[str, dict[str, Any]]) -> None:
    everything = json.dumps([cell["published"] for cell in told.values()])
    assert "never" not in everything
    assert "early" not in everything


def test_without_the_extension_there_are_no_magics() -> None:
    (cell,) = run("%%left\necho never")
    assert "%%left" in cell["printed"]
    assert cell["published"] == []


def test_what_a_cell_needs_is_looked_for_and_its_lack_said(told):
    assert shown(told["needs"]).endswith("there")
    assert "42" in told["needs python"]["printed"]
    assert told["needs and fails"]["error"] == "ZeroDivisionError"
    assert told["lacks"]["published"] == []
    assert told["lacks"]["printed"] == "Skipped, since this machine does not have: no-such-program, linux-99.0.\n"
