"""Looking inside a run gives what its test saw, and what its restorer makes of it."""

import json
from dataclasses import replace

import pytest
import torch

from lit_pure.families.table import restorer_of
from lit_pure.images.io import from_bytes, read_image, to_bytes, write_png
from lit_pure.notebook import steps, tokens, variants
from lit_pure.notebook.subject import ask, known_pictures, open_file, open_test_picture
from lit_pure.runs import folder as runs


@pytest.fixture
def run(house):
    return runs.require("demo")


@pytest.fixture
def photo(run):
    return open_test_picture(run)


def as_file(image):
    return from_bytes(to_bytes(image))


def test_every_test_picture_is_the_one_that_the_run_restored(run):
    """Degradation, noise and decoding are those of the test: the files agree to rounding, the answer to the letter."""
    images = run.folder / "images"
    for name in known_pictures(run):
        test_set, _, image = name.partition("/")
        photo = open_test_picture(run, name)
        assert torch.equal(as_file(photo.lq_3hw), read_image(images / test_set / "lq" / f"{image}.png"))
        assert torch.equal(as_file(photo.hq_3HW), read_image(images / test_set / "hq" / f"{image}.png"))
        answer = ask(photo)
        restored = read_image(images / test_set / "restored" / f"{image}.png")
        torch.testing.assert_close(as_file(answer.image_3ss), restored, atol=1.5 / 255, rtol=0)
        lines = [json.loads(line) for line in (images / test_set / "answers.jsonl").read_text().splitlines()]
        [line] = [line for line in lines if line["image"] == image]
        text = photo.restorer.assembler.vocabulary.decode(answer.decoded.text[0]).strip()
        assert line["answer"] == text
        blur, noise = photo.judgement.levels
        assert line["degradation (DEM)"] == f"{blur.capitalize()} blur, {noise} noise."


def test_unknown_pictures_and_runs_that_restore_nothing_are_named(run):
    with pytest.raises(ValueError, match="no test picture demo/nobody; there are demo/"):
        open_test_picture(run, "demo/nobody")
    with pytest.raises(ValueError, match="family tokenizer, which restores nothing"):
        open_test_picture(runs.require("tokenizer/nano"))


