"""Judges on the command line: their options, consent before anything is sent, and labels read back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command_line import typed
from .options import Command, FiniteRange
from .progress import TerminalProgress
from .streams import confirmed
from .terminal import echo, reported

if TYPE_CHECKING:
    from ..evaluate.annotations import Annotations
    from ..evaluate.judging.run import Prepared
    from ..evaluate.judging.settings import EndpointSettings
    from ..evaluate.sampling import ReadingOptions
    from ..query.pipeline import QuerySession

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


def judge_options(command: Command) -> Command:
    """The options of ``--judge words`` and ``--judge llm``."""
    for option in reversed(
        [
            click.option(
                "--controls",
                type=click.IntRange(0),
                help="Judges llm, words: number of questions per control and lens, mixed in without a mark; 0 for "
                "none.  [default: 50]",
            ),
            click.option("--judge-url", help="Judge llm: base URL of an OpenAI-compatible API, local or not."),
            click.option("--judge-model", help="Judge llm: name of the model at --judge-url. It must accept images."),
            click.option(
                "--judge-param",
                "judge_params",
                multiple=True,
                metavar="NAME=VALUE",
                help="Judge llm: an additional field for every request, e.g. temperature=0; repeatable.",
            ),
            click.option(
                "--judge-timeout",
                type=FiniteRange(1),
                default=120,
                show_default=True,
                help="Judge llm: time limit per request in seconds.",
            ),
            click.option(
                "--judge-patience",
                type=FiniteRange(1),
                default=600,
                show_default=True,
                help="Judge llm: time limit per question in seconds, including retries.",
            ),
            click.option(
                "--concurrency",
                type=click.IntRange(1, 64),
                default=4,
                show_default=True,
                help="Judge llm: number of parallel requests.",
            ),
            click.option(
                "--max-calls",
                type=click.IntRange(0),
                help="Judge llm: maximum number of requests, including those of earlier runs.",
            ),
            click.option(
                "--max-tokens-total",
                type=click.IntRange(1),
                help="Judge llm: stop after this many tokens, as counted by the server, including those of earlier "
                "runs.",
            ),
            click.option("--yes", is_flag=True, help="Judge llm: send without asking first."),
        ]
    ):
        command = option(command)
    return command


def require_judge_options(options: dict[str, Any]) -> None:
    """Options of a judge beside another one are a mistake.

    Raises:
        UsageError: there are some.
    """
    from ..schemas.errors import UsageError

    of_llm = ("judge_url", "judge_model", "judge_params", "max_calls", "max_tokens_total", "yes")
    judge = options["judge"]
    wrong = [name for name in of_llm if options[name] not in (None, False, ())] if judge != "llm" else []
    if judge == "ground-truth" and options["controls"] is not None:
        wrong.append("controls")
    if judge != "ground-truth" and options["answers"] is not None:
        wrong.append("answer_tokens")
    if wrong:
        name = wrong[0].replace("judge_params", "judge_param").replace("_", "-")
        raise UsageError(
            f"--{name} has no effect with --judge {judge}.", "Give another --judge, or leave the option out."
        )


def endpoint_settings(options: dict[str, Any]) -> EndpointSettings:
    """Where the judge is; the key comes from the environment and from nowhere else.

    Raises:
        UsageError: something is missing or cannot be used.
    """
    from ..evaluate.judging.settings import KEY_VARIABLE, checked_settings

    return checked_settings(
        options["judge_url"],
        options["judge_model"],
        options["judge_params"],
        os.environ.get(KEY_VARIABLE),
        options["judge_timeout"],
        options["judge_patience"],
    )


def read_sample(
    session: QuerySession,
    known: Annotations,
    reading: ReadingOptions,
    options: dict[str, Any],
    progress: TerminalProgress,
) -> Prepared:
    """Read what the judge is asked about."""
    from ..evaluate.judging.run import CONTROLS, prepare

    controls = CONTROLS if options["controls"] is None else options["controls"]
    return prepare(session, known.images, options["judge"], reading, controls, options["out"], progress, known.notes)


def ask_model(
    prepared: Prepared, options: dict[str, Any], endpoint: EndpointSettings, progress: TerminalProgress
) -> dict[str, Any]:
    """Have a model judge; its summary."""
    from ..evaluate.judging.llm import JudgeLimits
    from ..evaluate.judging.run import judge_with_llm

    limits = JudgeLimits(options["max_calls"], options["max_tokens_total"], options["concurrency"])
    return judge_with_llm(prepared, endpoint, limits, options["out"], progress, progress.note, _consent(options["yes"]))


def write_lists(prepared: Prepared, out: Path, progress: TerminalProgress) -> None:
    """Export for people, and say what to do next."""
    from ..evaluate.judging.run import export_for_people

    count = export_for_people(prepared, out, progress)
    for note in prepared.header({})["notes"]:
        progress.note(f"Note: {note}")
    echo(
        f"{count:,} items to label are in {out / 'labels'}. Open label.html there, or fill in the column label of "
        f"labels.csv. Do not hand out labels-key.json. Then run: lensbank evaluate-labels {typed(out)} FILE..."
    )


def _consent(yes: bool) -> Callable[[], bool]:
    """Given beforehand, or by a person at the terminal."""

    def ask() -> bool:
        return yes or (sys.stdin is not None and sys.stdin.isatty() and confirmed("Send it?"))

    return ask


@contextmanager
def resumable(progress: TerminalProgress) -> Iterator[None]:
    """Say of an interrupted evaluation that nothing of it is lost."""
    try:
        yield
    except KeyboardInterrupt:
        progress.finish()
        progress.note("All images and answers so far are kept. Rerun the same command to continue.")
        raise


def say_results(summary: dict[str, Any], out: Path, progress: TerminalProgress) -> None:
    """Write a summary's files, show the table and what a reader must know."""
    from ..evaluate.outputs import write_outputs

    table, lacking = write_outputs(summary, out)
    echo(table)
    for note in (*summary["notes"], *([lacking] if lacking else [])):
        progress.note(f"Note: {note}")
    echo(f"Written to {out}: report.md, summary.json, table.txt" + ("" if lacking else " and plots"))


@click.command("evaluate-labels")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--out", type=_FOLDER, help="Folder for the results.  [default: labelled, in FOLDER]")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def evaluate_labels(folder: Path, files: tuple[Path, ...], out: Path | None, debug: bool) -> None:
    """Read the labels that people gave after `evaluate --judge words`, and write the results.

    FOLDER is the --out of that evaluation. FILES are the filled-in lists, one per person, as CSV or JSONL. The results
    have the same form as those of the other judges, and state how far people agree: Cohen's kappa of every pair,
    including a model that has judged in the same folder.

    \b
    Example:
      lensbank evaluate-labels results labels-anna.csv labels-ben.csv
    """  # noqa: D301 - click needs the \b character
    with reported(debug), TerminalProgress(silent=True) as progress:
        from ..evaluate.judging.labelled import summarise_labels

        say_results(summarise_labels(folder, files), out or folder / "labelled", progress)
