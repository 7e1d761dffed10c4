"""Votes: which are counted, with which figures, and which files are refused."""

import json
import math
from pathlib import Path
from statistics import NormalDist

import pytest
from scipy.stats import binomtest

from lit_pure.__main__ import main
from lit_pure.gallery.votes import DamagedVotes, count_votes, read_ballot, select_ballots, wilson

# (image, left, right, choice)
ANNA = [("0", "A", "B", "left"), ("1", "B", "A", "right"), ("2", "A", "C", "left"), ("3", "C", "B", "none")]
BEN = [("0", "B", "A", "left"), ("1", "A", "B", "left"), ("2", "C", "A", "right"), ("3", "B", "C", "left")]


def save(path: Path, voter: str = "Anna", votes=ANNA, gallery: str = "0123456789ab", **changes) -> Path:
    rows = [dict(zip(("image", "left", "right", "choice"), vote, strict=True)) for vote in votes]
    head = {"format": "lit_pure votes 1", "gallery": gallery, "voter": voter, "methods": ["A", "B", "C"], "planned": 4}
    path.write_text(json.dumps({**head, "votes": rows, **changes}))
    return path


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_as_published(successes, trials, low, high):
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_ends_of_wilson_intervals_are_z_of_their_own_standard_errors_from_the_share():
    z = NormalDist().inv_cdf(0.975)
    for successes, trials in [(1, 2), (50, 750), (292, 750)]:
        for end in wilson(successes, trials):
            assert abs(end - successes / trials) == pytest.approx(z * math.sqrt(end * (1 - end) / trials))
    assert wilson(0, 7)[0] == 0 and wilson(7, 7)[1] == 1
    assert all(math.isnan(end) for end in wilson(0, 0))


def test_counted_by_hand(tmp_path):
    ballots = [read_ballot(save(tmp_path / "a.json")), read_ballot(save(tmp_path / "b.json", "Ben", BEN))]
    found = count_votes(ballots)
    assert (found.voters, found.votes, found.undecided) == (["Anna", "Ben"], 8, 1)
    rates = {rate.method: (rate.shown, rate.decided, rate.chosen) for rate in found.rates}
    assert rates == {"A": (6, 6, 5), "B": (6, 5, 2), "C": (4, 3, 0)}
    assert [rate.method for rate in found.rates] == ["A", "B", "C"]
    assert found.rates[0].rate == 5 / 6
    assert [rate.share for rate in found.rates] == pytest.approx([5 / 7, 2 / 7, 0])
    duels = {(duel.one, duel.other): (duel.wins, duel.losses, duel.undecided, duel.p) for duel in found.duels}
    assert duels == {
        ("A", "B"): (3, 1, 0, pytest.approx(binomtest(3, 4).pvalue)),
        ("A", "C"): (2, 0, 0, pytest.approx(0.5)),
        ("B", "C"): (1, 0, 1, 1.0),
    }


def test_a_method_that_nobody_decided_on(tmp_path):
    votes = [("0", "A", "B", "none")]
    found = count_votes([read_ballot(save(tmp_path / "a.json", votes=votes))])
    assert [(rate.shown, rate.decided) for rate in found.rates] == [(1, 0), (1, 0), (0, 0)]
    assert all(math.isnan(rate.rate) and math.isnan(rate.low) for rate in found.rates)
    assert [(duel.one, duel.other) for duel in found.duels] == [("A", "B")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ('{"format": "lit_pure vo', "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1, 2]", "contains no votes"),
        ('{"format": "other"}', "contains no votes"),
    ],
)
def test_files_that_are_none(tmp_path, text, said):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DamagedVotes, match=said) as caught:
        read_ballot(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"votes": [("0", "A", "B", "both")]}, "choice 'both' is not one of left, right, none"),
        ({"votes": [("0", "A", "Z", "left")]}, "a vote on 'Z', which is not one of the methods"),
        ({"votes": [("0", "A", "A", "left")]}, "'A' is compared with itself"),
        ({"votes": [("0", "A", "B", "left"), ("0", "B", "A", "left")]}, "two votes on the same pictures of '0'"),
        ({"votes": [("0", "A", 7, "left")]}, "a vote on 7, which is not one"),
        ({"voter": ""}, "'' where a name belongs"),
        ({"voter": "\ud800"}, r"'\\ud800' where a name belongs"),
        ({"voter": "Anna\x1b[2J"}, r"'Anna\\x1b\[2J' where a name belongs"),
        ({"voter": "Anna\nA 10 10 10"}, "where a name belongs"),
        ({"voter": " "}, "' ' where a name belongs"),
        ({"methods": ["A", "B", "C\x1b[2J"]}, "where a name belongs"),
        ({"planned": "many"}, "'many' where the number of planned votes belongs"),
        ({"planned": math.inf}, "inf where the number"),
        ({"planned": True}, "True where the number"),
        ({"planned": 4.0}, "4.0 where the number"),
        ({"planned": -3}, "-3 where the number"),
        ({"planned": 3}, "4 votes, of 3 planned"),
        ({"methods": None}, "not iterable"),
    ],
)
def test_damaged_votes_are_said_what_is_wrong(tmp_path, changes, said):
    path = save(tmp_path / "x.json", **changes)
    with pytest.raises(DamagedVotes, match=said) as caught:
        read_ballot(path)
    assert str(path) in str(caught.value)


