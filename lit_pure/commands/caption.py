"""`caption`: captions for a folder of photographs, from LLaVA, a classifier or the pixels. Knows flags and what is
printed.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.commands.paths import require_not_picture
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.compose import ConfigError
from lit_pure.files.work import ForEach

if TYPE_CHECKING:
    from lit_pure.datasets.captions.sidecar import SidecarWriter
    from lit_pure.datasets.captions.writing import Described, Describer

LLAVA = {
    "model": "llava-hf/llava-1.5-13b-hf",
    "revision": None,
    "prompt": "Please describe this image in detail.",
    "max_tokens": 256,
    "dtype": "auto",
}
"""Defaults of LLaVA's flags. Model and prompt are those of PURE's author (threads 6 and 9 of nonwhy/PURE)."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "caption", caption_command)
    command.add_argument("folder", type=Path, metavar="FOLDER", help="photographs, also in sub-folders")
    command.add_argument("--source", choices=("llava", "tags", "pixels"), required=True, help="what describes them")
    command.add_argument("--out", type=Path, metavar="FILE", help="JSONL to write (default: FOLDER/captions.jsonl)")
    command.add_argument("--batch", type=int, default=8, metavar="N", help="photographs at once (default: 8)")
    add_processes(command)
    llava = command.add_argument_group("with --source llava")
    llava.add_argument("--model", help=f"folder, or name on the Hugging Face hub (default: {LLAVA['model']})")
    llava.add_argument("--revision", help="branch, tag or commit on the hub (default: the newest)")
    llava.add_argument("--prompt", help=f"the question (default: {LLAVA['prompt']})")
    words = f"cut longer answers (default: {LLAVA['max_tokens']})"
    llava.add_argument("--max-tokens", type=int, metavar="N", help=words)
    words = "auto: float32 on a CPU, elsewhere as published (default: auto)"
    llava.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), help=words)


def caption_command(arguments: argparse.Namespace) -> int:
    """Describe photographs, for `captions: FILE` of an experiment; an interrupted call is resumed."""
    return over_processes(arguments, _caption, on_cpu=arguments.source != "llava")


def _caption(arguments: argparse.Namespace, each: ForEach) -> int:
    llava = _llava(arguments)
    if arguments.batch < 1:
        raise ConfigError(f"--batch {arguments.batch} is below 1; give a whole number from 1")
    from lit_pure.datasets.captions.sidecar import SidecarWriter
    from lit_pure.images.files import EXTENSIONS, images_below

    folder = arguments.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give one with photographs")
    names = [path.relative_to(folder).as_posix() for path in images_below(folder)]
    if not names:
        raise ConfigError(f"{folder}: no pictures in it or below (looked for {' '.join(EXTENSIONS)})")
    out = arguments.out or folder / "captions.jsonl"
    require_not_picture("--out", out)
    writer = SidecarWriter(out, _origin(arguments.source, llava))
    todo = writer.missing(folder, names)
    work = partial(_describing, folder=folder, source=arguments.source, llava=llava)
    failed = _describe_all(each, work, todo, writer, arguments.batch) if todo else 0
    already = f", {len(names) - len(todo)} of them from an earlier call" if len(todo) < len(names) else ""
    print(f"{writer.path}: {len(names) - failed} of {len(names)} photographs have captions{already}")
    return 1 if failed else 0


def _llava(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The flags of LLaVA, None for other sources. Raises ConfigError."""
    given = {name: value for name in LLAVA if (value := getattr(arguments, name)) is not None}
    if arguments.source != "llava":
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ConfigError(f"{flags}: not for --source {arguments.source}; leave it out, or use --source llava")
        return None
    llava = LLAVA | given
    if llava["max_tokens"] < 1:
        raise ConfigError(f"--max-tokens {llava['max_tokens']} is below 1; give a whole number from 1")
    if not llava["prompt"].strip() or "<image>" in llava["prompt"]:
        raise ConfigError(f"--prompt {llava['prompt']!r}: give only words; the model's template adds the image")
    model = Path(llava["model"])
    if model.is_dir() and llava["revision"]:
        raise ConfigError(
            f"--revision {llava['revision']}: {model} is a folder, which has only one revision; leave it out"
        )
    if model.is_dir() and not (model / "config.json").is_file():
        raise ConfigError(f"--model {model}: the folder has no config.json; give one with a transformers LLaVA")
    return llava


def _origin(source: str, llava: dict[str, Any] | None) -> dict[str, Any]:
    """The origin written into each line; it must not change between calls."""
    if llava is None:
        return {"source": source}
    revision = f"@{llava['revision']}" if llava["revision"] else ""
    return {"source": llava["model"] + revision, "prompt": llava["prompt"], "max_tokens": llava["max_tokens"]}


@contextmanager
def _describing(
    device: Any, *, folder: Path, source: str, llava: dict[str, Any] | None
) -> Iterator[Callable[[Sequence[str]], "Described"]]:
    """Gives what describes some photographs at once."""
    from lit_pure.datasets.captions.writing import describe_group

    describer = _describer(source, llava, device)
    yield lambda group: describe_group(folder, group, describer)


def _describer(source: str, llava: dict[str, Any] | None, device: Any) -> "Describer":
    if llava is None:
        from lit_pure.datasets.captions.writing import describe_pixels, describe_tags

        return describe_tags if source == "tags" else describe_pixels
    from lit_pure.datasets.captions.llava import Llava, weights_folder

    folder = weights_folder(llava["model"], llava["revision"])
    return Llava(folder, llava["prompt"], llava["max_tokens"], device, llava["dtype"])


def _describe_all(each: ForEach, work: Any, todo: list[str], writer: "SidecarWriter", batch: int) -> int:
    """Describe all photographs with a progress bar; returns the number without a caption."""
    from tqdm import tqdm

    from lit_pure.datasets.captions.writing import batches, write_captions

    failed, written = 0, set[str]()
    bar: tqdm[Any] = tqdm(total=len(todo), unit=" images", desc="describing", file=sys.stderr, disable=None)

    def receive(number: int, described: "Described") -> None:
        nonlocal failed
        outcome = write_captions(described, writer)
        written.update(described.captions)
        failed += len(outcome.failures)
        bar.update(outcome.files)
        for failure in outcome.failures:
            with bar.external_write_mode(file=sys.stdout):
                print(failure)

    with bar:
        each(work, batches(todo, batch), receive)
    if written and not each.alone:
        writer.put_in_order([name for name in todo if name in written])
    return failed
