"""`vocabulary`: makes a vocabulary from captions. Knows flags and what is printed."""

import argparse
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.commands.paths import require_writable_files


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "vocabulary", vocabulary_command)
    words = 'JSONL of {"caption": ...} to learn words from; several may be given'
    command.add_argument("captions", type=Path, nargs="+", metavar="FILE", help=words)
    words = "also learn the names of all 1,000 classes that `captions: tags` may write"
    command.add_argument("--tags", action="store_true", help=words)
    command.add_argument("--codes", type=int, default=4096, help="image codes (default: 4096)")
    command.add_argument("--words", type=int, default=512, help="BPE words (default: 512)")
    command.add_argument("--out", type=Path, required=True, help="JSON to write")


def vocabulary_command(arguments: argparse.Namespace) -> int:
    """Make a vocabulary from captions."""
    require_writable_files({"--out": arguments.out}, arguments.captions)
    from lit_pure.config.dem import LEVELS
    from lit_pure.datasets.captions.source import Sidecar
    from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
    from lit_pure.families.pure.sequence.template import INSTRUCTIONS, degradation_sentence

    texts = [text for path in arguments.captions for text in Sidecar(path).captions.values()]
    texts += INSTRUCTIONS.values()
    texts += [degradation_sentence(blur, noise) for blur in LEVELS for noise in LEVELS]
    if arguments.tags:
        from lit_pure.datasets.captions.tags import class_names

        texts += class_names()
    vocabulary = make_vocabulary(texts, arguments.codes, arguments.words)
    vocabulary.save(arguments.out)
    print(f"{arguments.out}: {vocabulary.size} ids, {vocabulary.codes} of them image codes")
    return 0
