"""The finished runs that come with the project: whole, what their cards say, and good enough for what they are for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.commands import restore
from lit_pure.config.compose import compose, locate, override
from lit_pure.config.data import PhotosConfig
from lit_pure.config.dem import LEVELS, DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import PureExperiment
from lit_pure.convert import fetch
from lit_pure.degradation.weights import load_dem
from lit_pure.images.files import list_images
from lit_pure.images.io import read_image
from lit_pure.lit.data import DegradationPairs, DegradeAndScore, PhotoDataModule, Transform
from lit_pure.lit.modules import build_module
from lit_pure.lit.pure import ARModule
from lit_pure.metrics.score import Scorer
from lit_pure.models import weights
from lit_pure.restoring.reconstruct import CodeUse, reconstruct_files
from lit_pure.runs import folder as runs

pytestmark = pytest.mark.shipped
SHIPPED = sorted(path.parent for path in runs.SHIPPED_ROOT.rglob("summary.json"))


def test_the_estimator_that_nano_and_demo_use_is_shipped() -> None:
    for name in ("pure/nano", "demo"):
        need = compose(name).needs.dem
        assert need == "dem/bsds500/shipped" == runs.require(need).label


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: str(path.parent.relative_to(runs.SHIPPED_ROOT)))
def test_a_shipped_run_is_whole_small_and_explains_itself(folder: Path) -> None:
    run = runs.Run(folder)
    name = run.label.removesuffix("/shipped")
    assert run.experiment().name in {name, f"{name}_long", f"{name}_gpu", f"{name}/stage2"}
    assert weights.verify(run.weights), "digests are recorded and agree"
    assert all(path.stat().st_size < 16e6 for path in run.weights.iterdir())
    card = (folder / "README.md").read_text()
    assert " ".join(run.provenance()["command"][:3]) in card, "the command it was trained with"
    for path in [*folder.rglob("*.json"), folder / "config.yaml", folder / "README.md"]:
        assert not re.search(r"(?<![\w.)])/\w+/", path.read_text()), "no path of the machine that made it"


def test_all_shipped_weights_together_are_small() -> None:
    files = [path for folder in SHIPPED for path in (folder / "weights").glob("*.safetensors")]
    assert sum(path.stat().st_size for path in files) <= 80e6


@pytest.mark.parametrize(("name", "tokenizer"), [("nano", "nano"), ("nano_photo", "nano_photo")])
def test_a_backbone_is_shipped_with_all_that_it_stands_on(name: str, tokenizer: str) -> None:
    run = runs.require(f"pure/{name}/shipped")
    needs = run.needs()
    assert needs == {"tokenizer": f"tokenizer/{tokenizer}/shipped", "dem": "dem/bsds500/shipped"}
    assert all(runs.require(need).shipped for need in needs.values())
    sampled = fetch.list_needs(override(compose(f"pure/{name}"), [f"needs.weights={run.label}"]))
    assert {need.name.removesuffix("/shipped"): need.state for need in sampled} == {
        label.removesuffix("/shipped"): "ok" for label in (*needs.values(), run.label)
    }
    experiment, asked = run.experiment(), compose(f"pure/{name}")
    assert isinstance(experiment, PureExperiment) and isinstance(asked, PureExperiment)
    assert experiment.backbone == asked.backbone
    trained, data = experiment.data, asked.data
    assert trained.degradation == data.degradation and trained.size == data.size
    assert replace(trained.train, crops=0) == replace(data.train, crops=0)
    assert experiment.sampling == asked.sampling
    assert experiment.restoring == replace(asked.restoring, color_fix="wavelet")


def test_the_demo_starts_from_nano_and_photographs_are_restored_by_the_one_that_sees_them() -> None:
    demo = compose("demo").needs
    assert demo.start == "pure/nano/shipped" and demo.tokenizer == runs.require(demo.start).needs()["tokenizer"]
    experiment = runs.require(restore.RUN).experiment()
    assert isinstance(experiment, PureExperiment)
    assert experiment.restoring.fidelity == 0.25 and experiment.restoring.tiles == "continue"


def test_the_shipped_tokenizer_has_the_psnr_of_its_card(shared: Path) -> None:
    """Of the first 20 test photographs of BSDS500, through reconstruct's own code; all 200 are in the card."""
    tokenizer = weights.load_tokenizer(runs.require("tokenizer/nano/shipped").weights)
    paths = list_images(shared / "bsds500" / "test")[:20]
    use = CodeUse(tokenizer.config.codes)
    found = [outcome.scores["psnr"] for outcome in reconstruct_files(tokenizer, paths, [Scorer("psnr")], use, tile=512)]
    assert len(found) == 20 and sum(found) / 20 > 24


