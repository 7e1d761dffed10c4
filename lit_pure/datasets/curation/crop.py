"""The centre of a published picture, for sets whose papers test on it.

Knows where the centre is, so that both pictures of a pair show the same view. Knows nothing of folders, and writes
nothing.
"""

from io import BytesIO
from pathlib import Path

from lit_pure.datasets.curation.archives import SourceFile
from lit_pure.datasets.curation.published import Part
from lit_pure.images.opening import opened


def crop_centre(part: Part, member: SourceFile) -> tuple[bytes, tuple[int, int]]:
    """The centre of a picture as PNG, and height and width of the whole picture. Raises ValueError."""
    try:
        with opened(Path(member.origin), BytesIO(member.read())) as picture:
            width, height = picture.size
            left, top = (part.step * ((side // part.step - part.crop // part.step) // 2) for side in picture.size)
            if min(left, top) < 0:
                raise ValueError(f"{height} x {width} px is smaller than {part.crop} x {part.crop}")
            written = BytesIO()
            picture.crop((left, top, left + part.crop, top + part.crop)).save(written, format="PNG")
    except Exception as error:  # Pillow raises nearly anything when a file is damaged
        raise ValueError(f"{member.origin}: {error}") from error
    return written.getvalue(), (height, width)
