"""A question before a step: the learner commits to an answer, and after the step the lab's real state decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets

from .errors import LabError


class Prediction:
    """`choices`: texts, each with what will be observed if it is right; a plain list of texts is observed as such."""

    def __init__(self, question: str, choices: Mapping[str, object] | Sequence[str]) -> None:
        self.question = question
        self.choices = dict(choices) if isinstance(choices, Mapping) else {text: text for text in choices}
        if len(self.choices) < 2 or isinstance(choices, str):
            raise ValueError("a question has two choices or more: a list of texts, or texts with what is observed then")
        self.chosen: str | None = None
        self.decided = False
        self._buttons = ipywidgets.RadioButtons(
            options=list(self.choices), value=None, layout={"width": "max-content", "max_width": "100%"}
        )
        self._buttons.observe(self._click, "value")

    def _click(self, change: dict[str, Any]) -> None:
        self.chosen = change["new"]

    def choose(self, text: str) -> None:
        """Commit to a choice, as a click on it does. Errors: ValueError; LabError after the decision."""
        if text not in self.choices:
            raise ValueError(f"{text!r} is not a choice: there are {', '.join(map(repr, self.choices))}")
        if self.decided:
            raise LabError("It is decided already: run the cell of the question again for another try.")
        self._buttons.value = text

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
        self.decided = True
        self._buttons.disabled = True
        return Verdict(right[0], self.chosen, because)

    def __repr__(self) -> str:
        return "\n".join([self.question, *(f"  ( ) {text}" for text in self.choices)])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        question = ipywidgets.HTML(f"<strong>{escape(self.question)}</strong>")
        bundle: dict[str, Any] = ipywidgets.VBox([question, self._buttons])._repr_mimebundle_(**options) or {}
        choices = "".join(f"<li>{escape(text)}</li>" for text in self.choices)
        html = f"<strong>{escape(self.question)}</strong><ul>{choices}</ul>"
        return {**bundle, "text/plain": repr(self), "text/html": html}


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
