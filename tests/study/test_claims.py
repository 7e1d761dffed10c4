"""Evaluation of claims on made-up scores with known differences."""

import numpy as np
import pytest

from lit_pure.study.claims import Scores, by_picture, judge_claims, mean, spread
from lit_pure.study.plan import Claim
from lit_pure.study.score_files import Scored


def seeds(offset: float, count: int = 2, pictures: int = 50) -> list[dict[str, Scored]]:
    """PSNR and NIQE of pictures that differ by 3 dB from each other, `offset` above those of another arm."""
    rng = np.random.default_rng(1)
    base = rng.normal(20, 3, pictures)
    noise = np.random.default_rng(int(100 * abs(offset)) + 2).normal(0, 0.1, (count, pictures))
    return [
        {f"p{i}": Scored("0", {"psnr": value, "niqe": value}) for i, value in enumerate(base + offset + noise[at])}
        for at in range(count)
    ]


SCORES: Scores = {("a", "one"): seeds(0.0), ("b", "one"): seeds(-0.5), ("c", "one"): seeds(0.01)}


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        (Claim("psnr", "a", "b"), "holds"),
        (Claim("psnr", "b", "a"), "does not hold"),
        (Claim("niqe", "b", "a"), "holds"),
        (Claim("niqe", "a", "b"), "does not hold"),
        (Claim("psnr", "a", "b", 0.3), "holds"),
        (Claim("psnr", "a", "b", 0.8), "does not hold"),
        (Claim("psnr", "b", "a", -0.8), "holds"),
        (Claim("niqe", "a", "b", -0.8), "holds"),
        (Claim("niqe", "a", "b", -0.2), "does not hold"),
        (Claim("psnr", "c", "a"), "is left open"),
    ],
)
def test_a_claim_is_judged_by_the_interval_beyond_what_is_claimed(claim: Claim, answer: str) -> None:
    [verdict] = judge_claims([claim], SCORES, ["one"])
    assert verdict.answer == answer
    assert verdict.seeds == (2, 2) and verdict.difference.n == 50


def test_pictures_that_one_arm_lacks_are_left_out_and_absent_sets_too() -> None:
    fewer = [{name: one for name, one in seed.items() if name != "p7"} for seed in seeds(-0.5)]
    claims = [Claim("psnr", "a", "b")]
    [verdict] = judge_claims(claims, {("a", "one"): seeds(0.0), ("b", "one"): fewer}, ["one", "two"])
    assert verdict.difference.n == 49 and verdict.wins == 49
    assert judge_claims(claims, {("a", "one"): seeds(0.0)}, ["one"]) == []


def test_a_picture_counts_once_with_the_mean_of_its_seeds() -> None:
    two = [{"x": Scored("0", {"psnr": 20.0})}, {"x": Scored("0", {"psnr": 22.0})}]
    assert by_picture(two, "psnr") == {"x": 21.0}
    assert spread(two, "psnr") == 2.0
    assert mean(two, "psnr").mean == 21.0 and not mean(two, "psnr").known
    assert by_picture([{"x": Scored("0", {"psnr": float("nan")})}], "psnr") == {}
