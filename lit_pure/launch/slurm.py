"""Makes SLURM jobs of tasks and submits them through submitit.

Knows what an experiment asks of a cluster, sbatch's options, and submitit's parameters. Knows nothing of what a task
does, and imports no torch.

One job array runs the variants of a sweep, or the workers of a search, which share its trials. Each missing run that
they need is its own job, and the array waits for those jobs. A task has one process per GPU, started by srun, so that
Lightning finds its ranks in SLURM's variables; a worker is one process, and starts those of its trials itself.
Each process becomes `lit-pure run ...` (exec), so that SLURM's signals reach it as if srun had started it (where
cgroups track processes, they would not reach a child). The run saves and requeues its job when SIGUSR1 comes. submitit
would do so at SIGUSR2, but never sees a signal, so the job is requeued once. A requeued task is the same command again,
which resumes.
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
from lit_pure.launch.tasks import Task, Worker
from lit_pure.runs import folder as runs

FOLDER = "slurm"
"""Below the folder of runs: scripts, logs and submitit's files, in a folder per sweep."""
ON_GPUS = ("auto", "gpu", "cuda")
"""The values of `trainer.accelerator` that need GPUs."""
SIGNAL = "USR1@120"
"""The signal that a run gets before its time is up, and how long before [s]; the run saves and requeues itself."""
RESERVED = ("array", "error", "input", "output", "wrap", "nodes", "ntasks", "ntasks-per-node", "tasks-per-node")
"""Options of sbatch that follow from the sweep, or that have their own flag."""
GPUS_PER_TASK = "gpus-per-task"
"""Refused: it shows each process only its own GPU, but Lightning counts the GPUs of the node."""
TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.IGNORECASE)
MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """The resources to ask the cluster for; None takes them from the experiment."""

    nodes: int | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    parallel: int | None = None
    """Tasks of the array that may run at the same time; None means all."""
    options: Mapping[str, str | bool] = field(default_factory=dict)
    """More options of sbatch, by their long names; True for one without a value. They override ours."""


@dataclass(frozen=True)
class Job:
    """One submission; an array if it has several tasks."""

    name: str
    tasks: tuple[Task, ...]
    parameters: Mapping[str, Any]
    """Those of submitit's SLURM executor."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that must succeed before."""


def option(text: str) -> tuple[str, str | bool]:
    """KEY=VALUE or KEY as an option of sbatch. Raises ValueError if it is none, or follows from the sweep."""
    key, equals, value = text.partition("=")
    key = key.removeprefix("--").replace("_", "-")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or (equals and not value.strip()) or "\n" in value:
        raise ValueError(f"{text!r} is not an option of sbatch; write for example qos=high, or exclusive")
    if key in RESERVED:
        raise ValueError(f"{key} follows from the sweep and its experiments, --nodes and --gpus-per-node")
    if key == GPUS_PER_TASK:
        raise ValueError(f"{key} hides the GPUs of a node from one another; take --gpus-per-node")
    return key, value if equals else True


def require_tools(dry_run: bool) -> None:
    """Raises ConfigError if submitit or SLURM is missing; a dry run needs no SLURM."""
    if find_spec("submitit") is None:
        raise ConfigError("--launcher slurm needs submitit; install it: pip install 'lit_pure[slurm]'")
    absent = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if absent and not dry_run:
        raise ConfigError(
            f"--launcher slurm: this machine has no {absent[0]}; use one that submits to the cluster, "
            "or print what would be submitted: --dry-run"
        )


def jobs(name: str, needs: Sequence[Task], variants: Sequence[Task], request: Request) -> list[Job]:
    """A job for each need, in order, and an array of the variants that waits for them.

    Raises:
        ConfigError: the variants need different nodes or devices, or the number of devices is unknown.
    """
    sizes = {variant.name: _size(variant.experiment, request) for variant in variants}
    if len(set(sizes.values())) > 1:
        shown = "; ".join(f"{variant}: {nodes} x {processes}" for variant, (nodes, processes, _) in sizes.items())
        raise ConfigError(
            f"the variants of {name} ask for different nodes x devices ({shown}), and a job array has one size; "
            "give --nodes and --gpus-per-node, or run them one by one"
        )
    own = replace(request, nodes=None, gpus_per_node=None, parallel=None)
    alone = [_job(need.name, [need], _size(need.experiment, own), own) for need in needs]
    return [*alone, _job(name, variants, next(iter(sizes.values())), request)]


def workers(name: str, needs: Sequence[Task], worker: Worker, count: int, request: Request) -> list[Job]:
    """A job for each need, in order, and an array of workers of a search that waits for them.

    Raises ConfigError where a trial takes more than one node: a worker starts its processes itself, on its own.
    """
    if (request.nodes or worker.experiment.trainer.num_nodes) > 1:
        raise ConfigError(
            f"{name}: a trial of a search runs on one node; leave out --nodes, and set trainer.num_nodes=1"
        )
    return jobs(name, needs, [worker] * count, request)


