"""The one error family of the pipeline: what a user sees as a sentence, never as a traceback."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of everything the pipeline refuses: the message says what was received, what was expected, what to do."""


class ConfigError(PipelineError):
    """The configuration is wrong; the message has one line per problem, each with the key's path."""


class DataError(PipelineError):
    """Logs, catalogue or embeddings cannot be used: a missing file or column, too many bad rows, an empty split."""


class LeakageError(PipelineError):
    """The examples that were written break a rule of time; the leakage report says which."""


class ModelError(PipelineError):
    """A model cannot be trained, exported, loaded or asked."""


def own_error(error: BaseException | None) -> PipelineError | None:
    """Our error inside what Beam made of it: Beam re-raises with the step's name added to the message."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PipelineError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
