"""Scores of sets and methods: the same on one process and on two, by Lightning's Trainer; what counts and what not."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from lit_pure.lit import scores
from lit_pure.lit.data import Batch
from lit_pure.lit.scores import Scores
from lit_pure.metrics.metric import ImageMetric
from lit_pure.metrics.rows import read_rows
from lit_pure.metrics.score import Scorer
from tests.forks import together
from tests.lit.two_processes import Means, run


def photo(path: Path, side: int, seed: int) -> None:
    """A smooth picture with some texture, which NIQE can score."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 215, (8, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((smooth + random.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photographs, one of them flat and one damaged, and three LQ pictures; tested on one process and on two."""
    made = tmp_path_factory.mktemp("test")
    for place in range(7):
        photo(made / "hq" / f"p{place}.png", 100 + place, place)
    Image.new("RGB", (99, 99), (90, 120, 60)).save(made / "hq" / "p3.png")
    damaged = made / "hq" / "p4.png"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    for place in range(3):
        photo(made / "lq" / f"l{place}.png", 24, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "Frechet", Means)
        run(made, 1)
    together(Path(__file__).with_name("two_processes.py"), made, 2)
    return made


def found(folder: Path, count: int, rank: int = 0) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{count}_{rank}.json").read_text())
    return content


def test_two_processes_write_and_log_what_one_does(folder: Path) -> None:
    assert (folder / "2.csv").read_bytes() == (folder / "1.csv").read_bytes()
    alone = found(folder, 1)
    for rank in range(2):
        assert found(folder, 2, rank) == alone, "to the last bit, on every process"


def test_every_picture_has_a_row_in_the_order_of_the_set_and_means_are_theirs(folder: Path) -> None:
    table = read_rows(folder / "1.csv")
    photos = [f"p{place}" for place in (0, 1, 2, 3, 5, 6)]  # nothing is said of what a damaged one was replaced by
    expected = [("given", method, f"l{place}") for method in ("bicubic", "restored") for place in range(3)]
    expected += [("photos", method, name) for method in ("bicubic", "restored") for name in photos]
    assert list(table[["test_set", "method", "image"]].itertuples(index=False, name=None)) == expected
    flat = table["image"] == "p3"
    assert (table["niqe"].isna() == flat).all() and (table["psnr"].isna() == (table["test_set"] == "given")).all()
    means = found(folder, 1)["means"]
    for (test_set, method), rows in table.groupby(["test_set", "method"]):
        for key in ("psnr", "niqe"):
            name = f"test/{test_set}/{'bicubic_' if method == 'bicubic' else ''}{key}"
            if rows[key].notna().any():
                assert means.pop(name) == pytest.approx(rows[key].mean(), rel=1e-12)
    assert set(means) == {"test/photos/fid", "test/photos/bicubic_fid"} and min(means.values()) > 0
    logged = found(folder, 1)["logged"]
    assert logged == pytest.approx(found(folder, 1)["means"], rel=1e-6)


def batch(count: int, flat: tuple[int, ...] = (), **more: Any) -> Batch:
    """Noisy pictures of 96 px (B, 3, 96, 96), some of them flat."""
    generator = torch.Generator().manual_seed(0)
    pictures = 0.2 + 0.6 * torch.rand(count, 3, 96, 96, generator=generator)
    pictures[list(flat)] = 0.5
    made: Any = {"hq_B3HW": pictures, "name": [f"n{row}" for row in range(count)], "index": torch.arange(count), **more}
    return made


def blurred(given: Batch) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(given["hq_B3HW"], 3, 1, 1)


class Plain(LightningModule):
    """Anybody's module: a metric as an attribute, logged as torchmetrics' are."""

    def __init__(self) -> None:
        super().__init__()
        self.psnr = ImageMetric("psnr")
        self.batches: list[float] = []

    def test_step(self, pair: list[torch.Tensor], batch_idx: int) -> None:
        self.batches.append(float(self.psnr(*pair)))
        self.log("psnr", self.psnr)


def test_a_metric_is_logged_and_begins_anew_in_any_lightning_module() -> None:
    true = batch(3)["hq_B3HW"]
    pairs = TensorDataset(blurred(batch(3)), true)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer, module = Trainer(accelerator="cpu", **quiet), Plain()
    expected = Scorer("psnr").scores(*pairs.tensors).tolist()
    for _ in range(2):
        trainer.test(module, DataLoader(pairs, batch_size=1), verbose=False)
        assert float(trainer.callback_metrics["psnr"]) == pytest.approx(np.mean(expected), abs=1e-12)
    assert module.batches == [*expected, *expected] and not module.state_dict() and not module.psnr.rows()


def test_an_image_without_a_score_is_named_and_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    made = Scores(["web"], ["psnr", "niqe"], ["restored"])
    given = batch(3, flat=(1,))
    pred = given["hq_B3HW"]
    with caplog.at_level(logging.WARNING):
        made.update(0, "restored", pred, given)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["n1, restored has no niqe"]
    made.compute()
    assert [sorted(row.scores) for row in made.rows] == [["niqe", "psnr"], ["psnr"], ["niqe", "psnr"]]


def test_a_picture_that_is_not_finite_is_named_and_spoils_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "Frechet", Means)
    made, given = Scores(["web"], ["psnr", "fid"], ["restored"]), batch(4)
    pred = blurred(given)
    pred[2, 0, 5, 5] = float("inf")
    made.update(0, "restored", pred, given)
    words = "n2, restored is not counted: 1 of 27648 pixel values are NaN or infinite"
    assert [record.getMessage() for record in caplog.records] == [words]
    means = made.compute()
    assert [sorted(row.scores) for row in made.rows] == [["psnr"], ["psnr"], [], ["psnr"]]
    assert np.isfinite([means["test/web/psnr"], means["test/web/fid"]]).all()


def test_stand_ins_are_not_counted_and_a_test_begins_anew() -> None:
    made = Scores(["web"], ["psnr"], ["restored"])
    given = batch(3, unreadable=["", "damaged.png", ""])
    made.update(0, "restored", blurred(given), given)
    first = made.compute()
    assert [row.image for row in made.rows] == ["n0", "n2"]
    made.update(0, "restored", given["hq_B3HW"], given)
    assert made.compute() == first, "each sample once"
    made.reset()
    assert (made.means, made.rows) == ({}, [])
    made.update(0, "restored", given["hq_B3HW"], given)
    assert made.compute()["test/web/psnr"] == pytest.approx(80)


def test_the_border_is_cut_off_before_anything_is_scored() -> None:
    given = batch(2)
    pred = blurred(given)
    pred[..., :4] = 0
    whole, inner = Scores(["web"], ["psnr"], ["restored"]), Scores(["web"], ["psnr"], ["restored"], border=4)
    for made in (whole, inner):
        made.update(0, "restored", pred, given)
    inside = [image[..., 4:-4, 4:-4].mul(255).round() / 255 for image in (pred, given["hq_B3HW"])]
    assert inner.compute()["test/web/psnr"] == pytest.approx(Scorer("psnr").scores(*inside).mean().item())
    assert inner.means["test/web/psnr"] > whole.compute()["test/web/psnr"] + 1


def test_all_metrics_of_a_key_share_one_network_and_nothing_seen_is_no_figure() -> None:
    made = Scores(["a", "b"], ["psnr"], ["restored", "bicubic"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made.compute() == {} and made.rows == []
    assert len(made._images) == 4 and len({id(metric._scorer) for metric in made._images.values()}) == 1
