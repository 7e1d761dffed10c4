"""`vocabulary`: makes a vocabulary from captions. Knows flags and what is printed."""

import argparse
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "vocabulary", vocabulary_command)
    command.add_argument("captions", type=Path, help='JSONL of {"caption": ...} to learn words from')
    command.add_argument("--codes", type=int, default=4096, help="image codes (default: 4096)")
    command.add_argument("--words", type=int, default=512, help="BPE words (default: 512)")
    command.add_argument("--out", type=Path, required=True, help="JSON to write")


def vocabulary_command(arguments: argparse.Namespace) -> int:
    """Make a vocabulary from captions."""
    from lit_pure.config.dem import LEVELS
    from lit_pure.datasets.captions.source import Sidecar
    from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
    from lit_pure.families.pure.sequence.template import INSTRUCTIONS, degradation_sentence

    texts = [*Sidecar(arguments.captions).captions.values(), *INSTRUCTIONS.values()]
    texts += [degradation_sentence(blur, noise) for blur in LEVELS for noise in LEVELS]
    vocabulary = make_vocabulary(texts, arguments.codes, arguments.words)
    vocabulary.save(arguments.out)
    print(f"{arguments.out}: {vocabulary.size} ids, {vocabulary.codes} of them image codes")
    return 0
