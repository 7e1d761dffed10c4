"""Puts what lies beside the package in a clone into the wheel: `lit_pure/_project/`. All else is in setup.cfg.

An editable install takes these files from the clone (see lit_pure/config/project.py), so nothing is copied for it.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
INSIDE = Path("lit_pure") / "_project"
FILES = (
    "experiments/**/*.yaml",
    "experiments/schema.json",
    "data/captions/*.jsonl",
    "data/degradation/*.yaml",
    "data/lists/*.txt",
    "data/photos/*.png",
    "data/protocols/*.yaml",
    "data/published/*.yaml",
    "data/runs/**/shipped/**/*",
    "data/studies/*.yaml",
    "data/vocabulary/*.json",
    "notebooks/*.ipynb",
)
"""Named one by one: data/ also holds photographs that nobody may pass on, or links to them."""


def project_files() -> list[str]:
    """Paths below the clone, sorted; files only."""
    found = {path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


class BuildWithProject(build_py):
    """Copies the project's files beside the modules. A source distribution has them, too, and can be built."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        for source, target in self._targets().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """All that a source distribution needs."""
        return [*super().get_source_files(), *project_files()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """All that is written."""
        return [*super().get_outputs(include_bytecode), *self._targets().values()]

    def get_output_mapping(self) -> dict[str, str]:
        """What is written -> what it is a copy of."""
        return super().get_output_mapping() | {target: source for source, target in self._targets().items()}

    def _targets(self) -> dict[str, str]:
        if self.editable_mode:
            return {}
        return {file: str(Path(self.build_lib) / INSIDE / file) for file in project_files()}


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithProject})
