"""Commands over many files: any number of processes gives the same, also after a kill; mistakes are refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.images.io import write_png
from tests.forks import forked, ranks

PATIENCE = 200.0
COMMANDS = {
    "restore": "restore photos --run demo --out OUT/pictures",
    "evaluate": "evaluate --pred photos --target truth --metrics psnr,ssim --csv OUT/scores.csv --json OUT/j",
    "degrade": "degrade photos OUT/pairs --size 32 --scale 2 --crops 2",
    "score": "score photos --run dem/nano --json OUT/scores.json",
    "caption": "caption photos --source pixels --batch 2 --out OUT/captions.jsonl",
    "reconstruct": "reconstruct photos --run tokenizer/nano --csv OUT/s.csv --json OUT/j --out OUT/pictures",
}


def photo(seed: int, height: int = 32, width: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1)


@pytest.fixture
def photos(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with runs, five photographs and one that is damaged, and their true pictures."""
    (tmp_path / "runs").symlink_to(house / "runs")
    (tmp_path / "experiments").symlink_to(house / "experiments")
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "truth"):
        Path(folder).mkdir()
        for seed in range(5):
            write_png(Path(folder, f"{seed}.png"), photo(seed + 7 * (folder == "truth")))
        Path(folder, "damaged.png").write_text("not a picture")
    return tmp_path


def words_of(name: str, out: str = "OUT") -> list[str]:
    return COMMANDS[name].replace("OUT", out).split()


def asked(name: str, out: str) -> list[str]:
    """The words of a command that writes to a folder, which is made."""
    Path(out, "pictures" if name == "reconstruct" else "").mkdir(parents=True)
    return words_of(name, out)


def begin(*words: str) -> subprocess.Popen[str]:
    """A command of its own group of processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "lit_pure", *words], start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left."""
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return False
    return True


def contents(folder: Path) -> dict[str, Any]:
    """All files below a folder by their path; without what tells the time or the folder itself."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content: Any = path.read_bytes()
            if content.startswith(b"{\n"):
                content = json.loads(content)
                content = {key: value for key, value in content.items() if key not in ("command", "tokens_per_second")}
            found[str(path.relative_to(folder))] = content
    return found


def test_a_restoration_that_is_killed_goes_on_with_another_number_of_processes(photos: Path) -> None:
    for seed in range(5, 12):
        write_png(Path("photos", f"{seed}.png"), photo(seed, 40, 56))
    Path("photos", "damaged.png").unlink()
    assert main(asked("restore", "alone")) == 0
    killed, pictures = begin(*asked("restore", "shared"), "--workers", "2"), Path("shared", "pictures")
    wait_for(lambda: len(list(pictures.glob("*.png"))) > 2 or killed.poll() is not None)
    killed.kill()
    killed.communicate()
    before = len([path for path in pictures.glob("*.png") if path.stem.isdigit()])
    wait_for(lambda: is_gone(killed.pid))
    assert killed.returncode == -signal.SIGKILL and before < 12
    assert main(words_of("restore", "shared")) == 0
    assert contents(Path("shared")) == contents(Path("alone"))


def test_evaluate_has_the_same_figures_with_two_workers_and_leaves_none_behind(photos: Path) -> None:
    assert main(asked("evaluate", "alone")) == 1, "a picture is damaged"
    shared = begin(*asked("evaluate", "shared"), "--workers", "2")
    _, said = shared.communicate(timeout=PATIENCE)
    assert shared.returncode == 1 and not said, said
    assert contents(Path("shared")) == contents(Path("alone"))
    wait_for(lambda: is_gone(shared.pid))


@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_of_torchrun_do_what_one_does_and_only_the_first_prints(
    name: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(asked(name, "alone"))
    printed = capsys.readouterr().out.replace("alone", "shared")
    words = asked(name, "shared")
    statuses, said = forked(_exit, words, environments=ranks(2))
    assert statuses == [status, status], said
    assert sorted(said[0].splitlines()) == sorted(printed.splitlines()) and not said[1], said
    assert contents(Path("shared")) == contents(Path("alone"))
    if name in ("restore", "degrade", "caption"):
        assert main(words) == status
        assert "from an earlier call" in capsys.readouterr().out


def _exit(words: list[str]) -> None:
    sys.argv = ["lit-pure", *words]
    sys.exit(main(words))


MISTAKES = {
    "--workers 0": "'0' is not allowed; give a whole number, 1 or more",
    "--devices -1": "'-1' is not allowed",
    "--workers 2 --devices 2": "not allowed with argument",
    "--num-nodes 2": "--num-nodes 2: start the command by torchrun or SLURM on all machines",
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flags", MISTAKES)
def test_mistakes_are_refused(name: str, flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([*words_of(name), *flags.split()])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2 and MISTAKES[flags] in capsys.readouterr().err


def test_another_number_than_torchrun_has_started_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ranks(2)[0].items():
        monkeypatch.setenv(name, value)
    assert main([*words_of("degrade"), "--workers", "3"]) == 2
    words = capsys.readouterr().err
    assert "--workers 3: torchrun has started 2 processes on each of 1 machines; leave the flag out" in words


PROBE = """
import sys
from lit_pure.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "lightning"} & set(sys.modules), "a refusal imported a heavy package"
sys.exit(code)
"""


@pytest.mark.parametrize("name", ["restore", "evaluate"])
def test_mistakes_of_a_command_are_refused_before_any_process_is_started(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, *words_of(name, "."), "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_gpu_takes_devices_and_no_workers(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lit_pure.commands.processes.device", lambda: torch.device("cuda"))
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 1)
    for flag, words in {"--workers": "take --devices 2", "--devices": "this machine has 1"}.items():
        assert main([*words_of("evaluate", "."), flag, "2"]) == 2
        assert words in capsys.readouterr().err
