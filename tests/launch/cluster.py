"""A stand-in for SLURM: `sbatch`, `srun` and `scontrol` as far as job arrays need them, and a queue that runs here.

`python cluster.py sbatch SCRIPT` reads the script's #SBATCH lines as strictly as SLURM does: words as its parser splits
them (quotes, a # begins a comment, nothing counts behind the first command), only options that SLURM 23 documents, with
a value where they take one, and values of their syntax. It keeps the job in the folder $CLUSTER. `work(folder)` then
runs everything that waits, element by element, with the variables that SLURM sets, and again what was requeued.

Usage: install(bin) writes the three commands; put `bin` first on PATH and set CLUSTER.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

COUNT = r"[1-9]\d*"
MEMORY = r"\d+([KMGT]B?)?"
TIME = r"\d+|\d+:\d+|\d+:\d+:\d+|\d+-\d+(:\d+(:\d+)?)?|infinite|UNLIMITED"
ANY = r".+"
SIGNAL = r"([RB]{1,2}:)?(\d+|(SIG)?[A-Z][A-Z0-9]*)(@\d+)?"
INDEXES = r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%[1-9]\d*)?"
AFTER = r"(after|afterok|afterany|afternotok|aftercorr|afterburstbuffer)(:\d+(_\d+|\+\d+)?)+"
DEPENDENCY = rf"singleton|{AFTER}([,?]({AFTER}|singleton))*"
GPUS = r"([a-z][\w.-]*:)?\d+(,[a-z][\w.-]*:\d+)*"
GRES = r"(none|[a-z]\w*(:[\w.-]+)?(:\d+[KMGTP]?)?)(,[a-z]\w*(:[\w.-]+)?(:\d+[KMGTP]?)?)*"
YES = "yes|no"

WITH_TEXT = """
    account acctg-freq batch bb bbf begin chdir cluster-constraint clusters comment constraint container container-id
    cpu-freq deadline delay-boot distribution error exclude export export-file extra extra-node-info gid gpu-bind
    gpu-freq gres-flags input job-name licenses mail-user mcs-label mem-bind network nodefile nodelist output partition
    power prefer profile qos reservation switches tres-bind tres-per-task uid wckey wrap
"""
WITH_COUNT = """
    core-spec cores-per-socket cpus-per-gpu cpus-per-task mincpus ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
    ntasks-per-socket sockets-per-node tasks-per-node thread-spec threads-per-core
"""
WITHOUT = """
    contiguous help hold ignore-pbs no-requeue overcommit oversubscribe quiet reboot requeue spread-job test-only usage
    use-min-nodes verbose version wait
"""
# Options with a value, and its syntax.
VALUED = {
    **dict.fromkeys(WITH_TEXT.split(), ANY),
    **dict.fromkeys(WITH_COUNT.split(), COUNT),
    **dict.fromkeys(["gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"], GPUS),
    **dict.fromkeys(["mem", "mem-per-cpu", "mem-per-gpu", "tmp"], MEMORY),
    **dict.fromkeys(["time", "time-min"], TIME),
    "array": INDEXES,
    "dependency": DEPENDENCY,
    "gres": GRES,
    "hint": "compute_bound|memory_bound|(no)?multithread",
    "kill-on-invalid-dep": YES,
    "mail-type": "[A-Z][A-Z_0-9,]*",
    "nodes": rf"{COUNT}(-{COUNT})?",
    "open-mode": "append|truncate",
    "priority": r"\d+|TOP",
    "signal": SIGNAL,
    "wait-all-nodes": "0|1",
}
FLAGS = set(WITHOUT.split())
# With or without a value.
EITHER = {
    "exclusive": "user|mcs|topo",
    "get-user-env": ANY,
    "nice": r"-?\d+",
    "no-kill": "off",
    "parsable": ANY,
    "propagate": ANY,
}
APART = [{"cpus-per-task", "cpus-per-gpu"}, {"mem", "mem-per-cpu", "mem-per-gpu"}, {"requeue", "no-requeue"}]
SRUN = {"output": ANY, "error": ANY, "open-mode": "append|truncate", "cpus-per-task": COUNT, "kill-on-bad-exit": "0|1"}
SRUN_FLAGS = {"unbuffered"}
REQUEUES = 5


class Refused(Exception):
    """What the real command would print, with which it exits 1."""


def words(line: str) -> list[str]:
    """The words behind #SBATCH, as SLURM splits them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        return list(lexer)
    except ValueError as error:
        raise Refused(f"sbatch: fatal: Unmatched quote in [{line}]: {error}") from error


def checked(name: str, value: str | None) -> None:
    """Refuse what is no option, lacks its value, has one too many, or one of another syntax."""
    if (name in FLAGS and value is None) or (name in EITHER and value is None):
        return
    syntax = {**VALUED, **EITHER}.get(name)
    if name in FLAGS:
        raise Refused(f"sbatch: option '--{name}' doesn't allow an argument")
    if syntax is None:
        raise Refused(f"sbatch: unrecognized option '--{name}'")
    if value is None:
        raise Refused(f"sbatch: option '--{name}' requires an argument")
    if not re.fullmatch(syntax, value):
        raise Refused(f"sbatch: error: Invalid --{name} specification: {value!r}")


def parsed(script: str) -> dict[str, str]:
    """The options of a script; "" is one without a value."""
    lines = script.splitlines()
    if not lines or not lines[0].startswith("#!"):
        raise Refused("sbatch: error: This does not look like a batch script. The first line must start with #!")
    found: dict[str, str] = {}
    for line in lines:
        if not line.startswith("#SBATCH"):
            if line.strip() and not line.lstrip().startswith("#"):
                break
            continue
        waiting = words(line.removeprefix("#SBATCH"))
        for word in waiting:
            if not word.startswith("--"):
                raise Refused(f"sbatch: error: {word!r} is no long option")
            name, equals, value = word[2:].partition("=")
            checked(name, value if equals else None)
            found[name] = value
    for group in APART:
        if len(both := sorted(group & found.keys())) > 1:
            raise Refused(f"sbatch: fatal: --{both[0]} and --{both[1]} are mutually exclusive")
    return found


