"""The way into the lab, step by step: a refusal names the step it happened in and those before it, which went well."""

from __future__ import annotations

begun: list[str] = []  # in this process; each completes the sentence "The lab could not …"


def begin(step: str) -> None:
    begun.append(step)
