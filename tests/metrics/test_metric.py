"""Each sample counts once on any number of processes: two gloo ranks against one process, and torchmetrics' rules."""

import copy
import multiprocessing
import pickle
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed
from torchmetrics import MetricCollection

from lit_pure.datasets.order import InOrder
from lit_pure.metrics.metric import ImageMetric, SetMetric
from lit_pure.metrics.score import NotScorable, Scorer, distance

IMAGES = 7
FLAT = 3
"""An image that NIQE has no score for."""


class Means:
    """In the place of FID's network, whose weights are not at hand: means over a 2 x 2 grid, 12 features."""

    def features(self, images_B3HW: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images_B3HW, 2).flatten(1).double()


def photographs() -> tuple[Tensor, Tensor]:
    """Noisy images and the true ones; sample `FLAT` is a single colour."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 3, 12, 12, generator=generator)
    true = torch.nn.functional.interpolate(coarse, 96, mode="bicubic").clamp(0.2, 0.8)
    noisy = (true + 0.05 * torch.randn(true.shape, generator=generator)).clamp(0, 1)
    noisy[FLAT] = 0.5
    return noisy, true


def seen(metric: Any, samples: Iterable[int], numbered: bool = True) -> dict[str, Any]:
    """Samples one after the other, with their index or without; then the mean, rows, and what a second look gives."""
    pred, true = photographs()
    for sample in samples:
        try:
            index = torch.tensor([sample]) if numbered else None
            metric.update(pred[sample, None], true[sample, None], index)
        except NotScorable:
            assert sample == FLAT
    found = {"value": float(metric.compute())}
    return found | ({"rows": metric.rows(), "mean of rows": float(metric.compute())} if hasattr(metric, "rows") else {})


def everything(rank: int, world: int) -> dict[str, Any]:
    """All cases on one process of `world`."""
    mine = [index for _, index in InOrder(IMAGES, rank, world)]
    fid: Any = Means()
    pred, true = photographs()
    continued = ImageMetric("psnr")
    batches = [float(continued(pred[[sample]], true[[sample]], torch.tensor([sample]))) for sample in mine]
    before = float(continued.compute())
    if rank == 0:  # from here on the processes differ
        continued.update(pred[:1], true[:1])
    return {
        "psnr": seen(ImageMetric("psnr"), mine),
        "niqe": seen(ImageMetric("niqe"), mine),
        "fid": seen(SetMetric("fid", fid), mine),
        "psnr, all on the last process": seen(ImageMetric("psnr"), range(IMAGES) if rank == world - 1 else []),
        "fid, all on the last process": seen(SetMetric("fid", fid), range(IMAGES) if rank == world - 1 else []),
        "nothing": seen(ImageMetric("psnr"), []),
        "nothing, fid": seen(SetMetric("fid", fid), []),
        "one of a set": seen(SetMetric("fid", fid), [0] if rank == 0 else []),
        "without numbers": seen(ImageMetric("psnr"), mine, numbered=False),
        "continued": {"batches": batches, "before": before, **seen(continued, [])},
    }


def process(rank: int, world: int, meeting: Path) -> dict[str, Any]:
    """`everything` on one of several processes that meet at a file."""
    torch.set_num_threads(1)
    wait = timedelta(seconds=90)  # who waits for the other for ever has failed
    distributed.init_process_group("gloo", f"file://{meeting}", timeout=wait, world_size=world, rank=rank)
    try:
        return everything(rank, world)
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    meeting = tmp_path_factory.mktemp("gloo") / "meeting"
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        return [task.result() for task in [pool.submit(process, rank, 2, meeting) for rank in range(2)]]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What a single process found."""
    return everything(0, 1)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize(
    "case",
    ["psnr", "niqe", "fid", "psnr, all on the last process", "fid, all on the last process", "nothing", "nothing, fid"],
)
def test_two_processes_find_what_one_finds_to_the_last_bit(
    case: str, both: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    for found in both:
        assert repr(found[case]) == repr(alone[case])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_each_index_has_one_row_and_the_mean_is_that_of_the_rows(alone: dict[str, Any]) -> None:
    pred, true = photographs()
    expected = [(index, Scorer("psnr").scores(pred[[index]], true[[index]]).item()) for index in range(IMAGES)]
    assert alone["psnr"]["rows"] == expected
    assert (
        alone["psnr"]["value"] == alone["psnr"]["mean of rows"] == pytest.approx(np.mean([one for _, one in expected]))
    )
    assert [index for index, _ in alone["niqe"]["rows"]] == [index for index in range(IMAGES) if index != FLAT]
    assert alone["fid"]["value"] == distance(Means().features(pred), Means().features(true)) > 0
    assert alone["nothing"]["rows"] == [] and np.isnan(alone["nothing"]["value"])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_an_index_every_sample_counts(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    """Seven images on two processes are eight steps, of which sample 0 takes two."""
    scores = [score for _, score in alone["psnr"]["rows"]]
    for found in both:
        assert [index for index, _ in found["without numbers"]["rows"]] == [-1] * 8
        assert found["without numbers"]["value"] == pytest.approx(np.mean([*scores, scores[0]]), abs=1e-12)
    assert alone["without numbers"]["value"] == pytest.approx(np.mean(scores), abs=1e-12)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_forward_gives_the_value_of_its_batch_and_gathered_rows_do_not_stay(
    both: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    """Each process goes on with its own; one that has nothing new answers no old figure (the others would wait)."""
    scores = [score for _, score in alone["psnr"]["rows"]]
    assert alone["continued"]["batches"] == scores
    assert [found["continued"]["batches"] for found in both] == [scores[::2], [*scores[1::2], scores[0]]]
    for found in both:
        assert found["continued"]["before"] == alone["psnr"]["value"]
        assert repr(found["continued"]["rows"]) == repr([(-1, scores[0]), *enumerate(scores)])
        assert found["continued"]["value"] == pytest.approx(np.mean([*scores, scores[0]]), abs=1e-12)


def test_a_set_of_one_has_no_distance(alone: dict[str, Any], both: list[dict[str, Any]]) -> None:
    assert all(np.isnan(found["one of a set"]["value"]) for found in (alone, *both))


def test_an_image_without_a_score_loses_nothing_in_update_or_forward() -> None:
    pred, _ = photographs()
    metric = ImageMetric("niqe")
    metric.update(pred[:2])
    before = metric.compute()
    for step in (metric.update, metric):
        with pytest.raises(NotScorable, match="niqe"):
            step(pred[FLAT - 1 : FLAT + 1])
    assert len(metric.rows()) == 2 and metric.compute() == before
    metric.update(pred[4:5])
    assert len(metric.rows()) == 3 and metric.compute() != before


def test_a_metric_survives_copying_resetting_checkpoints_and_moving() -> None:
    pred, true = photographs()
    metric = ImageMetric("psnr")
    metric.update(pred, true, torch.arange(IMAGES))
    rows = metric.rows()
    twins: list[Any] = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.to("cpu").half().double()]
    for twin in twins:
        assert twin.rows() == rows and twin.compute().dtype == torch.float64
    twin = copy.deepcopy(metric)
    metric.reset()
    assert metric.rows() == [] and twin.rows() == rows
    module = torch.nn.ModuleDict({"psnr": twin}).to(torch.bfloat16)
    assert twin.rows() == rows, "a model's precision leaves scores alone"
    assert not module.state_dict() and not list(module.parameters()) and not list(module.buffers())


def test_a_collection_keeps_metrics_apart_that_begin_alike() -> None:
    """torchmetrics lets metrics of equal states share them from then on: grey images score alike in Y and RGB."""
    _, true = photographs()
    metrics = MetricCollection({"ssim": ImageMetric("ssim"), "rgb": ImageMetric("ssim-rgb")})
    metrics.update(true, true)
    assert metrics.compute()["ssim"] == metrics.compute()["rgb"]
    noisy = true.clone()
    noisy[:, 2] *= 0.5
    metrics.update(noisy, true)
    assert metrics.compute()["ssim"] != metrics.compute()["rgb"]


@pytest.mark.parametrize("index", [torch.tensor([0]), torch.tensor([0, -2]), torch.tensor([0.0, 1.0])])
def test_a_wrong_index_is_named_and_nothing_is_remembered(index: Tensor) -> None:
    pred, true = photographs()
    metric = ImageMetric("psnr")
    with pytest.raises(ValueError, match=r"expected index_B \(2,\) of whole numbers from 0, found"):
        metric.update(pred[:2], true[:2], index)
    assert metric.rows() == []


def test_metrics_of_images_and_of_sets_have_a_class_each() -> None:
    with pytest.raises(ValueError, match="use SetMetric"):
        ImageMetric("fid")
    with pytest.raises(ValueError, match="use ImageMetric"):
        SetMetric("psnr")
    with pytest.raises(ValueError, match="did you mean niqe"):
        ImageMetric("nique")
