"""The command line `dmf`: one file a command, which imports what it needs when it runs, so that `--help` is instant.

The file of a command has two functions: `add(commands)` declares it, `run(parsed)` does it and returns the exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    from tfx_pipeline.console import Console, lines, styled
except ModuleNotFoundError:
    sys.exit("dmf runs the pipeline, whose packages are not installed here: pip install 'dmf-ranking[tfx]'")

from tfx_pipeline.cli import (
    bench,
    compare,
    compile,
    config,
    content,
    demo,
    encode,
    exit_status,
    explain,
    model,
    rank,
    recommend,
    replay,
    report,
    retrieval,
    run,
    score,
    serve,
    submit,
    synthesize,
    tune,
    worker,
)
from tfx_pipeline.cli.options import with_ids_taken_whole
from tfx_pipeline.errors import ConfigError, PipelineError
from tfx_pipeline.files.output_folder import unexpected

_INSTALL = "pip install 'dmf-ranking[tfx]'"
_OWN = ("dmf_keras", "serving", "tfx_pipeline")

# In the order of `dmf --help`.
COMMANDS = (
    config,
    run,
    worker,
    score,
    demo,
    rank,
    recommend,
    compare,
    tune,
    retrieval,
    content,
    encode,
    report,
    explain,
    synthesize,
    model,
    replay,
    serve,
    compile,
    submit,
    bench,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the console script; returns the exit status and prints errors of ours as sentences."""
    parsed = _parser().parse_args(with_ids_taken_whole(sys.argv[1:] if arguments is None else arguments))
    from tfx_pipeline.training.freed_memory import use_one_arena

    # Before there are threads.
    use_one_arena()
    try:
        if parsed.resumes and parsed.command is not run.run:
            _tell_alone(parsed.command_name)
        status: int = parsed.command(parsed)
        return status
    except ConfigError as error:
        return _refuse("configuration", error, exit_status.USAGE)
    except PipelineError as error:
        return _refuse("stopped", error, exit_status.ERROR)
    except KeyboardInterrupt:
        kept = "finished steps are kept; the same command goes on from there" if parsed.resumes else ""
        return _refuse("interrupted", kept, exit_status.INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OWN:
            raise
        missing = f"dmf {parsed.command_name} needs a package that is not installed here: {error.name}"
        return _refuse("stopped", f"{missing}; to install all that it needs: {_INSTALL}", exit_status.ERROR)
    except BrokenPipeError:
        return exit_status.OK
    # A folder that may not be written, a full disk: the system's own sentence names the path.
    except OSError as error:
        return _refuse("stopped", error, exit_status.ERROR)
    # Of a command that only reads, and so has no log: those that hold an output folder say so themselves.
    except Exception as error:
        return _refuse("stopped", _logged(error, parsed.command_name), exit_status.ERROR)


def _tell_alone(command: str) -> None:
    """Of the commands that may train, `dmf run` alone looks at the workers of `TF_CONFIG`; for others it is unset."""
    from tfx_pipeline.training.workers.cluster import VARIABLE, Cluster

    if (cluster := Cluster.from_environment()) is not None:
        workers = len(cluster.addresses)
        sentence = f"{VARIABLE} names {workers} workers; dmf {command} trains in this process alone"
        Console(stderr=True).print(sentence, highlight=False, soft_wrap=True)
        # The demo is a run of the pipeline too.
        del os.environ[VARIABLE]


def _logged(error: Exception, command: str) -> object:
    """The sentence for an error that nobody foresaw, whose traceback is in a new file of the temporary folder.

    Others write to that folder too: a file whose name can be foreseen could be theirs, or a link to another.
    """
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"dmf-{command}-", suffix=".log")
    except OSError as no_log:
        return f"unexpected {type(error).__name__}: {error}\nno log: {no_log}"
    os.close(descriptor)
    return unexpected(error, Path(path))


def _refuse(kind: str, error: object, status: int) -> int:
    err, sentence = Console(stderr=True), str(error)
    err.print(styled((f"{kind}:", "red bold"), " ") if sentence else styled((kind, "red bold")), end="")
    err.print(lines(*sentence.split("\n")), highlight=False, soft_wrap=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dmf", description="Multimodal click-through-rate ranking, logs to serving.")
    # Of commands that keep what they have finished.
    parser.set_defaults(resumes=False)
    commands = parser.add_subparsers(dest="command_name", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
