"""Reads and counts votes of the blind test.

Knows the files that the page saves (`study.js`), which of them are unusable, and how votes are counted. Knows nothing
of pictures or pages, and imports no torch.

A selection rate is the share that a method won of its comparisons with a preference: 50 % is chance. Figure 5 of the
paper shows rates of 15 volunteers with 50 comparisons each, without saying what they are shares of; `share`, of all
votes with a preference, is the other reading, in which chance is 1 / number of methods.
"""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.files.names import nfc
from lit_pure.metrics.intervals import LEVEL, sign_test

FORMAT = "lit_pure votes 1"
"""First entry of every file of votes."""
CHOICES = ("left", "right", "none")


class DamagedVotes(ValueError):
    """A file without votes, or in another format than the page writes; the message names it."""


@dataclass(frozen=True)
class Vote:
    """One comparison."""

    image: str
    left: str
    right: str
    choice: str
    """left, right, or none for no preference."""

    @property
    def winner(self) -> str | None:
        """The method that was chosen."""
        return {"left": self.left, "right": self.right}.get(self.choice)

    @property
    def loser(self) -> str | None:
        """The method that was not chosen."""
        return {"left": self.right, "right": self.left}.get(self.choice)


@dataclass(frozen=True)
class Ballot:
    """The votes of one voter."""

    path: Path
    gallery: str
    """Id of the page."""
    voter: str
    methods: list[str]
    planned: int
    """Number of comparisons that the voter was asked for."""
    votes: list[Vote]


@dataclass(frozen=True)
class Rate:
    """How often a method was chosen."""

    method: str
    shown: int
    """Its comparisons."""
    decided: int
    """Its comparisons with a preference."""
    chosen: int
    low: float
    """Lower end of the Wilson interval of `rate`; NaN, like `high`, where nothing was decided."""
    high: float
    share: float
    """Share of all votes with a preference; NaN without such votes."""

    @property
    def rate(self) -> float:
        """Share of its decided comparisons that it won; NaN without such comparisons."""
        return self.chosen / self.decided if self.decided else math.nan


@dataclass(frozen=True)
class Duel:
    """Two methods against each other."""

    one: str
    other: str
    wins: int
    """Of `one`."""
    losses: int
    undecided: int
    p: float
    """Of the two-sided exact sign test."""


@dataclass(frozen=True)
class Tally:
    """The result of all votes."""

    gallery: str
    voters: list[str]
    votes: int
    undecided: int
    rates: list[Rate]
    """Highest rate first."""
    duels: list[Duel]
    """Every pair of methods that met."""


