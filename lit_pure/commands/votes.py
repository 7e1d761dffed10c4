"""`votes`: counts the votes of blind tests. Knows flags and what is printed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.commands.parsing import Subparsers, add, print_table

if TYPE_CHECKING:
    from lit_pure.gallery.votes import Duel, Rate, Tally


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "votes", votes_command)
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="votes saved by the blind test of a gallery"
    )
    command.add_argument("--gallery", metavar="ID", help="gallery whose votes count (default: that of the first file)")


def votes_command(arguments: argparse.Namespace) -> int:
    """Count the votes of one gallery: how often each method was chosen, and the result of each pair of methods."""
    from lit_pure.gallery.votes import Ballot, DamagedVotes, count_votes, read_ballot, select_ballots

    ballots: list[Ballot] = []
    problems = []
    for path in arguments.files:
        try:
            ballots.append(read_ballot(path))
        except DamagedVotes as error:
            problems.append(str(error))
    counted, refused = select_ballots(ballots, arguments.gallery)
    for problem in [*problems, *refused]:
        print(f"left out: {problem}")
    if not counted:
        raise ValueError("no file with votes is left to count; give another file")
    for ballot in counted:
        if len(ballot.votes) < ballot.planned:
            made = f"{ballot.voter} made {len(ballot.votes)} of {ballot.planned} comparisons"
            print(f"unfinished: {ballot.path}: {made}")
    _show(count_votes(counted))
    return 1 if problems or refused else 0


def _show(result: "Tally") -> None:
    who = f"{len(result.voters)} voter" + "s" * (len(result.voters) != 1)
    made = f"{result.votes} comparison" + "s" * (result.votes != 1)
    print(f"gallery {result.gallery}: {who}, {made}, {result.undecided} without preference\n")
    head = ["method", "shown", "decided", "chosen", "rate", "95 % interval", "of all votes"]
    print_table([head, *map(_rate, result.rates)], figures=range(1, len(head)))
    print()
    head = ["method", "against", "wins", "losses", "no preference", "p"]
    print_table([head, *map(_duel, result.duels)], figures=range(2, len(head)))
    print("\nintervals and p assume independent votes; voters and pictures repeat, so both are too optimistic")


def _rate(rate: "Rate") -> list[str]:
    figures = [str(rate.shown), str(rate.decided), str(rate.chosen)]
    if not rate.decided:
        return [rate.method, *figures, "", "", ""]
    interval = f"{rate.low:.1%} .. {rate.high:.1%}"
    return [rate.method, *figures, f"{rate.rate:.1%}", interval, f"{rate.share:.1%}"]


def _duel(duel: "Duel") -> list[str]:
    return [duel.one, duel.other, str(duel.wins), str(duel.losses), str(duel.undecided), f"{duel.p:.2g}"]
