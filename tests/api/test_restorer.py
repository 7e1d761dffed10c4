"""Whatever names weights gives the same restorer, of both families; what names none says what was looked for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from lightning import Trainer
from PIL import Image

import lit_pure
from lit_pure import Restorer, build
from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT, ConfigError
from lit_pure.runs.folder import MissingRun
from tests.families.nsarm import small

PHOTO = PROJECT / "data" / "photos" / "chelsea.png"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A part of chelsea, of one square of the small demo."""
    path = tmp_path / "photo.png"
    Image.open(PHOTO).crop((40, 20, 64, 44)).save(path)
    return path


def exported(out: Path) -> Path:
    assert main(["export", "demo", str(out)]) == 0
    return out


def passed_on(out: Path) -> Path:
    assert main(["export", "demo", str(out), "--run", "float32"]) == 0
    return out


def converted(out: Path, name: str = "demo") -> Path:
    assert main(["convert", name, "--out", str(out)]) == 0
    return out


def saved(out: Path) -> Path:
    return Restorer.from_pretrained("demo").save_pretrained(out)


NAMES: dict[str, Callable[[Path], str | Path]] = {
    "experiment": lambda out: "demo",
    "version": lambda out: "demo/version_0",
    "as a shell completes it": lambda out: "runs/demo/version_0/",
    "folder": lambda out: Path("runs/demo/version_0").absolute(),
    "its weights": lambda out: "runs/demo/version_0/weights",
    "export": exported,
    "export --run": passed_on,
    "convert": converted,
    "save_pretrained": saved,
}


@pytest.mark.parametrize("how", NAMES)
def test_whatever_names_weights_restores_as_the_command_does(
    house: Path, tmp_path: Path, photo: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # the hub is not asked
    assert main(["restore", str(photo), "--run", "demo", "--out", str(tmp_path / "command")]) == 0
    restored = Restorer.from_pretrained(NAMES[how](tmp_path / "out"))(photo)
    wanted = np.asarray(Image.open(tmp_path / "command" / "photo.png"))
    assert wanted.std() > 5 and (np.asarray(restored.image) == wanted).all()


@pytest.mark.parametrize("how", ["folder", "save_pretrained"])
def test_a_folder_is_read_from_anywhere(
    house: Path, tmp_path: Path, photo: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, here = NAMES[how](tmp_path / "out"), Restorer.from_pretrained("demo")(photo)
    monkeypatch.chdir(tmp_path)  # where there are no runs
    assert torch.equal(Restorer.from_pretrained(name)(photo).tensor, here.tensor)


def test_settings_are_laid_over_those_of_the_weights(house: Path, tmp_path: Path, photo: Path) -> None:
    folder = saved(tmp_path / "out")
    for name in ("demo", folder):
        drawn = [Restorer.from_pretrained(name, [f"sampling.seed={seed}"])(photo).tensor for seed in (1, 1, 2)]
        assert torch.equal(*drawn[:2]) and not torch.equal(*drawn[1:])
        with pytest.raises(ConfigError, match="backbone.layers"):
            Restorer.from_pretrained(name, ["backbone.layers=7"])
        with pytest.raises(ConfigError, match="did you mean|sampling"):
            Restorer.from_pretrained(name, ["sampling.sead=7"])


def test_nsarm_is_saved_and_read_back_whole(tmp_path: Path) -> None:
    own = Restorer(small.restorer("stage=stage2", "caption.lq=fixed"))
    own.save_pretrained(tmp_path / "out")
    read = Restorer.from_pretrained(tmp_path / "out")
    lq_3hw = small.batch()["lq_B3hw"][0]
    restored = read(lq_3hw)
    assert torch.equal(restored.tensor, own(lq_3hw).tensor) and list(restored.maps) == ["entropy"]
    other = Restorer.from_pretrained(tmp_path / "out", ["sampling.seed=5"])(lq_3hw)
    assert not torch.equal(other.tensor, restored.tensor)


@pytest.mark.shipped
@pytest.mark.parametrize("name", ["pure/nano", "nsarm/nano"])
def test_what_is_shipped_of_both_families_is_read_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lq_3hw = torch.from_numpy(np.array(Image.open(PHOTO).crop((40, 20, 72, 52)))).permute(2, 0, 1)
    restorer = Restorer.from_pretrained(name)
    wanted = restorer(lq_3hw).tensor
    assert torch.equal(Restorer.from_pretrained(restorer.save_pretrained("out"))(lq_3hw).tensor, wanted)
    if name == "pure/nano":
        assert torch.equal(Restorer.from_pretrained(converted(Path("hf"), name))(lq_3hw).tensor, wanted)


@pytest.mark.shipped
def test_a_prior_which_the_official_layout_lacks_is_not_lost_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "pure/nano_photo", "--out", str(tmp_path / "hf")]) == 1
    assert "Chameleon's layout has no prior" in capsys.readouterr().err and not (tmp_path / "hf").exists()


