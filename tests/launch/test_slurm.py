"""Job arrays, taken and run by a pretended SLURM (`cluster.py`), which is as strict as the real one."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lit_pure.__main__ import main
from lit_pure.launch.slurm import option
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from tests.launch import cluster
from tests.launch.conftest import finish

pytest.importorskip("submitit")
DRY = ["--launcher", "slurm", "--dry-run"]


def scripts(printed: str) -> list[str]:
    """What a dry run printed, cut into its scripts."""
    head, *rest = printed.split("#!/bin/bash\n")
    assert all(line.startswith("# ") for line in head.splitlines()), "nothing that sbatch would stumble over"
    return [f"#!/bin/bash\n{script}" for script in rest]


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """The options of each job that a sweep would submit, as SLURM reads them."""
    assert main(["sweep", *arguments, *DRY]) == 0
    return [cluster.parsed(script) for script in scripts(capsys.readouterr().out)]


def saw(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_shipped_ablations_are_one_array_that_waits_for_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nothing/here")
    tokenizer, array = dry(capsys, "ablations/guidance")
    assert tokenizer["job-name"] == "tokenizer/nano" and "array" not in tokenizer
    assert array["array"] == "0-3%4" and array["job-name"] == "ablations/guidance"
    assert array["dependency"] == "afterok:1" and array["kill-on-invalid-dep"] == "yes"
    for job in (tokenizer, array):
        assert job["gpus-per-node"] == job["ntasks-per-node"] == job["nodes"] == "1" and "time" not in job
        assert job["signal"] == "USR1@120" and "requeue" in job and job["open-mode"] == "append"
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_sbatch_options_are_those_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish("tok"), finish("est")
    words = ["--partition=gpu", "--account=lab", "--time=2-12", "--mem=64G", "--nodes=2", "--gpus-per-node=4"]
    words += ["--parallel=1"]
    more = ["--slurm", "qos=high", "--slurm", "exclusive", "--slurm", "comment=two words", "--slurm", "signal=USR1@600"]
    (job,) = dry(capsys, "guide", *words, *more)
    expected = {"partition": "gpu", "account": "lab", "time": "2-12", "mem": "64G", "nodes": "2", "array": "0-1%1"}
    expected |= {"gpus-per-node": "4", "ntasks-per-node": "4", "qos": "high", "exclusive": "", "comment": "two words"}
    assert job.items() >= (expected | {"cpus-per-task": "4", "signal": "USR1@600"}).items()
    assert main(["sweep", "guide", *words, *DRY]) == 0
    assert "# task 0: lit-pure run guide/full trainer.num_nodes=2 trainer.devices=4\n" in capsys.readouterr().out


def test_tasks_gpus_and_cores_of_a_job_follow_from_the_experiment(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("tok"), finish("est")
    for settings, processes, gpus in (
        (["trainer.devices=2", "trainer.num_nodes=3"], "2", "2"),
        (["trainer.devices='0,1,2'"], "3", "3"),
        (["trainer.accelerator=cpu", "trainer.devices=2", "data.num_workers=0"], "2", None),
    ):
        (job,) = dry(capsys, "guide", *settings)
        assert (job["ntasks-per-node"], job.get("gpus-per-node")) == (processes, gpus)
        assert job["nodes"] == ("3" if "trainer.num_nodes=3" in settings else "1")
        assert job["cpus-per-task"] == ("1" if "data.num_workers=0" in settings else "4")
    (job,) = dry(capsys, "guide", "--slurm", "gres=gpu:a100:1", "--slurm", "cpus-per-gpu=8")
    assert job["gres"] == "gpu:a100:1" and not job.keys() & {"gpus-per-node", "cpus-per-task"}
    (job,) = dry(capsys, "grid", "--slurm", "dependency=singleton")
    assert job["dependency"] == "singleton"


def test_a_dependency_of_the_user_is_added_to_ours(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tok, est, array = dry(capsys, "guide", "--slurm", "dependency=afterany:7")
    assert tok["dependency"] == est["dependency"] == "afterany:7"
    assert array["dependency"] == "afterany:7,afterok:1:2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["guide", *DRY, "--time", "2h"], ["--time", "'2h'", "12:00:00"]),
        (["guide", *DRY, "--mem", "much"], ["--mem", "'much'", "64G"]),
        (["guide", *DRY, "--nodes", "0"], ["--nodes", "'0'", "1 or more"]),
        (["guide", *DRY, "--slurm", "array=0-9"], ["array", "follows from the sweep"]),
        (["guide", *DRY, "--slurm", "gpus-per-task=1"], ["gpus-per-task", "take --gpus-per-node"]),
        (["guide", *DRY, "--slurm", "=x"], ["'=x'", "qos=high"]),
        (["guide", *DRY, "--slurm", "qos="], ["'qos='"]),
        (["guide", "--partition", "gpu"], ["--partition is for --launcher slurm"]),
        (["guide", "--gpus-per-node", "2"], ["--gpus-per-node is for --launcher slurm"]),
        (["guide", "trainer.devices=-1", *DRY], ["trainer.devices = -1", "--gpus-per-node"]),
        (
            ["guide", "trainer.accelerator=cpu", *DRY, "--gpus-per-node", "2"],
            ["accelerator = cpu", "--gpus-per-node 2"],
        ),
        (["sizes", *DRY], ["sizes/devices=1: 1 x 1; sizes/devices=2: 1 x 2", "--gpus-per-node"]),
        (["sizes", *DRY, "--gpus-per-node", "4"], ["trainer.devices=4 is what sizes.yaml varies"]),
        (["guide", "sampling.guidnce=1", *DRY], ["did you mean sampling.guidance?"]),
        (["guide", "--launcher", "slurm"], ["this machine has no sbatch", "--dry-run"]),
    ],
)
def test_mistakes_in_sweep_s_flags_are_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.setenv("PATH", "/nothing/here")
    try:
        assert main(["sweep", *arguments]) == 2
    except SystemExit as stop:  # argparse's own way
        assert stop.code == 2
    said = capsys.readouterr()
    assert all(word in said.err for word in words) and len(said.err.splitlines()) == 1 and not said.out, said


def test_slurm_without_submitit_names_the_extra_that_installs_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lit_pure.launch.slurm.find_spec", lambda name: None)
    assert main(["sweep", "guide", *DRY]) == 2
    assert "pip install 'lit_pure[slurm]'" in capsys.readouterr().err


def test_a_slurm_option_is_read_under_sbatch_s_name() -> None:
    assert option("mail_type=END") == option("--mail-type=END") == ("mail-type", "END")
    assert option("exclusive") == ("exclusive", True)


def test_submitted_scripts_are_those_that_a_dry_run_shows(
    place: Path, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "guide", *DRY]) == 0
    shown = scripts(capsys.readouterr().out)
    assert main(["sweep", "guide", "--launcher", "slurm"]) == 0
    said = capsys.readouterr().out
    assert "job 101: tok\n" in said and "job 102: est\n" in said and "job 103: guide, after 101 and 102\n" in said
    for number, script in zip((101, 102, 103), shown, strict=True):
        submitted: str = json.loads((slurm / f"{number}.job").read_text())["script"]
        assert script.startswith(submitted.replace("afterok:101:102", "afterok:1:2"))


def test_every_element_runs_as_if_srun_had_started_it_itself(
    place: Path, slurm: Path, program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("est")
    flags = ["--launcher", "slurm", "--nodes", "2", "--gpus-per-node", "2"]
    assert main(["sweep", "guide", "trainer.max_steps=3", *flags]) == 0
    assert cluster.work(slurm) == {"101": 0, "102_0": 0, "102_1": 0}
    assert [path.name for path in (program / "tok").iterdir()] == ["0.0"], "what they need is made by one process"
    for index, name in enumerate(("guide/full", "guide/none")):
        ranks = [saw(program / name / f"{rank}.0") for rank in range(4)]
        for rank, seen in enumerate(ranks):
            assert seen["argv"] == ["run", name, "trainer.max_steps=3", "trainer.num_nodes=2", "trainer.devices=2"]
            assert seen["env"]["SLURM_PROCID"] == str(rank) and seen["env"]["SLURM_NTASKS"] == "4"
            assert seen["env"]["SLURM_ARRAY_TASK_ID"] == str(index)
            assert set(seen["handled"].values()) == {"0"}, "no handler of submitit's (0: what signals do by themselves)"
        if index == 1:  # the last one that srun started
            pids = {str(seen["pid"]) for seen in ranks}
            assert pids == set((slurm / "pids").read_text().split()), "SLURM's signals reach the run itself"
        logs = sorted((place / "runs" / "slurm" / "guide").glob(f"102_{index}_*_log.out"))
        assert len(logs) == 4 and all(f"said by {name}" in log.read_text() for log in logs)


def test_jobs_that_wait_for_a_failed_job_are_cancelled(place: Path, slurm: Path, program: Path) -> None:
    (place / "lit_pure" / "__main__.py").write_text("raise SystemExit(3)")
    assert main(["sweep", "guide", "--launcher", "slurm"]) == 0
    assert cluster.work(slurm) == {"101": 3, "102": 3, "103_0": -1, "103_1": -1}


def test_a_requeued_element_runs_the_same_command_and_continues_its_log(
    place: Path, slurm: Path, program: Path
) -> None:
    """The run requeues its own job, as `lit_pure.runs.stop` does at SIGUSR1; nobody else does it a second time."""
    finish("tok"), finish("est")
    package = place / "lit_pure"
    with (package / "__main__.py").open("a") as file:
        file.write(
            "import subprocess\n"
            "def stop(number, frame):\n"
            "    job = os.environ['SLURM_ARRAY_JOB_ID'] + '_' + os.environ['SLURM_ARRAY_TASK_ID']\n"
            "    subprocess.run(['scontrol', 'requeue', job], check=True)\n"
            "    sys.exit(143)\n"
            "if count == '0' and name == 'guide/none':\n"
            "    signal.signal(signal.SIGUSR1, stop)\n"
            "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        )
    assert main(["sweep", "guide", "--launcher", "slurm"]) == 0
    assert cluster.work(slurm) == {"101_0": 0, "101_1": 0}
    first, second = (saw(program / "guide/none" / f"0.{count}") for count in (0, 1))
    assert first["argv"] == second["argv"]
    assert (slurm / "requeued").read_text() == "101_1\n"
    assert (place / "runs/slurm/guide/101_1_0_log.out").read_text().count("said by guide/none") == 2


def test_a_refusal_of_sbatch_is_shown_in_its_words(
    place: Path, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("tok"), finish("est")
    assert main(["sweep", "guide", "--launcher", "slurm", "--slurm", "qso=high"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]  # submitit shows sbatch's own line before
    assert "guide was not submitted" in told and "unrecognized option '--qso'" in told


def test_finished_variants_are_not_submitted_again(
    place: Path, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = {"tokenizer": finish("tok").label, "dem": finish("est").label}
    finish("guide/full", needs=needs)
    (job,) = dry(capsys, "guide")
    assert "array" not in job, "one is left"
    (job,) = dry(capsys, "guide", "--again")
    assert job["array"] == "0-1%2"
    finish("guide/none", needs=needs)
    assert main(["sweep", "guide", "--launcher", "slurm"]) == 0
    said = capsys.readouterr().out
    assert "using guide/full/version_0" in said and "guide/none/version_0" in said.splitlines()[-1]
    assert not list(slurm.glob("*.job"))


@pytest.mark.slow
def test_a_real_training_on_two_processes_saves_requeues_itself_once_and_resumes(
    house: Path, slurm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGUSR1 goes to all processes of the step, as SLURM sends it."""
    (house / "experiments" / "sweeps" / "queued.yaml").write_text(
        "base: demo\ntrainer: {max_steps: 12, val_every: 12, save_every: 2, accelerator: cpu, devices: 2}\n"
        "evaluation: {metrics: [psnr]}\nsweep:\n  sequence.guidance_mode: [none, understanding]\n"
    )
    names = [f"sweeps/queued/guidance_mode={mode}" for mode in ("none", "understanding")]
    assert main(["sweep", "sweeps/queued", "--launcher", "slurm"]) == 0
    saved = house / "runs" / names[1] / "version_0" / checkpoints.FOLDER
    over = threading.Event()

    def tell() -> None:
        while not checkpoints.newest(saved) and not over.is_set():
            time.sleep(0.05)
        for pid in (slurm / "pids").read_text().split():
            os.kill(int(pid), signal.SIGUSR1)

    teller = threading.Thread(target=tell)
    teller.start()
    done = cluster.work(slurm)
    over.set()
    teller.join()
    logs = "".join(path.read_text() for path in sorted((house / "runs/slurm/sweeps/queued").glob("101_1_*_log.out")))
    assert done == {"101_0": 0, "101_1": 0}, logs
    assert (slurm / "requeued").read_text() == "101_1\n"
    assert f"run {names[1]}/version_0, resumed from step " in logs, logs
    for name in names:
        (run,) = runs.versions(name)
        assert run.finished and run.summary()["steps"] == 12
