"""The published sets that PURE is trained and tested on: their homes, counts, sizes and names of pictures.

Knows only facts, as tables. Knows nothing of unpacking and checking (`prepare.py`); nothing is downloaded: `home` says
where to find a set. What papers and pages do not state is listed as uncertain.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Part:
    """A group of pictures in a set."""

    title: str
    """Name in messages."""
    where: str
    """Regular expression for a full published path: names of source folder and archive, then the path inside."""
    out: str
    """Path below the output folder; may refer to groups of `where`, as `re.Match.expand` takes them."""
    count: int
    archives: tuple[str, ...]
    """Patterns for the names of the archives to open, in lower case and without .tar.gz or .zip."""
    example: str
    """A published path, for messages."""
    all_archives: bool = False
    """Whether each of `archives` is needed; otherwise any archive with the pictures will do."""
    size: tuple[int, int] | None = None
    """Height and width of each written picture [px]; None allows any."""
    numbered: str = ""
    """Format of consecutive output paths from `first` on: {n}, {up} and {down} (n rounded to thousands)."""
    first: int = 0
    crop: int = 0
    """Side of the square that is cut out of the centre [px]; 0 copies the file unchanged."""
    step: int = 1
    """The corner of that square is a multiple of this: the scale, so that both squares of a pair show the same."""


@dataclass(frozen=True)
class PublishedSet:
    """One set."""

    about: str
    home: str
    licence: str
    """A hint, not advice: read what the publisher says."""
    uncertain: str
    """What could not be verified."""
    parts: tuple[Part, ...]
    use: tuple[str, ...]
    """What to type once the set is prepared; {out} is the output folder."""
    check: str = "lit-pure check-data {out}/hq --lq {out}/lq"
    """The command that reads all of it."""
    meta_info: bool = False
    """Whether to write a list of all pictures with their sizes."""


LSDIR = Part(
    title="LSDIR",
    where=r"(?:.*/)?(\d{4}000)/(\d{7})\.png",
    out=r"lsdir/\1/\2.png",
    count=84_991,
    archives=tuple(f"shard-{number:02}" for number in range(17)),
    example="shard-00.tar.gz with 0001000/0000001.png",
    all_archives=True,
    numbered="lsdir/{up:07}/{n:07}.png",
    first=1,
)
FFHQ_10K = Part(
    title="FFHQ, the first 10,000",
    where=r"(?!.*(?:thumbnails|in-the-wild))(?:.*/)?(0\d)(\d{3})\.png",
    out=r"ffhq/\g<1>000/\1\2.png",
    count=10_000,
    archives=("*images1024x1024*", "*ffhq*", "[0-9][0-9]000"),
    example="images1024x1024/00000/00000.png",
    size=(1024, 1024),
    numbered="ffhq/{down:05}/{n:05}.png",
)
OST300 = Part(
    title="OST300",
    where=r"(?!.*anno)(?:.*/)?(OST_\d{3}\.(?:png|jpg))",
    out=r"photos/\1",
    count=300,
    archives=("*ost300_img*", "*outdoorscenetest300*"),
    example="OST300_img.zip with OST_001.png",
)


def _stable_sr(title: str, folder: str, count: int) -> tuple[Part, Part]:
    """HR and LR of a test set as StableSR cropped it: squares of 512 and 128 px of equal names."""
    archives = ("*stablesr*test*sets*", f"*{folder.lower()}*")
    hq, lq = (
        Part(
            title=f"{title}, {side}",
            # or the folder with test_HR and test_LR itself, whatever its name
            where=rf"(?:(?:.*/)?{folder}|[^/]+)/test_{side}/([^/]+\.png)",
            out=rf"{out}/\1",
            count=count,
            archives=archives,
            example=f"StableSR_testsets.zip with {folder}/test_{side}",
            size=(pixels, pixels),
        )
        for side, out, pixels in (("HR", "hq", 512), ("LR", "lq", 128))
    )
    return hq, lq


_DREALSR_X2 = Part(
    title="DRealSR x2, HR",
    where=r"(?i:(?:.*/)?(?:test_)?x2/(?:test_x2/)?test_hr)/([^/]+?)(?:_x\d)?\.png",
    out=r"hq/\1.png",
    count=83,
    archives=("*test_x2*", "*drealsr*", "x2"),
    example="Test_x2.zip with test_HR and test_LR",
    size=(512, 512),
    crop=512,
    step=2,
)
_TESTSETS = "Hugging Face, data set Iceclear/StableSR-TestSets: StableSR_testsets.zip (3.06 GB)"
_SLAB = "S-Lab License 1.0 (not commercial)"


def _pair(name: str) -> tuple[str, ...]:
    return (f"data.test.{name}.source={{out}}/hq data.test.{name}.lq={{out}}/lq",)


SETS = {
    "lsdir_ffhq10k": PublishedSet(
        about="training: LSDIR (84,991 photographs) and the first 10,000 faces of FFHQ, as SeeSR and PURE take them",
        home="LSDIR: Hugging Face, model ofsoundof/LSDIR (on request), shard-00.tar.gz to shard-16.tar.gz (155 GB); "
        "FFHQ: github.com/NVlabs/ffhq-dataset, images1024x1024",
        licence="LSDIR: for research; FFHQ: CC BY-NC-SA 4.0, single pictures have their own licences",
        uncertain="that LSDIR's numbers have no gap (names of missing pictures are a guess); which 10,000 faces PURE "
        "used (OSEDiff, whose data PURE names, says: the first)",
        parts=(LSDIR, FFHQ_10K),
        use=("data.train.source={out} data.train.meta_info={out}/meta_info.txt",),
        check="lit-pure check-data {out}",
        meta_info=True,
    ),
    "ost_val": PublishedSet(
        about="test: outdoor scenes, shorter side to 512 px, centre 512 x 512, LQ by SeeSR's degradation",
        home="mmlab.ie.cuhk.edu.hk/projects/SFTGAN: OutdoorSceneTest300, OST300_img.zip",
        licence="not stated",
        uncertain="that PURE's OST validation set is OutdoorSceneTest300: its paper gives neither number nor names; "
        "the random numbers of its LQ pictures",
        parts=(OST300,),
        use=("lit-pure degrade {out}/photos {out} --preset seesr --size 512 --fit resize", *_pair("ost_val")),
        check="lit-pure check-data {out}/photos --least 1",
    ),
    "realsr": PublishedSet(
        about="test: RealSR version 3, centre crops of StableSR, 128 to 512 px",
        home=_TESTSETS,
        licence=_SLAB,
        uncertain="",
        parts=_stable_sr("RealSR", "RealSRVal_crop128", 100),
        use=_pair("realsr"),
    ),
    "drealsr": PublishedSet(
        about="test: DRealSR at scale 4, centre crops of StableSR, 128 to 512 px; PURE's table uses drealsr_x2",
        home=_TESTSETS,
        licence=_SLAB,
        uncertain="",
        parts=_stable_sr("DRealSR", "DrealSRVal_crop128", 93),
        use=_pair("drealsr"),
    ),
    "drealsr_x2": PublishedSet(
        about="test: DRealSR at scale 2 as in PURE's paper, centres of 256 (LR) and 512 px (HR)",
        home="github.com/xiezw5/Component-Divide-and-Conquer-for-Real-World-Image-Super-Resolution: test set x2",
        licence="not stated",
        uncertain="the count (83 from memory of DRealSR's paper, not checked), the layout of the archive and "
        "PURE's own selection; use --count where yours differs",
        parts=(
            _DREALSR_X2,
            replace(
                _DREALSR_X2,
                title="DRealSR x2, LR",
                where=_DREALSR_X2.where.replace("test_hr", "test_lr"),
                out=r"lq/\1.png",
                size=(256, 256),
                crop=256,
                step=1,
            ),
        ),
        use=(*_pair("drealsr_x2"), "data.degradation.scale=2"),
    ),
    "reallq250": PublishedSet(
        about="test: RealLQ250, low-quality pictures without ground truth",
        home="github.com/shallowdream204/DreamClear (link to Google Drive)",
        licence="of the pictures: not stated",
        uncertain="the name of the archive",
        parts=(
            Part(
                title="RealLQ250",
                where=r"(?:.*/)?lq/([^/]+\.png)",
                out=r"lq/\1",
                count=250,
                archives=("*reallq250*", "lq"),
                example="RealLQ250.zip with lq/001.png",
            ),
        ),
        use=("data.test.reallq250.source= data.test.reallq250.lq={out}/lq",),
        check="lit-pure check-data {out}/lq --least 1",
    ),
}
"""The sets by the name that `lit-pure prepare` takes."""
