"""Scores of what is shown, against a closed form: PSNR of a grey picture that was made brighter."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from lit_pure.images.io import read_bytes, to_bytes
from lit_pure.lit import scoring
from lit_pure.lit.callbacks.metrics import RestorationMetrics
from lit_pure.lit.callbacks.pictures import EntropyMap, ImageGrid
from lit_pure.lit.callbacks.save_pictures import SavePictures
from lit_pure.lit.scoring import Scorers
from lit_pure.metrics.files import MissingWeights, path_of
from lit_pure.metrics.score import Scorer
from lit_pure.metrics.table import METRICS
from tests.lit.callbacks.foreign import Brightener, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def psnr(index: int) -> float:
    """[dB] of the luma, whose studio range is 219 of 255 levels wide, of picture `index`: 10 (index + 1) levels off."""
    return -20 * math.log10(219 / 255 * 10 * (index + 1) / 255)


def mean(indices: range) -> float:
    return sum(psnr(index) for index in indices) / len(indices)


def column(folder: Path, name: str) -> dict[int, float]:
    """Step -> value."""
    path = folder / "run" / "version_0" / "metrics.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    return {} if name not in table else dict(table.dropna(subset=[name]).set_index("step")[name])


def test_validation_and_test_log_the_mean_of_all_pictures(tmp_path: Path) -> None:
    house, module = (
        trainer(tmp_path, [RestorationMetrics(["psnr"], sets=["hard"])], num_sanity_val_steps=2),
        Brightener(),
    )
    house.fit(module, loader(), loader(7))
    house.test(module, [loader(3), loader(2)], verbose=False)
    assert column(tmp_path, "val/psnr") == {3: pytest.approx(mean(range(7)), abs=1e-3)}
    assert column(tmp_path, "test/hard/psnr") == {4: pytest.approx(mean(range(3)), abs=1e-3)}
    assert column(tmp_path, "test/1/psnr") == {4: pytest.approx(mean(range(2)), abs=1e-3)}


def test_pictures_of_an_earlier_batch_do_not_count_again(tmp_path: Path) -> None:
    house = trainer(tmp_path, [RestorationMetrics(["psnr"])], max_epochs=2)
    module = Brightener(only_first=True)
    house.fit(module, loader(2), loader(7))
    assert list(column(tmp_path, "val/psnr").values()) == [pytest.approx(mean(range(2)), abs=1e-3)] * 2


def test_a_sample_that_a_sampler_repeats_counts_once(tmp_path: Path) -> None:
    repeated = [loader(4).dataset[index] for index in (0, 1, 2, 0)]
    house = trainer(tmp_path, [RestorationMetrics(["psnr"])])
    house.test(Brightener(), torch.utils.data.DataLoader(repeated, batch_size=2), verbose=False)  # type: ignore[arg-type]
    assert list(column(tmp_path, "test/0/psnr").values()) == [pytest.approx(mean(range(3)), abs=1e-3)]


def test_several_validation_sets_have_a_figure_each(tmp_path: Path) -> None:
    class Two(Brightener):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    trainer(tmp_path, [RestorationMetrics(["psnr"])]).validate(Two(), [loader(3), loader(7)], verbose=False)
    assert not column(tmp_path, "val/psnr")
    for number, count in enumerate((3, 7)):
        found = list(column(tmp_path, f"val/{number}/psnr").values())
        assert found == [pytest.approx(mean(range(count)), abs=1e-3)]


def test_a_second_validation_of_the_same_weights_is_scored(tmp_path: Path) -> None:
    house, module = trainer(tmp_path, [RestorationMetrics(["psnr"])]), Brightener()
    for count in (2, 3):
        (found,) = house.validate(module, loader(count), verbose=False)
        assert found["val/psnr"] == pytest.approx(mean(range(count)), abs=1e-3)


def test_a_picture_that_is_not_finite_is_named_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Brightener):
        def _look(self, batch: dict[str, Any]) -> None:
            super()._look(batch)
            self.shown["restored"][batch["index"] == 1, 0, 0, 0] = float("nan")

    callbacks = [RestorationMetrics(["psnr"]), ImageGrid(), EntropyMap(), SavePictures(tmp_path / "images")]
    trainer(tmp_path, callbacks).test(Broken(), loader(3), verbose=False)
    expected = pytest.approx((psnr(0) + psnr(2)) / 2, abs=1e-3)
    assert list(column(tmp_path, "test/0/psnr").values()) == [expected]
    assert "picture 1 of a batch of test/0 is not counted: 1 of 3072 pixel values are NaN or infinite" in caplog.text
    assert "photo1, restored: NaN and infinite pixel values are written as black" in caplog.text
    left = read_bytes(tmp_path / "images" / "0" / "restored" / "photo1.png")
    assert left[0, 0, 0] == 0 and left[0, 0, 1] > 0


def test_ready_networks_are_used_and_leave_the_device_between_validations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Scorers(["psnr"])
    (metric,) = shared.image_metrics().values()
    moved: list[tuple[Scorer, Any]] = []
    monkeypatch.setattr(Scorer, "to", lambda self, device: moved.append((self, device)))
    measured = RestorationMetrics(["psnr"], scorers=shared)
    trainer(tmp_path, [measured]).validate(Brightener(), loader(2), verbose=False)
    here = torch.device("cpu")
    assert moved == [(metric._scorer, here), (metric._scorer, here), (metric._scorer, "cpu")], "two pictures, then away"


def test_validations_are_scored_every_given_number_of_steps(tmp_path: Path) -> None:
    house = trainer(tmp_path, [RestorationMetrics(["psnr"], every=4)], max_epochs=7)
    house.fit(Brightener(), loader(4), loader(2))  # two steps an epoch
    assert list(column(tmp_path, "val/psnr")) == [1, 5, 9, 13]


@pytest.mark.parametrize(("stages", "keys"), [(["val"], {"val/psnr"}), (["test"], {"test/0/psnr"})])
def test_metrics_are_computed_in_the_given_stages_only(stages: list[str], keys: set[str], tmp_path: Path) -> None:
    house, module = trainer(tmp_path, [RestorationMetrics(["psnr"], stages=stages)]), Brightener()
    house.fit(module, loader(2), loader(2))
    house.test(module, loader(2), verbose=False)
    assert {key for key in ("val/psnr", "test/0/psnr") if column(tmp_path, key)} == keys


def test_pictures_without_truth_and_stand_ins_have_no_psnr(tmp_path: Path) -> None:
    house, module = trainer(tmp_path / "a", [RestorationMetrics(["psnr"])]), Brightener(truth=False)
    house.fit(module, loader(2), loader(2))
    assert not column(tmp_path / "a", "val/psnr")
    items: list[Any] = [{**loader(3).dataset[index], "unreadable": "x" if index == 1 else ""} for index in range(3)]
    house = trainer(tmp_path / "b", [RestorationMetrics(["psnr"])])
    house.test(Brightener(), torch.utils.data.DataLoader(items, batch_size=3), verbose=False)
    expected = (psnr(0) + psnr(2)) / 2
    assert list(column(tmp_path / "b", "test/0/psnr").values()) == [pytest.approx(expected, abs=1e-3)]


def test_a_flat_picture_has_no_niqe_and_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise_2 = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    noise_2[0] = 0.5
    house, module = trainer(tmp_path, [RestorationMetrics(["niqe"])]), Brightener()
    module._look = lambda batch: setattr(module, "shown", {"restored": noise_2})  # type: ignore[method-assign]
    house.test(module, loader(2), verbose=False)
    (score,) = column(tmp_path, "test/0/niqe").values()
    as_file = to_bytes(noise_2[1:]).float() / 255
    assert score == pytest.approx(Scorer("niqe").scores(as_file).item(), abs=1e-4)
    assert "picture 0 of a batch of test/0 has no niqe" in caplog.text


def test_a_training_sees_nothing_of_what_a_metric_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Drawn(Scorer):
        def __init__(self, key: str) -> None:
            super().__init__(key)
            torch.rand(5)  # as a network does whose weights are read afterwards

    monkeypatch.setattr(scoring, "Scorer", Drawn)

    def drawn(callbacks: Callable[[], list[Any]], folder: Path) -> torch.Tensor:
        torch.manual_seed(0)
        trainer(folder, callbacks()).validate(Brightener(), loader(2), verbose=False)
        return torch.rand(3)

    alone, scored = drawn(list, tmp_path / "a"), drawn(lambda: [RestorationMetrics(["psnr"])], tmp_path / "b")
    assert torch.equal(alone, scored)


def test_metrics_that_cannot_score_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="did you mean psnr"):
        RestorationMetrics(["psrn"])
    with pytest.raises(ValueError, match="fid does not score single pictures"):
        RestorationMetrics(["psnr", "fid"])
    with pytest.raises(ValueError, match="every = 0"):
        RestorationMetrics(["psnr"], every=0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    with pytest.raises(MissingWeights, match="musiq"):
        trainer(tmp_path, [RestorationMetrics(["musiq"])]).fit(Brightener(), loader(2), loader(2))
    damaged = path_of(METRICS["musiq"].files[0])
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"half")
    house = trainer(tmp_path, [RestorationMetrics(["musiq"])])
    with pytest.raises(ValueError, match="which musiq reads, is damaged"):
        house.fit(Brightener(), loader(2), loader(2))
    assert house.global_step == 0
