"""One upload after the other, without a page: what is shown, what is refused, what is left on the disk."""

import threading

import numpy as np
import pytest
from PIL import Image

from lit_pure.__main__ import main
from lit_pure.app.service import Closed, Service
from lit_pure.config.compose import ConfigError
from lit_pure.images.io import BadImage
from lit_pure.runs import folder as runs
from tests.app import pictures

DEMO = "demo/version_0"


@pytest.fixture
def service(house, tmp_path) -> Service:
    return Service({DEMO: runs.require("demo")}, tmp_path / "results", max_pixels=10_000)


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_it_restores_as_the_command_does(service, tmp_path):
    photo, told = pictures.make_png(tmp_path / "cat.png"), []
    result = service.restore(photo, DEMO, {}, ["bicubic"], lambda *now: told.append(now))
    assert main(["restore", str(photo), "--run", "demo", "--out", str(tmp_path / "out")]) == 0
    assert (pixels(result.restored) == pixels(tmp_path / "out" / "cat.png")).all()
    [(name, entropy)] = result.maps.items()
    assert name.startswith("entropy: 0 (light) to ")
    assert (pixels(entropy) == pixels(tmp_path / "out" / "cat_entropy.png")).all()
    assert pixels(result.before).shape == pixels(result.restored).shape == (128, 160, 3)
    assert (pixels(result.beside["bicubic"]) == pixels(result.before)).all()
    assert "cat.png, 40 x 32 px, restored to 160 x 128 px by demo/version_0" in result.summary
    done = [done for name, done, _ in told if name == "cat.png"]
    assert done == sorted(done) and told[0][1] == 0 and max(done) > 0
    assert all(0 <= done <= whole for _, done, whole in told)


def test_a_knob_changes_the_picture_and_not_the_run(service, tmp_path):
    photo = pictures.make_png(tmp_path / "cat.png", 24, 24)
    first, other, again = (pixels(service.restore(photo, DEMO, {"sampling.seed": seed}).restored) for seed in (0, 1, 0))
    assert (first != other).any() and (first == again).all()
    with pytest.raises(ConfigError, match="sampling.guidance"):
        service.restore(photo, DEMO, {"sampling.guidance": 100})


def test_weights_are_loaded_once(service, tmp_path, monkeypatch):
    before = service.open(DEMO)
    monkeypatch.setattr("lit_pure.app.service.restorer_of", None)
    service.restore(pictures.make_png(tmp_path / "cat.png", 24, 24), DEMO, {})
    assert service.open(DEMO) is before


def test_only_the_last_result_is_kept(service, tmp_path):
    for name in ("cat.png", "dog.png"):
        service.restore(pictures.make_png(tmp_path / name, 24, 24), DEMO, {})
    assert {path.name.partition("_")[0] for path in service.folder.iterdir()} == {"dog"}


def test_refusals_leave_nothing(service, tmp_path):
    for upload in (pictures.make_text(tmp_path / "letter.txt"), pictures.make_80_megapixels(tmp_path / "huge.png")):
        with pytest.raises(BadImage):
            service.restore(upload, DEMO, {})
    assert not service.folder.exists()


def test_closing_gives_up_what_is_being_restored(service, tmp_path):
    """The report that waits for the closing stands for a long photograph."""
    photo, begun, ends = pictures.make_png(tmp_path / "cat.png"), threading.Event(), []

    def report(*now):
        begun.set()
        service._closing.wait(60)

    def restore():
        try:
            service.restore(photo, DEMO, {}, report=report)
        except Closed as error:
            ends.append(error)

    thread = threading.Thread(target=restore)
    thread.start()
    assert begun.wait(60)
    service.close()
    thread.join(60)
    assert len(ends) == 1 and not list(service.folder.iterdir())
    with pytest.raises(Closed):
        service.restore(photo, DEMO, {})


@pytest.mark.shipped
def test_another_family_shows_what_it_has(tmp_path):
    """NSARM writes no words, and has no engine to choose; PURE's decoder sees the photograph."""
    names = ("pure/nano_photo", "nsarm/nano")
    service = Service({name: runs.require(name) for name in names}, tmp_path / "results", max_pixels=10_000)
    photo = pictures.make_png(tmp_path / "cat.png", 32, 32)
    assert {"restoring.fidelity", "sampling.engine"} <= service.open(names[0]).knobs.keys()
    assert set(service.restore(photo, names[0], {}).words) == {"degradation", "caption"}
    assert service.open(names[1]).knobs.keys() == {"sampling.guidance", "sampling.seed"}
    result = service.restore(photo, names[1], {"sampling.guidance": 1.2})
    assert result.words == {} and [name.partition(":")[0] for name in result.maps] == ["entropy"]
    assert pixels(result.restored).shape == (128, 128, 3)