def test_a_checkpoint_file_of_a_trainer_restores(house: Path, tmp_path: Path, photo: Path) -> None:
    module, data = build("demo", ["evaluation.metrics=[psnr]"])
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, num_sanity_val_steps=0)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    restored = Restorer.from_pretrained(tmp_path / "one.ckpt")(photo)
    own = Restorer(module.restorer)(photo, color_fix="wavelet")  # type: ignore[arg-type]
    assert torch.equal(restored.tensor, own.tensor)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "there is no file or folder nothing, no finished run runs/nothing, no experiment nothing, and a"),
        ("owner/name", "no experiment owner/name, and the hub gave none .*no such repository"),
        ("pure/paper", "no finished run runs/pure/paper; make it with: make exp NAME=pure/paper"),
        ("demo/version_7", "no finished run runs/demo/version_7"),
        ("nonwhy/PURE", "has the weights of pure/official; import them: lit-pure weights pure/official; then name"),
        ("tokenizer/nano", "family tokenizer, which restores nothing"),
        ("runs", "runs is a folder without weights; name a run, the folder of a run"),
        (
            "runs/demo/version_0/checkpoints/step=00000006",
            "is a checkpoint of a training; .* lit-pure export runs/demo",
        ),
        ("runs/demo/version_0/summary.json", "nothing says whose weights these are"),
    ],
)
def test_what_names_no_weights_says_what_was_looked_for(
    house: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(repository: str, **_: object) -> str:
        asked.append(repository)
        raise OSError("no such repository")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ValueError, match=said):
        Restorer.from_pretrained(name)
    assert asked == (["owner/name"] if name == "owner/name" else []), "once, and never for what is ours"


def test_a_run_that_is_not_finished_says_how_its_weights_are_written(house: Path, tmp_path: Path) -> None:
    folder = tmp_path / "version_0"
    shutil.copytree("runs/demo/version_0", folder, ignore=shutil.ignore_patterns("weights", "summary.json"))
    with pytest.raises(ValueError, match=r"is a run that is not finished; .*lit-pure export"):
        Restorer.from_pretrained(folder)


def test_weights_alone_say_what_they_lack(house: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/demo/version_0/weights", tmp_path / "alone")
    with pytest.raises(ValueError, match=r"weights of kind pure, and nothing says with which settings"):
        Restorer.from_pretrained(tmp_path / "alone")
    folder = exported(tmp_path / "out")
    (folder / "lit_pure.yaml").write_text("needs: {tokenizer: 3}\n")
    with pytest.raises(ValueError, match=r"lit_pure.yaml cannot be read"):
        Restorer.from_pretrained(folder)


def test_the_run_of_a_tokenizer_that_is_missing_is_named(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingRun, match="runs/tokenizer/nano/version_0; make it with"):
        Restorer.from_pretrained(folder)


def test_a_repository_is_downloaded_once(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = saved(tmp_path / "out"), []

    def download(repository: str, **given: object) -> str:
        asked.append((repository, given["revision"]))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Restorer.from_pretrained("owner/name", revision="v1").scale == 4
    assert asked == [("owner/name", "v1")]


@pytest.mark.parametrize("described", [False, True])
def test_what_is_pushed_is_what_is_saved_with_a_card_where_there_is_none(
    house: Path, monkeypatch: pytest.MonkeyPatch, described: bool
) -> None:
    found: list[str] = []

    class Hub:
        def __init__(self, token: str | None) -> None:
            assert token == "secret"

        def create_repo(self, name: str, private: bool | None, exist_ok: bool) -> huggingface_hub.RepoUrl:
            assert private and exist_ok
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{name}")

        def file_exists(self, repo_id: str, filename: str) -> bool:
            return described

        def upload_folder(self, repo_id: str, folder_path: Path) -> None:
            found.append(repo_id)
            assert (folder_path / "README.md").exists() != described
            if not described:
                card = huggingface_hub.ModelCard.load(folder_path / "README.md")
                assert (card.data.library_name, card.data.license) == ("lit_pure", "mit")
                assert "enlarged 4 times" in card.text and 'from_pretrained("me/mine")' in card.text
            assert Restorer.from_pretrained(folder_path).scale == 4

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    address = Restorer.from_pretrained("demo").push_to_hub("me/mine", private=True, token="secret", license="mit")
    assert found == ["me/mine"] and address.endswith("me/mine")


def test_several_photographs_give_a_list(house: Path, photo: Path) -> None:
    restorer = Restorer.from_pretrained("demo")
    one, two = restorer([photo, Image.open(photo)], scale=2)
    assert one.image.size == (48, 48) and torch.equal(one.tensor, two.tensor), "both are of a file of this name"
    other = restorer(photo, 2, name="other")
    assert not torch.equal(other.tensor, one.tensor), "names decide what is drawn"


def test_public_names_are_those_of_the_stub() -> None:
    stub = (PROJECT / "lit_pure" / "__init__.pyi").read_text(encoding="utf-8")
    public = {name for name in lit_pure.__all__ if name != "__version__"}
    assert {line.split()[-1] for line in stub.splitlines() if line.startswith("from")} == public
    for name in public:
        assert f"from {getattr(lit_pure, name).__module__} import {name} as {name}\n" in stub
        assert name in dir(lit_pure)
    with pytest.raises(AttributeError, match="no attribute 'Restore'; its public names are Restorer,"):
        _ = lit_pure.Restore  # type: ignore[attr-defined]
