"""The one error family of the pipeline: what a user sees as a sentence, never as a traceback."""

from __future__ import annotations

import re


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
    """Our error inside what Beam made of it: Beam re-raises with the step's name added to the message.

    Of a worker that is another process Beam has no more than the traceback, as text.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PipelineError):
            return error
        if told := _TOLD.findall(str(error)):
            name, message = told[-1]
            return _KINDS[name](message)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


_KINDS = {kind.__name__: kind for kind in (PipelineError, ConfigError, DataError, LeakageError, ModelError)}
_TOLD = re.compile(
    rf"^{re.escape(__name__)}\.({'|'.join(_KINDS)}): (.*?)(?: \[while running '|\n\n|\Z)", re.MULTILINE | re.DOTALL
)
