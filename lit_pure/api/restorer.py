"""`Restorer`: photographs in, restored photographs out, with the weights of any run of any family.

Knows how a restorer is called, saved and shared. Where weights are found is `find.py`'s, what a picture may be
`pictures.py`'s. Knows no family.
"""

import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Self, overload

import torch

from lit_pure.api.find import Hub, find_restorer
from lit_pure.api.pictures import Photo, RestoredImage, as_photo, require_large_enough
from lit_pure.config.experiment import ColorFix
from lit_pure.restoring.contract import SquareRestorer
from lit_pure.restoring.tiled import restore_photo


class Restorer:
    """Restores photographs of any size.

    >>> restorer = Restorer.from_pretrained("pure/nano_photo")
    >>> restorer("photo.jpg").save("restored.png")
    """

    def __init__(self, squares: SquareRestorer) -> None:
        """`squares`: a family's restorer, for example `module.restorer` of a LightningModule."""
        self.squares = squares

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str],
        settings: Sequence[str] = (),
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """The restorer of weights, on the CPU.

        Args:
            name: whatever names them: a run (`pure/nano_photo`, `demo/version_2`), the folder of a run or its
                `weights/`, what `save_pretrained`, `lit-pure export` or `lit-pure convert` wrote, a checkpoint file of
                a Trainer of Lightning, or a repository `owner/name` of the Hugging Face hub. The hub is not asked for
                a name that is known here.
            settings: of sampling and restoring, as `lit-pure restore --set` takes them, for example
                `["sampling.k_max=500"]`.
            revision: branch, tag or commit of the repository.
            token: for a private repository.
            cache_dir: where the hub's files are kept.
            local_files_only: whether to take only what was downloaded before.

        Raises:
            ValueError: nothing of that name has weights (the message says what was looked for), or they are damaged.
            MissingRun: the run is not made yet; the message names the command that makes it.
            ConfigError: a setting does not exist, or cannot be changed.
        """
        return cls(find_restorer(str(name), settings, Hub(revision, token, cache_dir, local_files_only)))

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a path is a sequence of letters, too: the first one counts
        self, photo: Photo, scale: int | None = ..., *, color_fix: ColorFix | None = ..., name: str | None = ...
    ) -> RestoredImage: ...

    @overload
    def __call__(
        self, photo: Sequence[Photo], scale: int | None = ..., *, color_fix: ColorFix | None = ..., name: None = ...
    ) -> list[RestoredImage]: ...

    def __call__(
        self,
        photo: Photo | Sequence[Photo],
        scale: int | None = None,
        *,
        color_fix: ColorFix | None = None,
        name: str | None = None,
    ) -> RestoredImage | list[RestoredImage]:
        """Restore a photograph, or each of several.

        Args:
            photo: a path, a picture of Pillow, an array (h, w, 3), a tensor (3, h, w); or a list or tuple of these.
            scale: factor by which each side is enlarged; None: what the model was trained for.
            color_fix: source of the colours; None: that of the settings, `wavelet` unless they say otherwise.
            name: decides what is drawn; None: the name of the file, as `lit-pure restore` takes it.

        Raises:
            ValueError: it is no photograph, is too small, or `scale` is below 1; BadImage for a file.
            MemoryError: the result does not fit.
        """
        if isinstance(photo, list | tuple):
            return [self(one, scale, color_fix=color_fix) for one in photo]
        photo_3hw, own = as_photo(photo)  # type: ignore[arg-type]
        name = name or own
        require_large_enough(photo_3hw, name)
        return RestoredImage(name, restore_photo(self.squares, photo_3hw, name, scale, color_fix))

    @property
    def scale(self) -> int:
        """Factor by which a side is enlarged, unless another one is given."""
        return self.squares.scale

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.squares.device

    def to(self, device: torch.device | str) -> Self:
        """Move it to a device, for example `cuda`."""
        self.squares.to(torch.device(device))
        return self

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write all that it needs to a folder, which `from_pretrained` reads anywhere: settings and all weights."""
        self.squares.save_to(Path(folder))
        return Path(folder)

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None, license: str | None = None
    ) -> str:
        """Upload what `save_pretrained` writes to `owner/name` on the Hugging Face hub; returns its address.

        Args:
            repository: `owner/name`; made where it is missing.
            private: whether others cannot see it; None: as the owner's settings say.
            token: of the hub; None: the one that is stored on this machine.
            license: of the weights, as the hub names it, for example `mit`; for the card of a new repository.
        """
        from huggingface_hub import HfApi

        from lit_pure.api.card import README, write_card

        api = HfApi(token=token)
        address = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as room:
            folder = self.save_pretrained(Path(room) / "restorer")
            if api.file_exists(address.repo_id, README):  # its author may have written more
                (folder / README).unlink(missing_ok=True)
            else:
                write_card(folder, address.repo_id, self.squares, license)
            api.upload_folder(repo_id=address.repo_id, folder_path=folder)
        return str(address)
