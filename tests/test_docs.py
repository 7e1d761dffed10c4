"""README and documentation against the code: commands parse; files, knobs and links exist; figures are the kept ones.

`make docs` checks what is left: links between pages, their anchors, and that every page is in the navigation.
"""

import argparse
import ast
import dataclasses
import importlib
import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lit_pure.__main__ import COMMANDS, main, parser
from lit_pure.config import compose as composing
from lit_pure.config.compose import PROJECT, ConfigError, compose, experiment_names, grid, is_sweep
from lit_pure.config.families import FAMILIES
from lit_pure.runs import folder as runs
from lit_pure.study.plan import plan_of, studies
from tests.rooms import arrows

README = PROJECT / "README.md"
PAGES = [README, PROJECT / "data" / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8") for path in PAGES}
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
LIT_PURE = (["lit-pure"], [".venv/bin/lit-pure"], ["python", "-m", "lit_pure"])
"""How the command line is called."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")


def fenced(text: str, *languages: str) -> list[str]:
    """The code blocks of a page in one of these languages."""
    return [body for language, body in FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """The pieces of inline code of a page, each in one line."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]


def words(line: str) -> list[str]:
    """The words of a line as a shell reads them, without its comment; none where it is not a line of a shell."""
    try:
        return shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:
        return []


def called() -> Iterator[tuple[str, str]]:
    """Page and line of every command, in blocks and inline."""
    for page, text in TEXTS.items():
        blocks = [line for block in fenced(text, "", "console") for line in block.splitlines()]
        for line in [*blocks, *spans(text)]:
            if line.removeprefix("$ ").startswith(("lit-pure ", ".venv/bin/lit-pure ", "python -m lit_pure ", "make ")):
                yield page, line


def ours(line: str) -> list[str] | None:
    """The arguments of `lit-pure`; None where the line calls something else."""
    found = words(line)
    return next((found[len(call) :] for call in LIT_PURE if found[: len(call)] == call), None)


OURS = [(page, line) for page, line in called() if ours(line)]
MADE = [(page, line) for page, line in called() if words(line)[:1] == ["make"]]


def known(name: str) -> bool:
    """Whether there is such an experiment, variant of a sweep, folder of experiments, or one that a page adds."""
    name = runs.experiment_of(name.removeprefix("experiments/").removesuffix(".yaml")).removesuffix("/shipped")
    added = {path for text in TEXTS.values() for path in re.findall(r"Write `experiments/(\S+)\.yaml`", text)}
    return name in {*experiment_names(), *added} or (PROJECT / "experiments" / name).is_dir()


def parsed(argv: list[str]) -> argparse.Namespace | None:
    """What the real parser makes of arguments; None where they ask for help or the version."""
    try:
        return parser(argv).parse_args(argv)
    except SystemExit as exit:
        assert exit.code == 0, "the parser refuses it"
        return None


def refused_on_purpose(page: str, line: str) -> bool:
    """Whether a page shows the line for its error."""
    return any(line in block for block in fenced(TEXTS[page], "console"))


def test_there_are_commands_to_check() -> None:
    assert len(OURS) > 60 and len(MADE) > 20
    assert {argv[0] for _, line in OURS if (argv := ours(line))} >= set(COMMANDS), "each command is documented"


@pytest.mark.parametrize(("page", "line"), sorted(set(OURS)))
def test_a_command_is_what_the_parser_takes_and_names_what_exists(page: str, line: str) -> None:
    argv = ours(line)
    assert argv
    if (len(argv) == 1 and argv[0] in COMMANDS) or argv[0] == "COMMAND":
        return  # a command is mentioned, not called
    arguments = parsed(argv)
    if arguments is None:
        return
    given = vars(arguments)
    named = [given.get("experiment"), given.get("run"), *(given.get("runs") or ())]
    for name in named if argv[0] not in ("export",) else ():
        assert name in (None, "metrics") or known(name), f"there is no experiment {name}"
    if argv[0] == "study":
        assert arguments.name in studies()
    if (overrides := given.get("overrides")) and not is_sweep(arguments.experiment):
        if refused_on_purpose(page, line):
            with pytest.raises(ConfigError) as refused:
                compose(arguments.experiment, overrides)
            assert f"{line}\n{refused.value}\n" in TEXTS[page], "the error is what the page shows"
        else:
            assert compose(arguments.experiment, overrides)


@pytest.mark.parametrize(("page", "line"), sorted(set(MADE)))
def test_make_knows_target_and_variables(page: str, line: str) -> None:
    targets = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    variables = set(re.findall(r"^([A-Z]+) \??=", MAKEFILE, re.MULTILINE))
    given = dict(word.split("=", 1) for word in words(line)[1:] if "=" in word)
    asked = [word for word in words(line)[1:] if "=" not in word]
    assert set(asked) <= {*targets, "TARGET"} and set(given) <= variables
    if (name := given.get("NAME", "...")) not in ("...", "NAME"):
        assert name in studies() if asked == ["study"] else known(name), f"there is no {name}"
    if asked == ["exp"] and "SET" in given and name in experiment_names():
        assert compose(name, given["SET"].split())


@pytest.mark.parametrize("page", TEXTS)
def test_files_and_rooms_that_a_page_names_exist(page: str) -> None:
    tops = r"(lit_pure|docs|data|examples|experiments|tests|notebooks)"
    paths = [span for span in spans(TEXTS[page]) if re.fullmatch(rf"{tops}/[\w./-]*", span)]
    paths = [path for path in paths if not re.search(r"NAME|colder", path)]
    # Photographs are not committed: of data/ only files are asked for, and the folders of small files.
    small = tuple(f"data/{name}" for name in ("degradation", "lists", "protocols", "published", "runs", "studies"))
    paths = [path for path in paths if not path.startswith("data/") or path.startswith(small)]
    assert not [path for path in paths if not (PROJECT / path).exists()]


def knob_exists(schema: type, parts: list[str]) -> bool:
    """Whether a dotted key leads to a field of a dataclass, or to a dataclass itself."""
    if not parts:
        return True
    if typing.get_origin(schema) is dict:
        return knob_exists(typing.get_args(schema)[1], parts[1:])
    if not dataclasses.is_dataclass(schema):
        return False
    hints = typing.get_type_hints(schema)
    return parts[0] in hints and knob_exists(hints[parts[0]], parts[1:])


@pytest.mark.parametrize("page", TEXTS)
def test_knobs_that_a_page_names_exist(page: str) -> None:
    rooms = {name for schema in FAMILIES.values() for name in typing.get_type_hints(schema)}
    pattern = re.compile(r"([a-z]+(?:\.(?:[a-z_]\w*|<name>))+)(?:=\S*)?")
    found = [match[1] for span in spans(TEXTS[page]) for word in span.split() if (match := pattern.fullmatch(word))]
    keys = [
        key for key in found if key.split(".")[0] in rooms and not key.endswith((".py", ".yaml", ".json", ".jsonl"))
    ]
    wrong = [key for key in keys if not any(knob_exists(one, key.split(".")) for one in FAMILIES.values())]
    assert not wrong


@pytest.mark.parametrize("page", TEXTS)
def test_links_to_files_resolve(page: str) -> None:
    text = FENCE.sub("", TEXTS[page])
    targets = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    files = {target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")}
    assert not [file for file in files if not ((PROJECT / page).parent / file).exists()]


@pytest.mark.parametrize("page", TEXTS)
def test_blocks_of_yaml_compose(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in fenced(TEXTS[page], "yaml"):
        values = yaml.safe_load(block)
        (tmp_path / "experiments").mkdir(exist_ok=True)
        for name in ("pure", "photos"):
            if not (tmp_path / "experiments" / name).exists():
                (tmp_path / "experiments" / name).symlink_to(PROJECT / "experiments" / name)
        (tmp_path / "experiments" / "block.yaml").write_text(block if "base" in values else f"base: pure/nano\n{block}")
        monkeypatch.chdir(tmp_path)
        variants = grid("block") if "sweep" in values else {"": []}
        assert all(composing.compose("block", items) for items in variants.values())


@pytest.mark.parametrize("page", TEXTS)
def test_blocks_of_python_import_what_exists(page: str) -> None:
    for block in fenced(TEXTS[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), node.module


class TestReadme:
    def test_it_is_short(self) -> None:
        assert len(TEXTS["README.md"]) <= 9000

    def test_its_diagram_has_ten_boxes_at_most(self) -> None:
        [diagram] = fenced(TEXTS["README.md"], "mermaid")
        assert 5 <= len(re.findall(r'\w+\["', diagram)) <= 10

    def test_its_results_are_those_of_the_study(self) -> None:
        arms = {"bicubic": "bicubic", "nano, as shipped": "drawn", "its decoder alone": "lq"}
        study = TEXTS["docs/studies/fidelity.md"]
        rows = [line.strip("| ").split(" | ") for line in TEXTS["README.md"].splitlines() if " .. " in line]
        assert len(rows) == 6
        for label, on, *cells in rows:
            table = study.split(f"**{on.removesuffix('/test')}, ")[1].split("\n\n")[1]
            [kept] = [line for line in table.splitlines() if line.startswith(f"| {arms[label]} |")]
            theirs = [
                float(number) for number in re.findall(r"\d+\.\d+", re.sub(r"± \S+", "", kept.split(" | ", 3)[3]))
            ]
            printed = [number for cell in cells for number in re.findall(r"\d+\.\d+", cell)]
            assert len(printed) == len(theirs) == 9
            for ours, full in zip(printed, theirs, strict=True):
                digits = len(ours.partition(".")[2])
                assert abs(float(ours) - full) <= 0.5001 * 10**-digits, (label, ours, full)

    def test_its_ablation_runs_as_printed(self, house: Path) -> None:
        """The file as it is shown, the first command below it, on the small demo of the tests."""
        text = TEXTS["README.md"]
        [path] = re.findall(r"Write `(experiments/\S+\.yaml)`", text)
        after = text[text.index(path) :]
        [block] = fenced(after, "yaml")
        command = next(line for line in fenced(after, "")[0].splitlines() if line.startswith("make exp"))
        given = dict(word.split("=", 1) for word in words(command)[2:])
        assert path == f"experiments/{given['NAME']}.yaml"
        (house / path).write_text(block)
        try:
            assert main(["run", given["NAME"], *given["SET"].split()]) == 0
            run = runs.require(given["NAME"])
            assert (
                run.provenance()["needs"]["weights"].startswith("demo/") and not (run.folder / "checkpoints").exists()
            )
            assert yaml.safe_load((run.folder / "config.yaml").read_text())["sampling"]["temperature"] == 0.7
        finally:
            (house / path).unlink()


def test_pictures_before_and_after_are_of_one_photograph() -> None:
    from lit_pure.images.io import read_bytes

    folder = PROJECT / "docs" / "images"
    assert (folder / "chelsea_lq.png").read_bytes() == (PROJECT / "data" / "photos" / "chelsea.png").read_bytes()
    before, after, truth = (read_bytes(folder / f"chelsea_{name}.png") for name in ("lq", "restored", "truth"))
    assert after.shape == truth.shape == (3, *(4 * side for side in before.shape[1:]))


def test_every_room_has_its_place_in_the_architecture_and_a_page_of_the_reference() -> None:
    rooms = {path.parent.name for path in (PROJECT / "lit_pure").glob("*/__init__.py")}
    listed = re.findall(r"^\| \[`(\w+)/`\]\(api/(\w+)\.md\)", TEXTS["docs/architecture.md"], re.MULTILINE)
    assert len(listed) == len(rooms) and set(listed) == {(room, room) for room in rooms}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (PROJECT / "docs" / "api").glob("*.md")}
    assert {name for name, text in pages.items() if f"::: lit_pure.{name}\n" in text} == rooms
    trees = {path.relative_to(PROJECT): ast.parse(path.read_text()) for path in (PROJECT / "lit_pure").rglob("*.py")}
    order = [room for room, _ in listed]
    among = [(own, other) for own, other in arrows(trees) if own in rooms and other in rooms]
    assert not [(own, other) for own, other in among if order.index(other) > order.index(own)], (
        "imports go up the table"
    )


@pytest.mark.parametrize("name", [name for name in studies() if plan_of(name).findings])  # others have no page yet
def test_a_study_s_page_begins_with_what_its_plan_says_was_learned(name: str) -> None:
    plan, page = plan_of(name), TEXTS[f"docs/studies/{name}.md"]
    learned = page.index("## What was learned")
    assert page.index(plan.question.strip()) < learned
    assert [line[2:] for line in page[learned:].split("\n\n")[1].splitlines()] == plan.findings
    assert all(f"\n- {remark}" in page for remark in plan.remarks)
    claimed = {(one.metric.upper(), one.better, one.than) for one in plan.parsed_claims()}
    shown = re.findall(r"^\| ([A-Z]+): (\w+) better than (\w+)", page, re.MULTILINE)
    assert set(shown) == claimed
