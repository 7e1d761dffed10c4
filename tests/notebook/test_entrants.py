"""Who can be compared with whom, and on which pictures."""

import shutil

import pytest
import torch

from lit_pure.images.geometry import resize
from lit_pure.notebook.entrants import (
    choose_two,
    find_entrants,
    group_comparable,
    paired_scores,
    read_picture,
    reason_not_comparable,
)
from lit_pure.notebook.style import GREY, colors_of

GOOD, POOR = (26.0, 27.0, 25.0, 28.0, 26.0, 29.0), (25.0, 28.0, 24.0, 27.0, 26.0, 20.0)


def test_runs_of_the_same_pictures_share_one_bicubic(make_run):
    found = find_entrants([make_run("a", GOOD), make_run("b", POOR), make_run("old")])
    assert list(found) == ["bicubic", "a/version_0", "b/version_0"]


def test_a_run_has_the_colour_of_its_curves(make_run):
    made = [make_run("old"), make_run("a", GOOD)]
    found = find_entrants(made)
    assert found["a/version_0"].color == colors_of([run.label for run in made])["a/version_0"]
    assert found["bicubic"].color == GREY


def test_another_lq_picture_is_another_bicubic_and_is_not_compared(make_run):
    found = find_entrants([make_run("a", GOOD), make_run("b", POOR, bicubic=(19.0,) * 6)])
    assert list(found) == ["bicubic", "bicubic of b/version_0", "a/version_0", "b/version_0"]
    assert "LQ pictures" in reason_not_comparable(found["a/version_0"], found["b/version_0"])
    with pytest.raises(ValueError, match="LQ pictures"):
        paired_scores(found["a/version_0"], found["b/version_0"], "psnr")
    assert [one.label for one in choose_two(found)] == ["b/version_0", "bicubic of b/version_0"]


def test_crops_of_another_size_are_not_compared(make_run):
    found = find_entrants([make_run("a", GOOD), make_run("b", POOR, overrides=["data.size=64"])])
    with pytest.raises(ValueError, match="64 px, not 32 px"):
        paired_scores(found["a/version_0"], found["b/version_0"], "psnr")


def without_bicubic(run):
    path = run.folder / "scores.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if ",bicubic," not in line) + "\n")
    return run


def test_without_bicubic_the_kept_pictures_tell(make_run):
    one, two, three = (
        without_bicubic(make_run(name, GOOD, truth=truth)) for name, truth in (("a", 0), ("b", 0), ("c", 1))
    )
    a, b, c = find_entrants([one, two, three]).values()
    assert reason_not_comparable(a, b) == ""
    assert "HQ picture of demo/a differs" in reason_not_comparable(a, c)
    (two.folder / "images/demo/lq/f.png").write_bytes((two.folder / "images/demo/lq/e.png").read_bytes())
    assert "LQ picture of demo/f differs" in reason_not_comparable(a, b)
    shutil.rmtree(two.folder / "images")
    assert "it is unknown" in reason_not_comparable(a, b)
    with pytest.raises(ValueError, match="it is unknown"):
        paired_scores(a, b, "psnr")


def test_other_ground_truths_are_seen_though_bicubic_scores_the_same(make_run):
    found = find_entrants([make_run("a", GOOD), make_run("b", POOR, truth=1)])
    assert "HQ picture" in reason_not_comparable(found["a/version_0"], found["b/version_0"])


def test_a_tokenizer_is_in_a_block_of_its_own(make_run):
    vq = without_bicubic(make_run("vq", GOOD, experiment="tokenizer/nano", method="reconstructed"))
    found = group_comparable(
        find_entrants([vq, make_run("a", GOOD), make_run("b", POOR), make_run("c", POOR, truth=1)])
    )
    assert {name: list(block) for name, block in found.items()} == {
        "restored, 32 px": ["bicubic", "a/version_0", "b/version_0"],
        "restored, 32 px, different pictures (1)": ["c/version_0"],
        "reconstructed, 32 px": ["vq/version_0 (reconstructed)"],
    }


def test_one_test_set_at_a_time(make_run):
    a, b = (find_entrants([make_run(name, GOOD, more=(30.0, 40.0))])[f"{name}/version_0"] for name in "ab")
    assert list(paired_scores(a, b, "psnr").index) == [("demo", image) for image in "abcdef"]
    assert paired_scores(a, b, "psnr", "second")["first"].tolist() == [30.0, 40.0]
    with pytest.raises(ValueError, match="no test set third in common"):
        paired_scores(a, b, "psnr", "third")


def test_the_last_two_are_compared_and_one_alone_with_bicubic(make_run):
    one, two = make_run("a", GOOD), make_run("b", POOR)
    assert [entrant.label for entrant in choose_two(find_entrants([one, two]))] == ["b/version_0", "a/version_0"]
    assert [entrant.label for entrant in choose_two(find_entrants([one]))] == ["a/version_0", "bicubic"]


def test_scores_are_matched_by_picture(make_run):
    found = find_entrants([make_run("a", GOOD), make_run("b", POOR[:4])])
    table = paired_scores(found["a/version_0"], found["b/version_0"], "psnr")
    assert table["difference"].tolist() == [1.0, -1.0, 1.0, 1.0]
    assert table["gain"].tolist() == table["difference"].tolist()
    with pytest.raises(ValueError, match="no scores of ssim; it has psnr"):
        paired_scores(found["a/version_0"], found["b/version_0"], "ssim")


def test_the_gain_of_a_metric_where_less_is_better_is_turned_round(make_run):
    run = make_run("a", GOOD)
    path = run.folder / "scores.csv"
    path.write_text(path.read_text().replace("image,psnr", "image,niqe"))
    found = find_entrants([run])
    table = paired_scores(found["a/version_0"], found["bicubic"], "niqe")
    assert table["difference"].tolist() == [6.0, 6.0, 3.0, 5.0, 2.0, 4.0]
    assert table["gain"].tolist() == [-6.0, -6.0, -3.0, -5.0, -2.0, -4.0]


def test_bicubic_is_made_from_the_lq_picture(make_run):
    run = make_run("a", GOOD)
    made = find_entrants([run])["bicubic"].picture("demo", "b")
    assert torch.equal(made, resize(read_picture(run, "demo", "lq", "b")[None], 32, 32)[0])
    assert find_entrants([run])["a/version_0"].picture("demo", "not there") is None


def test_without_scores_it_is_said_what_to_do(make_run):
    with pytest.raises(ValueError, match="no scores.csv in old/version_0.*make the run again"):
        find_entrants([make_run("old")])
