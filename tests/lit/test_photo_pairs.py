"""How pictures are decoded while a decoder learns to see the photograph: shares by their odds, and what is trained."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.config.tokenizer import PairsConfig, TokenizerExperiment, VQConfig
from lit_pure.lit.data import Batch
from lit_pure.lit.photo_pairs import draw_pairs
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

COUNT, GRID = 2000, torch.Size((6, 6))
SMALL: dict[str, Any] = {
    "stem": 4,
    "channels": [32, 32],
    "res_blocks": 1,
    "attention": False,
    "z_channels": 8,
    "codes": 50,
}


def batch(first: int, count: int) -> Batch:
    index = torch.arange(first, first + count)
    return {"hq_B3HW": torch.zeros(count, 3, 1, 1), "epoch": torch.zeros_like(index), "index": index}


def test_shares_are_those_of_the_knobs() -> None:
    """Within 5 standard deviations of binomial and uniform means."""
    config = TokenizerExperiment(pairs=PairsConfig(share=0.7, full=0.6, lq_codes=0.3))
    drawn = draw_pairs(config, batch(0, COUNT), GRID)
    seen = drawn.fidelity_B > 0
    assert abs(int(seen.sum()) - 0.7 * COUNT) < 5 * (COUNT * 0.7 * 0.3) ** 0.5
    full = drawn.fidelity_B[seen] == 1
    assert abs(full.float().mean().item() - 0.6) < 5 * (0.6 * 0.4 / int(seen.sum())) ** 0.5
    between = drawn.fidelity_B[seen][~full]
    assert abs(between.mean().item() - 0.5) < 5 * (1 / 12 / len(between)) ** 0.5
    shares = drawn.from_lq_Bhw[seen].float().mean((1, 2)).numpy()
    assert abs(shares.mean() - 0.3) < 5 * shares.std() / len(shares) ** 0.5
    assert np.quantile(shares, 0.9) > 0.7 and np.quantile(shares, 0.1) < 0.05, "each picture draws its own share"
    assert not drawn.from_lq_Bhw[~seen].any(), "where nothing is seen, codes are all there is"
    assert torch.equal(drawn.seen_B, seen)


@pytest.mark.parametrize(("lq_codes", "mean"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_ends_take_all_cells_or_none(lq_codes: float, mean: float) -> None:
    config = TokenizerExperiment(pairs=PairsConfig(share=1.0, full=1.0, lq_codes=lq_codes))
    drawn = draw_pairs(config, batch(0, 20), GRID)
    assert bool((drawn.fidelity_B == 1).all()) and drawn.from_lq_Bhw.float().mean().item() == mean


def test_a_sample_s_draws_do_not_depend_on_its_batch() -> None:
    config = TokenizerExperiment(pairs=PairsConfig(share=0.7))
    whole, part = draw_pairs(config, batch(0, 9), GRID), draw_pairs(config, batch(4, 3), GRID)
    assert torch.equal(whole.fidelity_B[4:7], part.fidelity_B)
    assert torch.equal(whole.from_lq_Bhw[4:7], part.from_lq_Bhw)


@pytest.mark.parametrize(("share", "misread"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_codes_are_read_wrong_only_where_the_photograph_is_seen(share: float, misread: float) -> None:
    config = TokenizerExperiment(pairs=PairsConfig(share=share, misread=misread), vq=VQConfig(**SMALL))
    module = TokenizerModule(config)
    codes_Bhw = torch.randint(50, (40, 6, 6), generator=torch.Generator().manual_seed(0))
    pairs = draw_pairs(config, batch(0, 40), GRID)
    read_Bhw = module._misread(codes_Bhw, pairs.seen_B, batch(0, 40))
    changed = (read_Bhw != codes_Bhw).float().mean().item()
    assert 0.3 < changed < 0.7 if share and misread else changed == 0


@pytest.fixture
def trained(house: Path) -> Iterator[tuple[Run, Run]]:
    """The house's tokenizer, and one that goes on from it with another decoder."""
    start = runs.newest_finished("tokenizer/nano")
    assert start is not None
    command = ["run", "tokenizer/nano", f"needs.start={start.label}", "keep_codes=true", "vq.restart_every=0"]
    command += ["vq.decoder.channels=[8,8,8,8]", "vq.decoder.blocks=[1,0,0,0]", "vq.decoder.photo_channels=[8]"]
    command += [
        "pairs.share=0.7",
        "pairs.misread=1.0",
        "adversarial.weight=0.01",
        "adversarial.channels=4",
        "optim.lr=1e-2",
    ]
    assert main([*command, "trainer.resume=never"]) == 0
    made = runs.newest_finished("tokenizer/nano")
    assert made is not None and made.label != start.label
    yield start, made
    shutil.rmtree(made.folder)


def test_only_the_decoder_is_trained_where_codes_are_kept(trained: tuple[Run, Run]) -> None:
    old, new = (load_file(run.weights / "model.safetensors") for run in trained)
    kept = [name for name in old if not name.startswith(("decoder.", "from_code."))]
    assert kept and all(torch.equal(old[name], new[name]) for name in kept)
    assert float(new["decoder.transformations.0.out.weight"].abs().max()) > 0, "which begins at zero: it learned to see"
    assert trained[1].provenance()["needs"] == {"start": trained[0].label}
