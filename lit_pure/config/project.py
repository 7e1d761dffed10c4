"""Where the files are that come with lit_pure: experiments, presets, protocols, published tables, shipped runs.

Knows that they lie beside the package in a clone, and inside it where a wheel was installed (`setup.py` puts them
there), and which commands a user of each has. A user's own files, below the working directory, come first. Knows
nothing of what is in a file. Imports nothing slow.
"""

from pathlib import Path

from lit_pure.config import library
from lit_pure.config.mistakes import ConfigError

PACKAGE = Path(__file__).parents[1]
INSIDE = PACKAGE / "_project"
"""The folder of a wheel that has what lies beside the package in a clone."""
INSTALLED = INSIDE.is_dir()
"""Whether the package comes from a wheel."""
PROJECT = INSIDE if INSTALLED else PACKAGE.parent
"""The folder with experiments/, data/ and notebooks/. It is only read: what is made goes to the working directory."""
ROOTS = (Path(library.FOLDER), PROJECT / library.FOLDER)
"""Folders of experiments: the user's, below the working directory, then the project's."""


def require_project() -> None:
    """Raises ConfigError where the package is installed without its experiments and data."""
    if not (PROJECT / library.FOLDER / "schema.json").is_file():
        raise ConfigError(
            "lit-pure is installed without its experiments/ and data/; install it again from its clone: "
            "pip install FOLDER_OF_THE_CLONE"
        )


def locate(path: str) -> Path:
    """`path` below the working directory if it exists, else below the project (as shipped); absolute paths stay."""
    here = Path(path)
    return here if here.exists() or here.is_absolute() else PROJECT / path


def names_in(folder: str) -> list[str]:
    """The names of all YAML files in a folder such as data/studies, the user's and the project's."""
    return sorted({path.stem for root in (Path(), PROJECT) for path in (root / folder).glob("*.yaml")})


def make_or(make: str, lit_pure: str) -> str:
    """The command to name in a message: make's in a clone, where it sets up as well; lit-pure's where there is none."""
    return lit_pure if INSTALLED else make


def command_to_install(package: str) -> str:
    """The command that installs a package which pip does not install with this one (see setup.cfg)."""
    return make_or("make setup", f"pip install --no-deps --no-build-isolation {package}")


def command_to_run(experiment: str, settings: str = "") -> str:
    """The command that runs an experiment, with settings such as base=demo."""
    given = f' SET="{settings}"' if settings else ""
    return make_or(f"make exp NAME={experiment}{given}", f"lit-pure run {experiment} {settings}".rstrip())
