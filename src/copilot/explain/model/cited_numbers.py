"""Which numbers, times of day, steps of a runbook and codes a text cites that the evidence does not hold."""

import re
from collections.abc import Iterator

from copilot.explain.model.cited_names import without_names
from copilot.explain.model.evidence import Evidence
from copilot.explain.model.quantities import Measured, said

_CLOCK = re.compile(
    r"(?<![\d:.])(\d{4}-\d{2}-\d{2})?[T ]?\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?\s?(?:Z|UTC)?(?![\d:])"
)
_DATE = re.compile(r"(?<![\w-])(\d{4}-\d{2}-\d{2})(?![\w-])")
_STEP = re.compile(r"\b[Ss]teps?\s(\d{1,2})(?:\s(?:and|to|or)\s(\d{1,2}))?(?!\w|\.\d)")
_CODE = re.compile(r"\b(?:SQLSTATE|HTTP(?: status)?|status(?: code)?|error code|errno|code|port)\s(\d{2,5})(?!\w)")
_READING = re.compile(
    r"(?:\s?(?:is|are|was|=|:|at|stands at|sits at|shows|reads|reports|now|,|\()){1,3}\s?(?:now |only |about |already |still |at )?(?=\d)"
)


def unsupported(text: str, evidence: Evidence) -> Iterator[str]:
    """Numbers, times of day, steps of a runbook and codes in a text that the evidence does not hold."""
    for match in _CLOCK.finditer(text):
        date, hour, minute, second = match.groups()
        told = f"{int(hour):02}:{minute}" + (f":{second}" if second else "")
        if not any(f"T{told}" in m and (not date or m.startswith(date)) for m in evidence.moments):
            yield match.group()
    text = _CLOCK.sub(" ", text)
    for match in _DATE.finditer(text):
        if not any(m.startswith(match[1]) for m in evidence.moments):
            yield match.group()
    text = _DATE.sub(" ", text)
    for match in _STEP.finditer(text):
        if any(int(n) > evidence.steps for n in match.groups() if n):
            yield match.group()
    text = _STEP.sub(" ", text)
    for match in _CODE.finditer(text):
        if not any(
            re.search(rf"(?<!\d){match[1]}(?!\d)", source)
            for source in (*evidence.logs, *(p.text for p in evidence.passages))
        ):
            yield match.group()
    text = _CODE.sub(" ", text)
    yield from _of_signals(text, evidence)
    for number in said(without_names(text, evidence, numbered=True)):
        if not number.borne_out(evidence.numbers):
            yield number.text


def _of_signals(text: str, evidence: Evidence) -> Iterator[str]:
    """Numbers said to be a certain signal's that are not."""
    for signal_id, value in evidence.signals.readings.items():
        for match in re.finditer(rf"(?<![\w.]){re.escape(signal_id)}`?(?![\w]|\.\w)", text):
            after = text[match.end() : match.end() + 80]
            verb = _READING.match(after)
            number = next(iter(said(after[verb.end() :])), None) if verb else None
            if number is None or after[verb.end() if verb else 0 :].find(number.text) > 0:
                continue
            own = [m for m in evidence.numbers if m.about == signal_id]
            if value is None or not number.borne_out(own or (Measured(value, "count", signal_id, value),)):
                yield f"{signal_id} {number.text}"
