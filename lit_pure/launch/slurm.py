"""Makes SLURM jobs of tasks and submits them through submitit.

Knows what an experiment asks of a cluster, sbatch's options, and how submitit is told. Knows nothing of what a task
does, and imports no torch.

One job array runs the variants of a sweep, one job each run that they need and that is missing; the array waits for
those. A task has one process per GPU, started by srun, so that Lightning finds its ranks in SLURM's variables. Each
process becomes `lit-pure run ...` (exec) and is then no longer submitit's: SLURM's signals reach it as if srun had
started it itself (where cgroups track processes, those of a child would not). The run saves and requeues its own job
when SIGUSR1 comes; submitit, which would do so at SIGUSR2, never hears of it, and so it happens once. A requeued task
is the same command again, which goes on.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.experiment import Experiment
from lit_pure.launch.tasks import Task
from lit_pure.runs import folder as runs

FOLDER = "slurm"
"""Below the folder of runs: scripts, logs and what submitit keeps, a folder per sweep."""
ON_GPUS = ("auto", "gpu", "cuda")
"""Values of `trainer.accelerator` for which GPUs are asked for."""
SIGNAL = "USR1@120"
"""What a run gets before its time is up, and how long before [s]; it saves, and requeues itself."""
OURS = ("array", "error", "input", "output", "wrap", "nodes", "ntasks", "ntasks-per-node", "tasks-per-node")
"""Options of sbatch that follow from the sweep, or have a word of their own."""
HIDES = "gpus-per-task"
"""The option that shows each process its own GPU alone, where Lightning counts those of the node."""
TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.IGNORECASE)
MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What is asked of the cluster; what is None follows from the experiment."""

    nodes: int | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    parallel: int | None = None
    """Tasks of the array that may run at the same time; None: all."""
    options: Mapping[str, str | bool] = field(default_factory=dict)
    """Further options of sbatch, by their long names; True is one without a value. They win over ours."""


@dataclass(frozen=True)
class Job:
    """What is submitted at once: an array where it has several tasks."""

    name: str
    tasks: tuple[Task, ...]
    parameters: Mapping[str, Any]
    """As submitit's SLURM executor takes them."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that must come to a good end before."""


def option(text: str) -> tuple[str, str | bool]:
    """KEY=VALUE or KEY as an option of sbatch. Raises ValueError for what is none, or follows from the sweep."""
    key, equals, value = text.partition("=")
    key = key.removeprefix("--").replace("_", "-")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or (equals and not value.strip()) or "\n" in value:
        raise ValueError(f"{text!r} is no option of sbatch; write for example qos=high, or exclusive")
    if key in OURS:
        raise ValueError(f"{key} follows from the sweep and its experiments, --nodes and --gpus-per-node")
    if key == HIDES:
        raise ValueError(f"{key} hides the GPUs of a node from one another; take --gpus-per-node")
    return key, value if equals else True


def require_tools(dry_run: bool) -> None:
    """Raises ConfigError where submitit or SLURM is missing; nothing of SLURM's is needed to print."""
    if find_spec("submitit") is None:
        raise ConfigError("--launcher slurm needs submitit; install it: pip install 'lit_pure[slurm]'")
    absent = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if absent and not dry_run:
        raise ConfigError(
            f"--launcher slurm: there is no {absent[0]} on this machine; go to one that submits to the cluster, "
            "or see what would be submitted: --dry-run"
        )


def jobs(name: str, needs: Sequence[Task], variants: Sequence[Task], request: Request) -> list[Job]:
    """A job for each need, in order, and an array of the variants behind those that they need.

    Raises:
        ConfigError: the variants want machines of different sizes, or no one knows how many devices.
    """
    sizes = {variant.name: _size(variant.experiment, request) for variant in variants}
    if len(set(sizes.values())) > 1:
        shown = "; ".join(f"{variant}: {nodes} x {processes}" for variant, (nodes, processes, _) in sizes.items())
        raise ConfigError(
            f"the variants of {name} ask for different nodes x devices ({shown}), and a job array has one size; "
            "say --nodes and --gpus-per-node, or run them one by one"
        )
    own = replace(request, nodes=None, gpus_per_node=None, parallel=None)
    alone = [_job(need.name, [need], _size(need.experiment, own), own) for need in needs]
    return [*alone, _job(name, variants, next(iter(sizes.values())), request)]


def script(job: Job, folder: Path, ids: Mapping[str, str]) -> str:
    """The text that sbatch gets, with the ids of the jobs that it waits for."""
    from submitit.slurm import slurm

    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder.absolute()))}"
    array = len(job.tasks) if len(job.tasks) > 1 else None
    return slurm._make_sbatch_string(command, folder, map_count=array, **_behind(job, ids))