def test_a_missing_entry_is_named(tmp_path):
    path = save(tmp_path / "x.json")
    content = json.loads(path.read_text())
    del content["votes"][1]["choice"]
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedVotes, match="no 'choice'"):
        read_ballot(path)


def test_one_ballot_per_voter_and_gallery(tmp_path):
    full, part = save(tmp_path / "full.json"), save(tmp_path / "part.json", votes=ANNA[:2])
    other = save(tmp_path / "other.json", "Ben", BEN, gallery="ba9876543210")
    for order in ([full, part, other], [part, full, other]):
        counted, refused = select_ballots([read_ballot(path) for path in order])
        assert [ballot.path for ballot in counted] == [full]
        assert len(refused) == 2
        assert f"{part}: Anna also saved {full}, which counts (votes there: 4, here: 2)" in refused[0]
        assert f"{other}: votes on gallery ba9876543210, not 0123456789ab" in refused[1]
    counted, refused = select_ballots([read_ballot(path) for path in (full, other)], "ba9876543210")
    assert [ballot.path for ballot in counted] == [other]
    assert len(refused) == 1


def test_a_mark_of_byte_order_does_no_harm(tmp_path):
    path = save(tmp_path / "x.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_ballot(path).votes) == 4


def test_a_name_is_one_voter_however_it_is_spelled(tmp_path):
    spellings = ["Bob L\u00e9e", "bob l\u00e9e", "Bob  L\u00e9e ", "BOB LE\u0301E"]
    ballots = [read_ballot(save(tmp_path / f"{number}.json", name)) for number, name in enumerate(spellings)]
    counted, refused = select_ballots(ballots)
    assert (len(counted), len(refused)) == (1, 3)


def test_the_command(tmp_path, capsys):
    files = [str(save(tmp_path / "a.json")), str(save(tmp_path / "b.json", "Ben", BEN[:3]))]
    assert main(["votes", *files]) == 0
    out = capsys.readouterr().out.split("\n")
    assert out[0] == f"unfinished: {files[1]}: Ben made 3 of 4 comparisons"
    assert out[1] == "gallery 0123456789ab: 2 voters, 7 comparisons, 1 without preference"
    assert out[4].split() == ["A", "6", "6", "5", "83.3%", "43.6%", "..", "97.0%", "83.3%"]
    assert out[9].split() == ["A", "B", "3", "1", "0", "0.62"]
    assert "intervals and p assume independent votes" in out[-2]
    assert main(["votes", str(save(tmp_path / "c.json", votes=ANNA[:1], planned=1))]) == 0
    assert "1 voter, 1 comparison, 0 without" in capsys.readouterr().out


def test_the_command_counts_the_rest_of_bad_files(tmp_path, capsys):
    good, other = save(tmp_path / "a.json"), save(tmp_path / "o.json", "Ben", gallery="f" * 12)
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    infinite, deep = save(tmp_path / "infinite.json"), tmp_path / "deep.json"
    infinite.write_text(infinite.read_text().replace('"planned": 4', '"planned": 1e400'))
    deep.write_text("[" * 100_000)
    mute = save(tmp_path / "mute.json", "\ud800\x1b[2J")
    assert main(["votes", *map(str, (bad, infinite, deep, mute, good, other))]) == 1
    out = capsys.readouterr().out
    assert f"left out: {bad} cannot be read" in out
    assert all(f"left out: {path} " in out for path in (infinite, deep, mute))
    assert "\x1b" not in out
    assert f"left out: {other}: votes on gallery ffffffffffff" in out
    assert "1 voter, 4 comparisons" in out
    assert main(["votes", str(bad)]) == 1
    assert "no file with votes is left" in capsys.readouterr().err