def script(job: Job, folder: Path, ids: Mapping[str, str]) -> str:
    """The script for sbatch, with the ids of the jobs that it waits for."""
    from submitit.slurm import slurm

    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder.absolute()))}"
    array = len(job.tasks) if len(job.tasks) > 1 else None
    return slurm._make_sbatch_string(command, folder, map_count=array, **_parameters(job, ids))


def submit(job: Job, folder: Path, ids: Mapping[str, str]) -> str:
    """Submit a job that waits for those whose ids are given; returns its own id.

    Raises:
        ValueError: sbatch refused it, with the message of sbatch.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(folder)
    executor.update_parameters(**_parameters(job, ids))
    try:
        with executor.batch():
            submitted = [executor.submit(os.execv, task.command[0], task.command) for task in job.tasks]
    except (FailedJobError, FailedSubmissionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip().startswith("sbatch")]
        raise ValueError(f"{job.name} was not submitted: {'; '.join(lines) or error}") from error
    return str(submitted[0].job_id).partition("_")[0]


def folder_of(name: str) -> Path:
    """The folder with the scripts and logs of a sweep's jobs."""
    return runs.ROOT / FOLDER / name


def _job(name: str, tasks: Sequence[Task], size: tuple[int, int, int], request: Request) -> Job:
    nodes, processes, gpus = size
    started = 1 if isinstance(tasks[0], Worker) else processes
    options: dict[str, str | bool] = {"requeue": True, "signal": SIGNAL}
    if gpus and not request.options.keys() & {"gres", "gpus", "gpus-per-node"}:
        options["gpus-per-node"] = str(gpus)
    # A requeued job appends to its logs. Since SLURM 22.05, srun does not inherit --cpus-per-task from sbatch.
    srun = ["--open-mode=append"]
    if "cpus-per-gpu" not in request.options:
        cpus = request.cpus_per_task or 1 + max(task.experiment.data.num_workers for task in tasks)
        cpus *= processes // started  # a worker starts the processes of a trial itself
        options["cpus-per-task"] = str(cpus)
        srun.append(f"--cpus-per-task={request.options.get('cpus-per-task', cpus)}")
    parameters = {
        "job_name": name,
        "nodes": nodes,
        "ntasks_per_node": started,
        "array_parallelism": request.parallel or len(tasks),
        "stderr_to_stdout": True,
        "time": None,  # submitit's default is 5 minutes; None leaves it out
        "wckey": None,  # submitit's default is its own name, which a cluster may refuse
        "srun_args": srun,
        "additional_parameters": {**options, **request.options},
    }
    sized = tuple(_with_size(task, nodes, processes) for task in tasks)
    return Job(name, sized, parameters, tuple(dict.fromkeys(need for task in tasks for need in task.needs)))


def _size(experiment: Experiment, request: Request) -> tuple[int, int, int]:
    """Nodes, processes per node, GPUs per node."""
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
    """The number of `trainer.devices`; `auto` is one, since a cluster gives only what it is asked for."""
    if text == "auto":
        return 1
    listed = [word for word in text.strip("[]").split(",") if word.strip()]
    number = len(listed) if "," in text or text.startswith("[") else int(text) if text.lstrip("-").isdigit() else 0
    if number < 1:
        raise ConfigError(f"trainer.devices = {text} is not a number of devices; set a count, or --gpus-per-node")
    return number


def _with_size(task: Task, nodes: int, processes: int) -> Task:
    """The task with the size of its job in its command, so that Lightning counts the same devices as SLURM."""
    trainer = task.experiment.trainer
    wanted = {"num_nodes": (trainer.num_nodes, nodes), "devices": (trainer.devices, str(processes))}
    more = tuple(f"trainer.{key}={value}" for key, (own, value) in wanted.items() if own != value)
    if not more:
        return task
    return replace(task, experiment=compose(task.name, [*task.overrides, *more]), overrides=(*task.overrides, *more))


def _parameters(job: Job, ids: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a job, which waits for those that it needs, and is cancelled if one of them fails."""
    if not job.needs:
        return dict(job.parameters)
    options = job.parameters["additional_parameters"]
    waits = [options.get("dependency"), ":".join(["afterok", *(ids[need] for need in job.needs)])]
    waiting = {"dependency": ",".join(filter(None, waits)), "kill-on-invalid-dep": "yes"}
    return {**job.parameters, "additional_parameters": {**options, **waiting}}


def dry_run(jobs: Sequence[Job], folder: Path) -> Iterator[str]:
    """What would be submitted: each script, and below it, as comments, the commands of its tasks."""
    ids = {job.name: str(number) for number, job in enumerate(jobs, 1)}
    for job in jobs:
        yield script(job, folder, ids)
        for need in job.needs:
            yield f"# {ids[need]} stands for the number that SLURM will give the job {need}"
        for number, task in enumerate(job.tasks):
            yield f"# task {number}: {task.shown}"
        yield ""
