"""What a study asks and of what: `data/studies/NAME.yaml`, checked before anything is computed.

Knows arms, sets, seeds and claims as they are written down. Knows nothing of weights, pictures or pages, and imports no
torch, so that a mistake is refused at once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lit_pure.config.compose import PROJECT, ConfigError, locate, read
from lit_pure.config.knobs import Problem, knob
from lit_pure.metrics.table import METRICS

FOLDER = "data/studies"
"""Where plans lie: NAME.yaml."""
ENTROPY = {
    "entropy-edges": "rank correlation of entropy and edges",
    "entropy-texture": "rank correlation of entropy and texture",
}
"""What is measured of entropy maps, beside the metrics of pictures."""
_CLAIM = re.compile(
    r"(?P<metric>[\w+-]+): (?P<better>\w+) better than (?P<than>\w+)"
    r"(?: by (?P<by>-?\d+(?:\.\d+)?))?(?: on (?P<set>[\w-]+))?"
)

Method = Literal["restore", "bicubic", "reconstruct"]
"""What an arm does with a picture: restore its LQ by a PURE run, enlarge that, or take its HQ through a tokenizer."""


@dataclass(frozen=True)
class Claim:
    """One mean is better than another, by at least so much."""

    metric: str
    better: str
    than: str
    by: float = 0.0
    """In the metric's unit; below 0: not worse by more."""
    on: str = ""
    """The one set that it is about; empty: each."""


@dataclass
class SetConfig:
    """Pictures: photographs that are degraded, or pairs that are given."""

    photos: str = ""
    """A folder of photographs, or `skimage`."""
    names: list[str] = knob([])
    """File names without extension to take; empty takes all."""
    preset: str = "realesrgan"
    """How the photographs are degraded."""
    size: int = knob(0, low=0)
    """Side of the square in the middle that is taken of each [px]; 0 takes the whole photograph."""
    lq: str = ""
    """A folder of given LQ pictures."""
    hq: str = ""
    """The folder of their HQ pictures."""
    shown: bool = False
    """Whether the page shows these pictures instead of counting them; they must be free to show."""

    def problems(self) -> Iterator[Problem]:
        if bool(self.photos) == bool(self.lq) or bool(self.lq) != bool(self.hq):
            yield "photos", "or lq and hq: name a folder of photographs, or two of pairs"


@dataclass
class ArmConfig:
    """One way to do it."""

    what: str = ""
    """In a few words."""
    row: str = ""
    """The published row that it is like."""
    method: Method = "restore"
    run: str = ""
    """Whose weights; empty takes the study's."""
    settings: list[str] = knob([])
    """What differs from the run, such as sampling.k=1; laid over the study's."""
    words: Literal["model", "given"] = "model"
    """Who says what the answer says before its image: the model, or the estimator and the caption of the HQ picture."""
    sets: list[str] = knob([])
    """The sets that it is measured on; empty: all."""
    seeds: int = knob(0, low=0)
    """With how many of the study's seeds it is done; 0: all. One is as good as all where chance decides nothing."""


@dataclass
class StudyConfig:
    """A study."""

    title: str = ""
    question: str = ""
    """What is asked, in a paragraph."""
    layout: str = ""
    """The layout of `report` whose published rows stand beside ours; empty: none."""
    run: str = ""
    """Whose weights, where an arm names no other."""
    settings: list[str] = knob([])
    """What differs from the run for all arms."""
    seeds: list[int] = knob([0, 1, 2], low=0)
    """Of sampling."""
    metrics: list[str] = knob(["psnr", "ssim", "niqe"])
    """Keys of metrics, `entropy-edges` and `entropy-texture`."""
    sets: dict[str, SetConfig] = field(default_factory=dict)
    arms: dict[str, ArmConfig] = field(default_factory=dict)
    claims: list[str] = knob([])
    """Such as "psnr: top1 better than dynamic by 0.5 on bsds500"; the last two parts may be left out."""
    source: str = ""
    """Where the claims come from."""
    findings: list[str] = knob([])
    """What the answers mean, and why a claim does not hold: written by hand, once the figures are there."""
    remarks: list[str] = knob([])
    """What one must know to read it."""

    def problems(self) -> Iterator[Problem]:
        if unknown := [key for key in self.metrics if key not in METRICS and key not in ENTROPY]:
            yield "metrics", f"has no {unknown[0]}; there are {', '.join([*METRICS, *ENTROPY])}"
        if sets := [key for key in self.metrics if key in METRICS and METRICS[key].of_sets]:
            yield "metrics", f"{sets[0]} compares sets, no single pictures"
        for text in self.claims:
            found = _CLAIM.fullmatch(text)
            if found is None:
                yield "claims", f"{text!r}: write METRIC: ARM better than ARM, perhaps by NUMBER, on SET"
                continue
            known = {"metric": self.metrics, "better": self.arms, "than": self.arms, "set": ["", *self.sets]}
            for part, there in known.items():
                if (found[part] or "") not in there:
                    yield "claims", f"{text!r}: there is no {part} {found[part]!r}; there are {', '.join(there)}"
        for name, arm in self.arms.items():
            if wrong := [one for one in arm.sets if one not in self.sets]:
                yield f"arms.{name}.sets", f"has no {wrong[0]}; there are {', '.join(self.sets)}"
            if arm.method != "bicubic" and not (arm.run or self.run):
                yield f"arms.{name}.run", "is empty, and so is the study's: name a run"

    def parsed_claims(self) -> list[Claim]:
        """The claims, read."""
        parts = [found.groupdict() for text in self.claims if (found := _CLAIM.fullmatch(text))]
        return [
            Claim(one["metric"], one["better"], one["than"], float(one["by"] or 0), one["set"] or "") for one in parts
        ]


def studies() -> list[str]:
    """The names of all plans."""
    return sorted({path.stem for root in (Path(), PROJECT) for path in (root / FOLDER).glob("*.yaml")})


def plan_of(name: str) -> StudyConfig:
    """The plan of a name. Raises ConfigError with all that is wrong with it."""
    path = locate(f"{FOLDER}/{name}.yaml")
    if not path.is_file():
        raise ConfigError(f"no study {name!r} (looked for {path}); there are {', '.join(studies()) or 'none'}")
    return read(StudyConfig, path)