def submit(job: Job, folder: Path, ids: Mapping[str, str]) -> str:
    """Submit a job behind those whose ids are given; gives its own.

    Raises:
        ValueError: sbatch refused it; the message is sbatch's.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(folder)
    executor.update_parameters(**_behind(job, ids))
    try:
        with executor.batch():
            made = [executor.submit(os.execv, task.command[0], task.command) for task in job.tasks]
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip().startswith("sbatch")]
        raise ValueError(f"{job.name} was not submitted: {'; '.join(said) or error}") from error
    return str(made[0].job_id).partition("_")[0]


def folder_of(name: str) -> Path:
    """Where the scripts and logs of a sweep's jobs are."""
    return runs.ROOT / FOLDER / name


def _job(name: str, tasks: Sequence[Task], size: tuple[int, int, int], request: Request) -> Job:
    nodes, processes, gpus = size
    options: dict[str, str | bool] = {"requeue": True, "signal": SIGNAL}
    if gpus and not request.options.keys() & {"gres", "gpus", "gpus-per-node"}:
        options["gpus-per-node"] = str(gpus)
    # Since SLURM 22.05 srun does not know what sbatch was told of this; logs are continued when a job is requeued.
    started = ["--open-mode=append"]
    if "cpus-per-gpu" not in request.options:
        cpus = request.cpus_per_task or 1 + max(task.experiment.data.num_workers for task in tasks)
        options["cpus-per-task"] = str(cpus)
        started.append(f"--cpus-per-task={request.options.get('cpus-per-task', cpus)}")
    parameters = {
        "job_name": name,
        "nodes": nodes,
        "ntasks_per_node": processes,
        "array_parallelism": request.parallel or len(tasks),
        "stderr_to_stdout": True,
        "time": None,  # submitit's is 5 minutes; None leaves it out
        "wckey": None,  # submitit's is its own name, which a cluster may refuse
        "srun_args": started,
        "additional_parameters": {**options, **request.options},
    }
    placed = tuple(_placed(task, nodes, processes) for task in tasks)
    return Job(name, placed, parameters, tuple(dict.fromkeys(need for task in tasks for need in task.needs)))


def _size(experiment: Experiment, request: Request) -> tuple[int, int, int]:
    """Nodes, processes on each, GPUs of each."""
    trainer = experiment.trainer
    gpus = trainer.accelerator in ON_GPUS
    if request.gpus_per_node and not gpus:
        raise ConfigError(
            f"--gpus-per-node {request.gpus_per_node}: {experiment.name} is for trainer.accelerator = "
            f"{trainer.accelerator}; leave one of them out"
        )
    processes = request.gpus_per_node or _devices(trainer.devices)
    return request.nodes or trainer.num_nodes, processes, processes if gpus else 0


def _devices(text: str) -> int:
    """How many `trainer.devices` are; `auto` is one, since the cluster gives what is asked for."""
    if text == "auto":
        return 1
    listed = [word for word in text.strip("[]").split(",") if word.strip()]
    number = len(listed) if "," in text or text.startswith("[") else int(text) if text.lstrip("-").isdigit() else 0
    if number < 1:
        raise ConfigError(f"trainer.devices = {text}: how many to ask the cluster for? set a count, or --gpus-per-node")
    return number


def _placed(task: Task, nodes: int, processes: int) -> Task:
    """The task with the size of its job in its command, so that Lightning counts as SLURM does."""
    trainer = task.experiment.trainer
    wanted = {"num_nodes": (trainer.num_nodes, nodes), "devices": (trainer.devices, str(processes))}
    more = tuple(f"trainer.{key}={value}" for key, (own, value) in wanted.items() if own != value)
    if not more:
        return task
    return replace(task, experiment=compose(task.name, [*task.overrides, *more]), overrides=(*task.overrides, *more))


def _behind(job: Job, ids: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a job that waits for others, and is taken away where one of them fails."""
    if not job.needs:
        return dict(job.parameters)
    options = job.parameters["additional_parameters"]
    waits = [options.get("dependency"), ":".join(["afterok", *(ids[need] for need in job.needs)])]
    waiting = {"dependency": ",".join(filter(None, waits)), "kill-on-invalid-dep": "yes"}
    return {**job.parameters, "additional_parameters": {**options, **waiting}}


def shown(jobs: Sequence[Job], folder: Path) -> Iterator[str]:
    """What would be submitted: each script, and below it, as comments, the commands of its tasks."""
    ids = {job.name: str(number) for number, job in enumerate(jobs, 1)}
    for job in jobs:
        yield script(job, folder, ids)
        for need in job.needs:
            yield f"# {ids[need]} stands for the number that SLURM will give the job {need}"
        for number, task in enumerate(job.tasks):
            yield f"# task {number}: {task.told}"
        yield ""
