"""Questions in flight, in words for the log: which work was in a worker."""

from __future__ import annotations

from collections.abc import Collection

from soloist.wire import RunActivity, RunEntity, RunEpisode, RunHandle, RunHttp, RunTimer

Question = RunEpisode | RunActivity | RunEntity | RunHandle | RunTimer | RunHttp

_MOST_NAMED = 5


def described(questions: Collection[Question]) -> str | None:
    """Name the functions and their instances, the first asked first; ``None`` for none."""
    if not questions:
        return None
    named = [_name(question) for question, _ in zip(questions, range(_MOST_NAMED), strict=False)]
    more = len(questions) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _name(question: Question) -> str:
    if isinstance(question, RunActivity | RunEpisode):
        return f"{question.name} (instance {question.instance_id})"
    if isinstance(question, RunEntity):
        return f"{question.name} (instance @{question.name}@{question.key})"
    if isinstance(question, RunHandle):
        return question.name
    return question.function
