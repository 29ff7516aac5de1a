"""A question before a step: the learner commits to an answer, and after the step the lab's real state decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from .errors import LabError


class Form(anywidget.AnyWidget):
    """The question in a page. ipywidgets' own radio buttons lose the arrow keys to JupyterLab."""

    _esm = Path(__file__).with_name("prediction.js")
    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    decided = traitlets.Bool(False).tag(sync=True)


class Prediction:
    """`choices`: texts, each with what will be observed if it is right; a plain list of texts is observed as such."""

    def __init__(self, question: str, choices: Mapping[str, object] | Sequence[str]) -> None:
        self.question = question
        self.choices = dict(choices) if isinstance(choices, Mapping) else {text: text for text in choices}
        if len(self.choices) < 2 or isinstance(choices, str):
            raise ValueError("a question has two choices or more: a list of texts, or texts with what is observed then")
        self._form = Form(question=question, choices=list(self.choices))

    @property
    def chosen(self) -> str | None:
        chosen: str | None = self._form.chosen
        return chosen if chosen in self.choices else None

    def choose(self, text: str) -> None:
        """Commit to a choice, as a click on it does. Errors: ValueError; LabError after the decision."""
        if text not in self.choices:
            raise ValueError(f"{text!r} is not a choice: there are {', '.join(map(repr, self.choices))}")
        if self._form.decided:
            raise LabError("It is decided already: run the cell of the question again for another try.")
        self._form.chosen = text

    def decide(self, observed: object, because: str = "") -> Verdict:
        """Compare with what was observed; from here on no other choice is taken.

        Errors: LabError where no choice fits, as when a step was left out or taken twice.
        """
        right = [text for text, expected in self.choices.items() if expected == observed]
        if not right:
            raise LabError(
                f"{self.question} Observed was {observed!r}, which is none of the choices: a step was left out, or "
                "taken twice. Run the cells again from where the lab was made."
            )
        self._form.decided = True
        return Verdict(right[0], self.chosen, because)

    def __repr__(self) -> str:
        return "\n".join([self.question, *(f"  ( ) {text}" for text in self.choices)])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = self._form._repr_mimebundle_(**options)
        choices = "".join(f"<li>{escape(text)}</li>" for text in self.choices)
        html = f"<strong>{escape(self.question)}</strong><ul>{choices}</ul>"
        return {**(bundle[0] if bundle else {}), "text/plain": repr(self), "text/html": html}


class Verdict:
    """What is so, what was predicted, and why."""

    def __init__(self, right: str, chosen: str | None, because: str) -> None:
        self.right, self.chosen, self.because = right, chosen, because

    @property
    def _said(self) -> str:
        if self.chosen is None:
            return "No prediction was made."
        return "As you predicted." if self.chosen == self.right else f"You predicted: {self.chosen}."

    def __repr__(self) -> str:
        return "\n".join(filter(None, [f"It is: {self.right}. {self._said}", self.because]))

    def _repr_html_(self) -> str:
        parts = [f"It is: <strong>{escape(self.right)}</strong>. {escape(self._said)}", escape(self.because)]
        return "<br>".join(filter(None, parts))