def test_a_file_is_taken_as_it_is_or_degraded(run, tmp_path):
    size, scale = run.experiment().data.size, run.experiment().data.degradation.scale
    picture_3HW = torch.rand(3, size + 6, size + 20, generator=torch.Generator().manual_seed(0))
    write_png(path := tmp_path / "own.png", picture_3HW)
    middle_3HW = as_file(picture_3HW)[:, 3 : 3 + size, 10 : 10 + size]
    good = open_file(run, path, degrade=True)
    assert torch.equal(good.hq_3HW, middle_3HW) and good.lq_3hw.shape == (3, size // scale, size // scale)
    assert good.degradation is not None
    given = open_file(run, path)
    assert given.lq_3hw.shape[-1] == size // scale and given.hq_3HW is None and given.degradation is None
    write_png(path, picture_3HW[:, : size - 1])
    with pytest.raises(ValueError, match=f"own.png.*square of {size} px"):
        open_file(run, path, degrade=True)


def test_an_answer_is_the_restorers_own(run, photo):
    [restored] = restorer_of(run).restore(photo.lq_3hw[None], [photo.name])
    answer = ask(photo)
    torch.testing.assert_close(answer.image_3ss, restored.image_3HW)
    assert torch.equal(answer.entropy_hw, restored.maps["entropy"].values_hw)


def test_steps_and_words_name_the_same(photo):
    words = steps.in_words(photo.degradation)
    without = replace(
        photo.degradation, quality1=None, resize2=None, noise2=replace(photo.degradation.noise2, strength=0)
    )
    assert list(words)[:8] == ["sharpen", "blur 1", "resize 1", "noise 1", "JPEG 1", "blur 2", "resize 2", "noise 2"]
    assert f"{photo.degradation.resize1.factor:.2f}" in words["resize 1"]
    assert [step for step, told in steps.in_words(without).items() if told == "none"][:1] == ["JPEG 1"]
    assert steps.in_words(without)["resize 2"] == "none"
    titles = [place.get_title(loc="left") for place in steps.after_each_step(photo).axes]
    assert sum(told != "none" for told in words.values()) == len([title for title in titles if title]) - 2
    last = [place for place in steps.after_each_step(photo).axes if place.images][-1].images[0].get_array()
    torch.testing.assert_close(torch.tensor(last).permute(2, 0, 1), photo.lq_3hw)


def test_the_verdict_shows_scores_between_their_thresholds(photo):
    figure = steps.verdict(photo)
    place = figure.axes[0]
    assert [line.get_xdata()[0] for line in place.lines] == pytest.approx(list(photo.judgement.scores))
    edges = sorted(round(bar.get_x(), 6) for bar in place.patches)
    assert edges == sorted([0.0, 0.0] + [round(bound, 6) for bounds in photo.judgement.thresholds for bound in bounds])
    assert (
        steps.verdict(replace(photo, judgement=None))
        .axes[0]
        .texts[0]
        .get_text()
        .endswith("without a degradation estimator")
    )


def test_prompt_and_answer_are_a_sequence_that_the_assembler_reads(photo):
    answer = ask(photo)
    ids = [*tokens.prompt_ids(photo, answer), *tokens.answer_ids(photo, answer)]
    sample = photo.restorer.assembler.parse(torch.tensor(ids))
    assert torch.equal(sample.lq_codes_hw, answer.lq_codes_hw) and torch.equal(sample.hq_codes_hw, answer.codes_hw)


def test_pieces_hold_every_id_once_and_show_marks_and_codes(photo):
    vocabulary = photo.restorer.assembler.vocabulary
    ids = tokens.prompt_ids(photo, ask(photo))
    found = tokens.pieces(vocabulary, ids)
    assert [token for piece in found for token in piece.ids] == ids
    cells = photo.restorer.size // photo.restorer.tokenizer.downsample
    assert [piece.words for piece in found if piece.kind == "codes"] == [f"{cells} rows of {cells} codes and a newline"]
    side = f"{photo.restorer.size // 32} x 32 px"
    assert [piece.words for piece in found if piece.kind == "mark"] == [
        "<s>", "image begins", side, side, "image ends", "end of turn",
    ]  # fmt: skip
    text = "".join(piece.words for piece in found if piece.kind == "text")
    assert text.replace(" ", "") == vocabulary.decode(ids).replace(" ", "")


def test_words_of_the_model_cannot_become_markup(photo):
    answer = ask(photo)
    ids = photo.restorer.assembler.vocabulary.encode("a < b & c")
    spoken = replace(answer, decoded=replace(answer.decoded, text=[ids]))
    content = tokens.readable(photo, spoken)._repr_html_()
    assert "&lt;" in content and "&amp;" in content


def test_grids_write_every_code(photo):
    answer = ask(photo)
    figure = tokens.code_grids(photo, answer)
    shown = [[int(text.get_text()) for text in place.texts] for place in figure.axes]
    limited = [
        codes[: tokens.CELLS, : tokens.CELLS].flatten().tolist() for codes in (answer.lq_codes_hw, answer.codes_hw)
    ]
    assert shown == limited


def test_variants_differ_as_their_rules_do(photo):
    rules = variants.by_rule(photo)
    assert list(rules) == ["dynamic", "top1", "top2000"]
    greedy, again = rules["top1"], ask(photo, replace(photo.restorer.sampling, top_k="fixed", k=1, seed=5))
    assert torch.equal(greedy.codes_hw, again.codes_hw)  # the most likely code needs no noise
    draws = variants.by_seed(photo, [0, 1])
    assert torch.equal(draws["seed 0"].codes_hw, rules["dynamic"].codes_hw)
    assert not torch.equal(draws["seed 0"].codes_hw, draws["seed 1"].codes_hw)


def test_the_spread_is_that_of_the_pictures(photo):
    answer = ask(photo)
    shades = {
        str(shade): replace(answer, image_3ss=torch.full_like(answer.image_3ss, shade)) for shade in (0.2, 0.3, 0.7)
    }
    spread = variants.spread_of(shades)
    assert spread.mean_3ss == pytest.approx(0.4, abs=1e-6)
    # of 51, 76.5 and 178.5 levels: sqrt((51^2 + 25.5^2 + 76.5^2) / 2)
    assert spread.deviation_ss == pytest.approx(67.4671, abs=1e-3)
    with pytest.raises(ValueError, match="1 variants have no spread"):
        variants.spread_of({"one": answer})