def test_the_decoder_that_sees_the_photograph_has_the_codes_of_nano_and_begins_near_the_photograph() -> None:
    nano, photo = (
        weights.load_tokenizer(runs.require(f"tokenizer/{name}/shipped").weights) for name in ("nano", "nano_photo")
    )
    image_13HW = read_image(locate("data/photos/chelsea.png"))[None, :, :72, :112]
    codes_1hw = nano.encode(image_13HW)
    assert torch.equal(photo.encode(image_13HW), codes_1hw)
    distances = [float((photo.decode(codes_1hw, image_13HW, share) - image_13HW).abs().mean()) for share in (0, 0.5, 1)]
    assert distances == sorted(distances, reverse=True) and distances[2] < 0.07


@pytest.mark.parametrize("name", ["nano", "nano_photo"])
def test_a_shipped_backbone_predicts_codes_of_photographs_that_it_was_not_trained_on(name: str) -> None:
    """Cross entropy of codes on crops of scikit-image's photographs; guessing among 4,096 codes is 8.3 nats."""
    run = runs.require(f"pure/{name}/shipped")
    experiment = run.experiment()
    assert isinstance(experiment, PureExperiment)
    needs = {name: runs.require(need) for name, need in run.needs().items()} | {"weights": run}
    module, transform = build_module(experiment, needs)
    assert isinstance(module, ARModule)
    captions = experiment.data.val.captions
    photos = PhotosConfig(source="skimage", names=["chelsea", "coffee"], crops=4, captions=captions)
    [batch] = batches(experiment, photos, transform)
    with torch.no_grad():
        _, found_23B, _ = module._loss(batch, [False] * 8)  # type: ignore[arg-type]
    assert float(found_23B[0, 2].sum() / found_23B[1, 2].sum()) < 6.0


@pytest.fixture(scope="module")
def estimator_data(shared: Path) -> tuple[DemExperiment, PhotosConfig]:
    experiment = runs.require("dem/bsds500/shipped").experiment()
    assert isinstance(experiment, DemExperiment)
    return experiment, PhotosConfig(source=str(shared / "bsds500" / "test"), crops=4)


def batches(
    experiment: Experiment, photos: PhotosConfig, transform: Transform, seed: int = 0
) -> "list[dict[str, object]]":
    """All batches of a held-out set, as a test sees them."""
    config = replace(experiment.data, test={"held_out": photos}, num_workers=0)
    data = PhotoDataModule(config, seed, transform, trains=False)
    return [dict(data.on_after_batch_transfer(batch, 0)) for batch in data.test_dataloader()[0]]


def test_the_shipped_estimator_ranks_held_out_pairs_as_its_card_says(
    estimator_data: tuple[DemExperiment, PhotosConfig],
) -> None:
    """800 pairs that differ in one factor only, of photographs that were not trained on: the figures of the card.

    The draws are those of seed 0, the experiment's. Over 200 of them (one crop per photograph) noise is 0.945.
    """
    experiment, photos = estimator_data
    dem = load_dem(runs.require("dem/bsds500/shipped").weights)
    right: list[torch.Tensor] = []
    for batch in batches(experiment, photos, DegradationPairs(experiment.data.degradation)):
        scores_24B = dem.grade(batch["pairs"])  # type: ignore[arg-type]
        right.append((scores_24B[:, 2] > scores_24B[:, 1]).float())
    blur, noise = torch.cat(right, dim=1).mean(1).tolist()
    assert noise >= 0.95 and blur >= 0.90
    stated = runs.require("dem/bsds500/shipped").summary()
    for factor, share in (("blur", blur), ("noise", noise)):
        assert share == pytest.approx(stated[f"test/bsds500/{factor}_accuracy"], abs=0.004), "but for rounding"


def test_labels_of_the_shipped_estimator_are_a_third_each_on_held_out_photographs(
    estimator_data: tuple[DemExperiment, PhotosConfig],
) -> None:
    experiment, photos = estimator_data
    dem = load_dem(runs.require("dem/bsds500/shipped").weights)
    degradation = experiment.data.degradation
    transform = DegradeAndScore(degradation, dem, experiment.data.size // degradation.scale)
    found = batches(experiment, photos, transform)
    labels = [pair for batch in found for pair in batch["labels"]]  # type: ignore[attr-defined]
    for factor, levels in zip(("blur", "noise"), zip(*labels, strict=True), strict=True):
        for level in LEVELS:
            assert 0.28 <= levels.count(level) / len(levels) <= 0.39, (factor, level)
