"""A chain of small runs, from nothing by way of `needs`; and all that the house does with a family works on them."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.families.table import restorer_of
from lit_pure.images.io import read_bytes, write_png
from lit_pure.lit.modules import load_module
from lit_pure.lit.nsarm import NSARMModule
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from tests.forks import forked, ranks

NAME = "nsarm/nano"
STAGES = [f"{NAME}/{stage}" for stage in ("tokenizer", "pretrain", "stage1", "stage2")]


@pytest.fixture(scope="module")
def chain(built_house: Path) -> Iterator[Run]:
    """The run of all stages; gone, with what it needed, before other tests look for the newest run."""
    before = set(built_house.rglob("version_*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built_house)
        assert main(["run", NAME, "optim.ema=0.5"]) == 0
        yield runs.require(NAME)
    for folder in set(built_house.rglob("version_*")) - before:
        shutil.rmtree(folder)


def photo(path: Path, height: int, width: int) -> None:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(height))
    write_png(path, torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0])


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.weights / "model.safetensors")


def test_each_stage_was_made_once_and_the_last_one_tells_how_well_it_restores(chain: Run, house: Path) -> None:
    tokenizer, pretrain, stage1, _ = STAGES
    needs = {"tokenizer": tokenizer, "transformer": pretrain, "transformation": stage1}
    assert chain.recorded_needs() == {role: f"{name}/version_0" for role, name in needs.items()}
    assert chain.needs() == {"tokenizer": f"{tokenizer}/version_0"}, "the others are part of its weights"
    for name in needs.values():
        assert [run.folder.name for run in runs.versions(name)] == ["version_0"]
    summary = chain.summary()
    assert summary["test/demo/psnr"] > 5 and "test/demo/bicubic_psnr" in summary and summary["tokens_per_second"] > 0
    assert {name.split(".")[0] for name in weights(chain)} == {"transformer", "transformation"}


def test_stage_2_begins_with_what_the_earlier_ones_left(chain: Run, house: Path) -> None:
    """A step at a rate of nothing leaves the weights of both as they were."""
    assert main(["run", STAGES[3], "trainer.max_steps=1", "optim.lr=1e-12", "data.test.demo=null"]) == 0
    found = weights(runs.require(STAGES[3]))
    for name in STAGES[1:3]:
        for key, value in weights(runs.require(name)).items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-9)


def test_restore_report_gallery_and_bench(chain: Run, house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(house / "n.png", 40, 30)
    try:
        assert main(["restore", "n.png", "--run", NAME, "--out", "out_n"]) == 0
        assert read_bytes(Path("out_n/n.png")).shape == (3, 160, 120)
        first = read_bytes(Path("out_n/n.png"))
        command = ["restore", "n.png", "--run", NAME, "--out", "out_lq", "--set", "prefix.source=lq"]
        assert main([*command, "restoring.batch=1"]) == 0
        assert not torch.equal(read_bytes(Path("out_lq/n.png")), first)
        capsys.readouterr()
        assert main(["report"]) == 0 and f"{NAME}" in capsys.readouterr().out
        assert main(["gallery", NAME, "--out", "page_n"]) == 0
        assert main(["bench", "restore", "--run", NAME, "--repeat", "1", "--json", "cost_n.json"]) == 0
        assert '"scales"' in Path("cost_n.json").read_text()
    finally:
        for name in ("out_n", "out_lq", "page_n"):
            shutil.rmtree(name, ignore_errors=True)
        for name in ("n.png", "cost_n.json"):
            Path(name).unlink(missing_ok=True)


def test_a_checkpoint_becomes_the_run_s_own_weights(chain: Run, house: Path, tmp_path: Path) -> None:
    newest = checkpoints.newest(chain.folder / checkpoints.FOLDER)
    assert newest is not None
    assert main(["export", str(newest.folder), str(tmp_path / "out")]) == 0
    exported = load_file(tmp_path / "out" / "model.safetensors")
    assert exported.keys() == weights(chain).keys()
    assert all(torch.equal(value, exported[key]) for key, value in weights(chain).items())
    module = load_module(newest.folder)
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"network"}


@pytest.mark.parametrize("stage", ["pretrain", "stage1"])
def test_the_run_of_any_stage_restores(chain: Run, house: Path, stage: str) -> None:
    restorer = restorer_of(runs.require(f"{NAME}/{stage}"))
    (found,) = restorer.restore(torch.rand(1, 3, 24, 24), ["a"])
    assert tuple(found.image_3HW.shape) == (3, 96, 96) and bool(found.image_3HW.isfinite().all())


def test_what_is_not_there_is_refused_with_a_remedy(
    chain: Run, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, words in {
        f"restore a.png --run {STAGES[0]}": "restores nothing",
        "restore a.png --run nsarm/nano --set transformer.layers=3": "only sampling and restoring and prefix and",
        "restore a.png --run nsarm/nano --set restoring.tiles=continue": "take blend",
    }.items():
        Path("a.png").touch()
        assert main(command.split()) != 0
        assert words in capsys.readouterr().err
        Path("a.png").unlink()


@pytest.mark.parametrize(
    ("stage", "strategy"), [("pretrain", "ddp"), ("stage1", "ddp"), ("stage2", "ddp"), ("stage2", "fsdp")]
)
def test_two_processes_take_the_steps_of_one_with_twice_the_batch(
    chain: Run, house: Path, stage: str, strategy: str
) -> None:
    name = f"{NAME}/{stage}"
    common = ["run", name, "trainer.max_steps=2", "trainer.accelerator=cpu", "optim.lr=1e-4", "optim.warmup=0"]
    common += ["trainer.resume=never", "flips.strength=0.2", "data.test.demo=null", "trainer.val_every=2"]
    assert main([*common, "data.batch_size=4"]) == 0
    one = runs.require(name)
    parallel = [*common, "data.batch_size=2", "trainer.devices=2", f"trainer.strategy={strategy}"]
    statuses, said = forked(main, parallel, environments=ranks(2))
    assert statuses == [0, 0], said
    two = runs.require(name)
    assert two.folder != one.folder
    differences = [(item - weights(one)[key]).abs().flatten() for key, item in weights(two).items()]
    # Adam's first steps follow the sign of a gradient: where it is zero but for rounding, both signs are right.
    assert float(torch.cat(differences).quantile(0.9)) < 2e-5, "a step moves a number by 1e-4"


@pytest.mark.parametrize("stage", ["pretrain", "stage1", "stage2"])
def test_a_step_that_is_not_finite_is_left_out_and_told(
    chain: Run, house: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    trained, weights_before = NSARMModule.training_step, []

    def poisoned(self: NSARMModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        weights_before.append([item.detach().clone() for item in self.parameters()])
        loss = trained(self, batch, batch_idx)
        return loss * float("nan") if self.global_step == 1 else loss

    monkeypatch.setattr(NSARMModule, "training_step", poisoned)
    settings = ["trainer.max_steps=4", "trainer.val_every=4", "trainer.resume=never", "data.test.demo=null"]
    assert main(["run", f"{NAME}/{stage}", *settings]) == 0
    moved = [not all(map(torch.equal, one, other)) for one, other in pairwise(weights_before)]
    assert moved == [True, False, True], "before the steps 0 to 3: the second one moved nothing"
    lines = (runs.require(f"{NAME}/{stage}").folder / "skipped_steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]
