"""Every file that is read, damaged: its reader takes it, or says in one line what is wrong with it."""

import shutil
import zlib
from pathlib import Path

import pytest

from tests.fuzz.cases import WAYS, damaged, one_line_or_nothing, refusal
from tests.fuzz.readers import FILES, FORGIVING, RUN, V, write_all


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("written"))
        write_all()
        return Path.cwd()


@pytest.fixture
def here(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all these files."""
    monkeypatch.chdir(shutil.copytree(written, tmp_path / "here"))
    return Path.cwd()


def least(name: str, times: int = 1) -> int:
    """How many damaged versions of a file there are at least; of JSON there are more."""
    return WAYS[0] + WAYS[1] * FILES[name][1] * times


def sweep(name: str, times: int) -> int:
    path, read = Path(name), FILES[name][2]
    assert one_line_or_nothing(read, f"reading {name}"), "the whole one is taken"
    whole = path.read_bytes()
    taken = [
        one_line_or_nothing(read, f"reading {name} as {content[:200]!r}")
        for content in damaged(whole, zlib.crc32(name.encode()), FILES[name][1] * times)
        if not path.write_bytes(content) or True
    ]
    assert not all(taken) or name.startswith(FORGIVING), "some damage is seen"
    return len(taken)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_taken_or_refused_in_one_line(name: str, here: Path) -> None:
    assert sweep(name, 1) >= least(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_so_it_is_many_times_over(name: str, here: Path) -> None:
    assert sweep(name, 20) >= least(name, 20)


RUN_FILES = tuple(f"{V}/{name}" for name in ("summary.json", "scores.csv", "config.yaml", "provenance.json"))
COMMANDS = {
    "report": (*RUN_FILES, f"{V}/complexity.json"),
    "report --layout table1": RUN_FILES[:3],
    "gallery demo --out gallery": (*RUN_FILES[:3], f"{V}/images/demo/answers.jsonl"),
    "restore nowhere.png --run demo": RUN_FILES[2:],
    "export demo/version_0 exported": RUN_FILES[2:],
    "config runs/demo/version_0/config.yaml": RUN_FILES[2:3],
    "sweep grid --dry-run": (RUN_FILES[0], "experiments/grid.yaml"),
    "config mine": ("experiments/mine.yaml",),
    "plan demo needs.start=demo/version_0 --gpu-memory 80": (*RUN_FILES[2:], f"{V}/weights/config.json"),
    "study mine --arms nosuch": ("data/studies/mine.yaml",),
    "degrade nowhere out --preset mine": ("data/degradation/mine.yaml",),
    "evaluate --pred nowhere --protocol mine": ("data/protocols/mine.yaml",),
    "votes votes.json": ("votes.json",),
    "caption photos --source pixels --out captions.jsonl": ("captions.jsonl",),
}
"""Words of a command -> files that it may read, most before it needs torch."""
HARMS = (b"", b"[1", b"[" * 100_000, b"half", b"{}", b"\xff")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_says_in_one_line_what_is_damaged(words: str, here: Path) -> None:
    for name in COMMANDS[words]:
        whole = Path(name).read_bytes()
        for harm in HARMS:
            Path(name).write_bytes(whole[: len(whole) // 2] if harm == b"half" else harm)
            assert "(see lit-pure" not in refusal(words.split(" ")), "the words themselves are right"
        Path(name).write_bytes(whole)
    assert RUN.folder.is_dir(), "nothing is removed because it is damaged"


PLANNED = sum(map(least, FILES)) + len(HARMS) * sum(map(len, COMMANDS.values()))
"""Cases of this file but for the slow ones."""
