"""The command that evaluates lenses: options, progress, error to exit code. No logic."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..schemas.errors import UsageError
from ..schemas.files import require_folder
from . import completion
from .asking import query_settings
from .early import require_query
from .help_groups import GroupedCommand
from .judging import (
    ask_model,
    endpoint_settings,
    judge_options,
    read_sample,
    require_judge_options,
    resumable,
    say_results,
    write_lists,
)
from .loading import load
from .options import (
    COMPARISON,
    bank_layers_option,
    centre_images,
    centre_options,
    layers_option,
    local_copy_option,
    model_options,
    open_searched,
    search_option,
    shared_options,
)
from .progress import TerminalProgress
from .terminal import reported

if TYPE_CHECKING:
    from ..evaluate.annotations import Annotations

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(
    cls=GroupedCommand,
    groups={
        "What to read": ("folder", "annotations", "word_list", "layers", "prompt", "answers", "sample", "seed"),
        "What to compare with": COMPARISON,
        "Who judges": (
            *("judge", "controls", "judge_url", "judge_model", "judge_params", "judge_timeout", "judge_patience"),
            *("concurrency", "max_calls", "max_tokens_total", "yes"),
        ),
        "Where results go": ("out",),
    },
)
@click.option("--images", "folder", type=_FOLDER, help="Folder with the images.")
@click.option(
    "--annotations",
    type=_FILE,
    help="COCO-style JSON: boxes and category names. Default: annotations.json in the folder of the images, if it "
    "exists.",
)
@click.option("--word-list", type=_FILE, help="JSON: synonyms and hypernyms of the category names.")
@click.option(
    "--out",
    type=_FOLDER,
    required=True,
    help="Folder for the results. Rerun with the same folder after an interruption.",
)
@model_options(required=False)
@click.option(
    "--judge",
    type=click.Choice(["ground-truth", "llm", "words"]),
    default="ground-truth",
    show_default=True,
    help="ground-truth: compare words with annotated objects. llm: ask a model that sees the image; nothing is sent "
    "before you agree. words: write lists for people to label.",
)
@click.option(
    "--lens",
    "lenses",
    multiple=True,
    metavar="NAME,...",
    shell_complete=completion.lens_names,
    help="Lenses to compare.  [default: latent,logit,embedding]",
)
@layers_option
@bank_layers_option
@click.option("--top-k", type=click.IntRange(1, 1000), default=5, show_default=True, help="Words per visual token.")
@click.option(
    "--where",
    multiple=True,
    shell_complete=completion.fields,
    metavar="FIELD=VALUE",
    help="Filter, as in query; repeatable (and).",
)
@click.option("--distinct", type=click.Choice(["word"]), help="Count each word at most once per token.")
@centre_options
@click.option("--prompt", help="The question that goes with the images. Default: a neutral one.")
@click.option(
    "--answer-tokens",
    "answers",
    type=click.IntRange(1),
    metavar="N",
    help="Also let the model answer --prompt about each annotated image (at most N tokens, chosen greedily), and "
    "measure how often each lens names a thing of the image at the answer's positions.",
)
@click.option(
    "--exact/--approximate",
    default=True,
    help="Compare with every row, or use the index, as in query.  [default: exact]",
)
@search_option
@local_copy_option
@click.option(
    "--recall-check/--no-recall-check",
    default=True,
    help="Measure the recall of --approximate, as in query.  [default: recall-check]",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="Number of visual tokens in total, spread over the images. Default: all; judges llm, words: 100.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@judge_options
@shared_options
def evaluate(**options: Any) -> None:
    """Measure how often each lens names what an image shows, with controls and intervals.

    Each image goes through the model once (with --answer-tokens twice). Results go to --out: table.txt, summary.json,
    report.md and the plots (with matplotlib: pip install 'lensbank[evaluate]'). Rerun the same command after an
    interruption; other options need another --out.

    --judge llm sends your pictures to --judge-url, once per sampled patch, lens and layer. Before that, it prints what
    it will send, where and how often, and waits for --yes or your answer. The key is read only from the environment
    variable LENSBANK_JUDGE_KEY.

    \b
    Example:
      lensbank evaluate --model ./my-vlm --images val2017 --annotations instances_val2017.json --out results
      lensbank evaluate --images photos --layer 8,16 --lens latent,logit --where is_word=true --out results
      lensbank evaluate --images photos --judge llm --judge-url http://localhost:8080/v1 --judge-model qwen --out judged
      lensbank evaluate --images photos --judge words --out judged
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress, resumable(progress):
        from ..evaluate.sampling import ReadingOptions

        settings = query_settings(options, ("latent,logit,embedding",))
        require_judge_options(options)
        endpoint = endpoint_settings(options) if options["judge"] == "llm" else None
        require_folder(options["out"])
        known = _annotations(options)
        means = centre_images(options)
        reading = ReadingOptions(options["sample"], options["seed"], means, answer_tokens=options["answers"])
        reading.require_raw_answers(settings.centre)
        needs_store = "latent" in settings.lenses or options["model"] is None
        with open_searched(options, progress) if needs_store else nullcontext() as store:
            source = require_query(store, settings, options)
            from ..evaluate.run import evaluate_ground_truth
            from ..query.pipeline import QuerySession

            loaded = load(source, options, need_vision=True, store=store)
            with QuerySession(store, loaded, settings) as session:
                if options["judge"] == "ground-truth":
                    summary = evaluate_ground_truth(
                        session, known.images, reading, options["out"], progress, known.notes
                    )
                else:
                    prepared = read_sample(session, known, reading, options, progress)
        if options["judge"] == "words":
            write_lists(prepared, options["out"], progress)
            return
        if endpoint is not None:
            del loaded, session  # people and servers take hours: the model's memory is better free
            summary = ask_model(prepared, options, endpoint, progress)
        say_results(summary, options["out"], progress)


def _annotations(options: dict[str, Any]) -> Annotations:
    from ..evaluate.annotations import Annotations, find_images, read_annotations

    folder, file = options["folder"], options["annotations"]
    if folder is None:
        raise UsageError("No images were given.", "Give --images.")
    if file is None and (folder / "annotations.json").is_file():
        file = folder / "annotations.json"
    if file is not None:
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}.", "Give the folder with the images as --images.")
        known = read_annotations(file, folder, options["word_list"])
        if known.images and not any(image.path.is_file() for image in known.images):
            raise UsageError(
                f"None of the {len(known.images):,} images in {file} is in {folder} (the first: "
                f"{known.images[0].name}).",
                "Give the folder with the images as --images.",
            )
        return known
    if options["judge"] == "ground-truth":
        raise UsageError(f"{folder} has no annotations.json.", "Give --annotations, or another --judge.")
    return Annotations(tuple(find_images(folder)))