def read_ballot(path: Path) -> Ballot:
    """Read one file of votes.

    Raises:
        DamagedVotes: the file is missing, damaged, or not a file of votes; gives the reason.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors and mailers add a BOM
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DamagedVotes(f"{path} cannot be read ({reason}); ask the voter to save it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedVotes(f"{path} contains no votes of a gallery (no format {FORMAT!r})")
    try:
        methods = [_text(method) for method in content["methods"]]
        votes = [_vote(row, methods) for row in content["votes"]]
        planned = _planned(content["planned"], len(votes))
        ballot = Ballot(path, _text(content["gallery"]), _text(content["voter"]), methods, planned, votes)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedVotes(f"{path} is damaged ({what}); ask the voter to save it again") from error
    asked = Counter((vote.image, frozenset((vote.left, vote.right))) for vote in votes)
    if doubled := [image for (image, _), count in asked.items() if count > 1]:
        raise DamagedVotes(f"{path} is damaged (two votes on the same pictures of {doubled[0]!r}); save it again")
    return ballot


def select_ballots(ballots: Sequence[Ballot], gallery: str | None = None) -> tuple[list[Ballot], list[str]]:
    """The ballots that may be counted together, and why others may not.

    Args:
        ballots: in the given order.
        gallery: id of the page whose votes count; None: that of the first ballot.

    Returns:
        One ballot per voter (the one with most votes, or the later of two equal ones), and a sentence for each refused
        one. Names that differ only in capitals and blanks are one voter.
    """
    refused = []
    counted: dict[str, Ballot] = {}
    for ballot in ballots:
        gallery = gallery or ballot.gallery
        if ballot.gallery != gallery:
            refused.append(f"{ballot.path}: votes on gallery {ballot.gallery}, not {gallery}; count them separately")
            continue
        voter = _person(ballot.voter)
        before = counted.get(voter)
        if before is None or len(before.votes) <= len(ballot.votes):
            counted[voter] = ballot
        if before is not None:
            kept, left = sorted((before, ballot), key=lambda one: one is not counted[voter])
            refused.append(
                f"{left.path}: {ballot.voter} also saved {kept.path}, which counts (votes there: {len(kept.votes)}, "
                f"here: {len(left.votes)}); two people with one name need two names"
            )
    return list(counted.values()), refused


def count_votes(ballots: Sequence[Ballot]) -> Tally:
    """Count the votes of one gallery as independent votes, although a voter gives several.

    Args:
        ballots: at least one, as `select_ballots` gives them.
    """
    votes = [vote for ballot in ballots for vote in ballot.votes]
    methods = list(dict.fromkeys(method for ballot in ballots for method in ballot.methods))
    rates = sorted((_rate(method, votes) for method in methods), key=lambda rate: -rate.rate if rate.decided else 1)
    order = [rate.method for rate in rates]
    duels = [_duel(one, other, votes) for place, one in enumerate(order) for other in order[place + 1 :]]
    undecided = sum(vote.winner is None for vote in votes)
    met = [duel for duel in duels if duel.wins + duel.losses + duel.undecided]
    return Tally(ballots[0].gallery, [ballot.voter for ballot in ballots], len(votes), undecided, rates, met)


def wilson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 22, 1927): inside [0, 1], also for few trials; NaN for none."""
    if not trials:
        return math.nan, math.nan
    from scipy.stats import binomtest  # slow to import; damaged files are reported before

    interval = binomtest(successes, trials).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def _rate(method: str, votes: Sequence[Vote]) -> Rate:
    shown = [vote for vote in votes if method in (vote.left, vote.right)]
    decided = sum(vote.winner is not None for vote in shown)
    chosen = sum(vote.winner == method for vote in shown)
    everything = sum(vote.winner is not None for vote in votes)
    share = chosen / everything if everything else math.nan
    return Rate(method, len(shown), decided, chosen, *wilson(chosen, decided), share)


def _duel(one: str, other: str, votes: Sequence[Vote]) -> Duel:
    met = [vote for vote in votes if {vote.left, vote.right} == {one, other}]
    wins = sum(vote.winner == one for vote in met)
    losses = sum(vote.winner == other for vote in met)
    return Duel(one, other, wins, losses, len(met) - wins - losses, sign_test(wins, losses))


def _vote(row: Any, methods: Sequence[str]) -> Vote:
    """One vote. Raises KeyError, TypeError or ValueError with the reason."""
    vote = Vote(*(row[key] for key in ("image", "left", "right", "choice")))
    if not isinstance(vote.image, str):
        raise ValueError(f"{reprlib.repr(vote.image)} where a picture belongs")
    if vote.choice not in CHOICES:
        raise ValueError(f"choice {reprlib.repr(vote.choice)} is not one of {', '.join(CHOICES)}")
    for method in (vote.left, vote.right):
        if method not in methods:
            raise ValueError(f"a vote on {reprlib.repr(method)}, which is not one of the methods")
    if vote.left == vote.right:
        raise ValueError(f"{vote.left!r} is compared with itself")
    return vote


def _text(value: Any) -> str:
    """A printable name: control characters could change the terminal."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{reprlib.repr(value)} where a name belongs")
    return value


def _planned(value: Any, made: int) -> int:
    if type(value) is not int or value < 0:  # True is an int too
        raise ValueError(f"{reprlib.repr(value)} where the number of planned votes belongs")
    if made > value:
        raise ValueError(f"{made} votes, of {value} planned")
    return value


def _person(voter: str) -> str:
    """A normalized name, equal for different spellings."""
    return nfc(" ".join(voter.split()).casefold())