def indexes(text: str) -> list[int]:
    """The elements that an --array names."""
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        ends, _, step = part.partition(":")
        first, _, last = ends.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def sbatch(arguments: list[str]) -> None:
    """Take a job into the queue."""
    (script,) = arguments
    text, folder = Path(script).read_text(), Path(os.environ["CLUSTER"])
    options = parsed(text)
    number = 101 + len(list(folder.glob("*.job")))
    job = {"script": text, "options": options, "cwd": str(Path.cwd())}
    (folder / f"{number}.job").write_text(json.dumps(job))
    print(f"Submitted batch job {number}")


def srun(arguments: list[str]) -> None:
    """Start the processes of a step, wait for all of them, exit with the worst status."""
    told: dict[str, str] = {}
    while arguments and arguments[0].startswith("--"):
        name, equals, value = arguments.pop(0)[2:].partition("=")
        if name in SRUN_FLAGS:
            continue
        if name not in SRUN:
            raise Refused(f"srun: unrecognized option '--{name}'")
        told[name] = value if equals else arguments.pop(0)
        if not re.fullmatch(SRUN[name], told[name]):
            raise Refused(f"srun: error: Invalid --{name} specification: {told[name]!r}")
    per_node = int(os.environ["SLURM_NTASKS_PER_NODE"])
    running = []
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        own = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank % per_node, "SLURM_NODEID": rank // per_node}
        with Path(named(told["output"], rank)).open("a" if told.get("open-mode") == "append" else "w") as log:
            variables = {**os.environ, **{key: str(value) for key, value in own.items()}}
            running.append(subprocess.Popen(arguments, env=variables, stdout=log, stderr=subprocess.STDOUT))
    (Path(os.environ["CLUSTER"]) / "pids").write_text(" ".join(str(process.pid) for process in running))
    statuses = [process.wait() for process in running]
    sys.exit(max(128 - status if status < 0 else status for status in statuses))


def named(pattern: str, rank: int) -> str:
    """The file that a pattern of sbatch or srun stands for."""
    variables = os.environ
    signs = {"%A": variables.get("SLURM_ARRAY_JOB_ID", ""), "%a": variables.get("SLURM_ARRAY_TASK_ID", "")}
    for sign, value in {**signs, "%j": variables["SLURM_JOB_ID"], "%t": str(rank)}.items():
        pattern = pattern.replace(sign, value)
    return pattern


def scontrol(arguments: list[str]) -> None:
    """Note that a job is to run again."""
    verb, job = arguments
    if verb != "requeue" or not re.fullmatch(r"\d+(_\d+)?", job):
        raise Refused(f"scontrol: invalid entity: {arguments}")
    with (Path(os.environ["CLUSTER"]) / "requeued").open("a") as file:
        file.write(f"{job}\n")


def work(folder: Path) -> dict[str, int]:
    """Run what waits, job by job; the exit status of each element. What waits for a failed job is taken away."""
    done: dict[str, int] = {}
    for path in sorted(folder.glob("*.job")):
        number, job = path.stem, json.loads(path.read_text())
        options = job["options"]
        before = re.findall(r"afterok((?::\d+)+)", options.get("dependency", ""))
        awaited = [one for group in before for one in group.strip(":").split(":")]
        assert all(any(name.partition("_")[0] == one for name in done) for one in awaited), "waits for no such job"
        lost = any(status for name, status in done.items() if name.partition("_")[0] in awaited)
        for index in indexes(options["array"]) if "array" in options else [None]:
            name = number if index is None else f"{number}_{index}"
            done[name] = -1 if lost else _element(folder, number, index, job)
    return done


def _element(folder: Path, number: str, index: int | None, job: dict[str, object]) -> int:
    """Run one element, and again as often as it asks."""
    options = job["options"]
    assert isinstance(options, dict)
    nodes, per_node = int(options["nodes"]), int(options["ntasks-per-node"])
    own = {
        "CLUSTER": folder,
        "SLURM_JOB_ID": number if index is None else int(number) + 1000 + index,
        "SLURM_JOB_NAME": options["job-name"],
        "SLURM_JOB_NUM_NODES": nodes, "SLURM_NNODES": nodes, "SLURM_NTASKS": nodes * per_node,
        "SLURM_NTASKS_PER_NODE": per_node, "SLURM_JOB_NODELIST": "localhost", "SLURM_NODELIST": "localhost",
        **({} if index is None else {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index}),
    }  # fmt: skip
    name = number if index is None else f"{number}_{index}"
    variables = {**os.environ, **{key: str(value) for key, value in own.items()}}
    for count in range(REQUEUES):
        script = folder / f"{name}.sh"
        script.write_text(str(job["script"]))
        variables["SLURM_RESTART_COUNT"] = str(count)
        status = subprocess.run(["bash", str(script)], env=variables, cwd=str(job["cwd"])).returncode
        asked = (folder / "requeued").read_text().split() if (folder / "requeued").exists() else []
        if asked.count(name) <= count:
            return status
        assert "requeue" in options, "a job that may not be requeued was"
        assert asked.count(name) == count + 1, "requeued more than once"
    raise AssertionError(f"{name} never ends")


def install(folder: Path) -> None:
    """Write the commands."""
    for name in ("sbatch", "srun", "scontrol"):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    try:
        {"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:])
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(1)
