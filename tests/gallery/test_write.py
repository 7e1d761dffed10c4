"""The page as a file: pictures without loss, text that cannot run, an id that votes can be held to."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.compose import ConfigError
from lit_pure.gallery.gather import gather
from lit_pure.gallery.page import page, require_replaceable
from lit_pure.gallery.write import pack, write
from lit_pure.images.geometry import resize
from lit_pure.images.io import read_bytes, read_image, to_bytes
from lit_pure.runs.folder import require
from tests.gallery.conftest import HEIGHT, NAMES, NASTY, WIDTH, make_folder, make_run


class Parsed(HTMLParser):
    """What a browser's parser sees: the tags, and what stands in each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within = dict(attrs).get("id") or tag

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, text):
        if self.within:
            self.scripts[self.within] = self.scripts.get(self.within, "") + text

    @property
    def data(self):
        return json.loads(self.scripts["data"])

    def picture(self, index):
        return Image.open(io.BytesIO(base64.b64decode(self.scripts[f"picture-{index}"])))


def written(house, *names, folders=None, **options):
    found = gather([require(name) for name in names], folders or {}, [], 50, options.pop("seed", 0))
    return write(found, house / "out", options.pop("comparisons", 50), lambda: None)


def parsed(result):
    return Parsed(result.path.read_text(encoding="utf-8"))


def test_pictures_come_back_bit_by_bit(house):
    result = parsed(written(house, "warm", "cold"))
    for shot in result.data["shots"]:
        image = shot["name"].removeprefix("demo/")
        places = {"LQ": "warm/version_0/images/demo/lq", "cold/version_0": "cold/version_0/images/demo/restored"}
        for method, place in places.items():
            original = read_bytes(house / "runs" / place / f"{image}.png")
            shown = np.asarray(result.picture(shot["pictures"][method][0]).convert("RGB"))
            assert np.array_equal(shown, original.permute(1, 2, 0).numpy())
        lq = read_image(house / f"runs/warm/version_0/images/demo/lq/{image}.png")
        bicubic = to_bytes(resize(lq[None], HEIGHT, WIDTH))[0].permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(result.picture(shot["pictures"]["bicubic"][0]).convert("RGB")), bicubic)


def test_packing_is_lossless_for_any_pixels_and_sizes():
    generator = torch.Generator().manual_seed(0)
    for size, mime in {(1, 1): "image/webp", (37, 50): "image/webp", (2, 16384): "image/png"}.items():
        pixels = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        packed = pack(pixels)
        assert packed.mime == mime
        shown = Image.open(io.BytesIO(base64.b64decode(packed.content))).convert("RGB")
        assert np.array_equal(np.asarray(shown), pixels.permute(1, 2, 0).numpy())


def test_text_is_data_and_never_markup(house):
    folder = make_folder(house / "theirs", "green")
    result = parsed(written(house, "warm", folders={NASTY: folder}))
    assert NASTY in result.data["rivals"]
    assert result.data["shots"][0]["words"][1]["lines"]["caption"] == NASTY
    scripts = [attributes for tag, attributes in result.tags if tag == "script"]
    pictures = sum(len(shot["pictures"]) for shot in result.data["shots"])
    assert len(scripts) == pictures + 2  # the data and the page's own
    assert sum("type" not in attributes for attributes in scripts) == 1
    assert not any(tag == "img" for tag, _ in result.tags)


def test_a_title_of_markup():
    data = {"title": "<b>set</b> & 猫", "shots": []}
    text = page(data, [])
    assert text.isascii()
    assert "<title>&lt;b&gt;set&lt;/b&gt; &amp; &#29483;</title>" in text


def test_the_page_refers_to_nothing_outside(house):
    result = parsed(written(house, "warm", "cold"))
    links = [value for _, attributes in result.tags for name, value in attributes.items() if name in ("src", "href")]
    assert set(links) == {"data:,", "#compare", "#all", "#blind"}
    own = result.scripts["script"] + result.scripts["style"]
    assert not re.search(r"https?:|//\w|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", own)


def test_the_policy_allows_the_pages_own_script_and_style_alone(house):
    result = parsed(written(house, "warm"))
    policy = next(attributes["content"] for _, attributes in result.tags if "http-equiv" in attributes)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(result.scripts[kind].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_the_id_is_that_of_what_is_judged(house):
    first = written(house, "warm", "cold")
    before = first.path.read_bytes()
    again = written(house, "warm", "cold")
    assert (first.id, before) == (again.id, again.path.read_bytes())
    others = {written(house, "warm").id, written(house, "warm", "cold", seed=1).id}
    others.add(written(house, "warm", "cold", comparisons=3).id)
    path = house / "runs/cold/version_0/images/demo/restored/cup_2.png"
    with Image.open(path) as picture:
        picture.load()
    picture.putpixel((5, 5), (0, 0, 0))
    picture.save(path)
    others.add(written(house, "warm", "cold").id)
    assert len(others | {first.id}) == 5


@pytest.mark.parametrize(("asked", "expected"), [(5, 5), (50, 18)])
def test_no_more_questions_than_there_are(house, asked, expected):
    folder = make_folder(house / "theirs", "green")
    result = written(house, "warm", "cold", folders={"Green": folder}, comparisons=asked)
    assert result.comparisons == expected  # 3 pairs on 6 pictures
    assert parsed(result).data["rivals"] == ["warm/version_0", "cold/version_0", "Green"]


def test_a_single_run_is_held_against_bicubic(house):
    result = written(house, "warm")
    assert parsed(result).data["rivals"] == ["warm/version_0", "bicubic"]
    assert result.comparisons == 6


def test_without_lq_a_single_run_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, "tokenizer", "warm", made="reconstructed")
    for path in (run / "images/demo/lq").iterdir():
        path.unlink()
    result = written(tmp_path, "tokenizer")
    assert result.comparisons == 0
    assert parsed(result).data["reference"] == "ground truth"


def test_pictures_that_cannot_be_shown_are_named_and_the_rest_is_shown(house):
    folder = make_folder(house / "theirs", "green")
    (folder / "cat_0.png").write_bytes((folder / "cat_0.png").read_bytes()[:300])
    Image.new("RGB", (WIDTH, WIDTH)).save(folder / "cat_1.png")
    Image.new("RGB", (WIDTH * 2, HEIGHT * 2)).save(folder / "cat_2.png")  # of the same proportions: a wider scene?
    Image.new("RGB", (WIDTH - 2, HEIGHT)).save(folder / "cup_0.png")  # cropped
    result = written(house, "warm", folders={"Green": folder})
    assert [note.split(":")[:2] for note in result.notes] == [["Green", " left out"]] * 3
    assert str(folder / "cat_0.png") in result.notes[0]
    assert "demo/cat_1 has another size (96 x 96 px, not 64 x 96)" in result.notes[1]
    assert "demo/cat_2 has another size (128 x 192 px, not 64 x 96)" in result.notes[2]
    shots = parsed(result).data["shots"]
    assert ["Green" in shot["pictures"] for shot in shots] == [False, False, False, True, True, True]
    assert [shot["judged"] for shot in shots] == [False, False, False, True, True, True]
    assert result.comparisons == 3


def test_an_lq_picture_of_something_else_is_left_out(house):
    Image.new("RGB", (24, 24)).save(house / "runs/warm/version_0/images/demo/lq/cat_0.png")
    result = written(house, "warm")
    assert result.notes == [
        "LQ: left out: its picture of demo/cat_0 has another aspect ratio (24 x 24 px, not 64 x 96)"
    ]


def test_nothing_readable_is_an_error(house):
    for path in (house / "runs/warm/version_0/images/demo").glob("*/*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"no picture of demo can be read: .*cat_0\.png"):
        written(house, "warm")
    assert not (house / "out").exists()


def test_only_a_gallery_is_replaced(house):
    result = written(house, "warm")
    require_replaceable(result.path.parent)
    (house / "site").mkdir()
    (house / "site/index.html").write_text("<title>my home page</title>")
    with pytest.raises(ConfigError, match=r"--out .*site: its index.html is not a gallery"):
        require_replaceable(house / "site")
    with pytest.raises(ConfigError, match="this is a file"):
        require_replaceable(house / "site/index.html")


def test_methods_and_metrics_have_their_names(house):
    data = parsed(written(house, "warm", "cold")).data
    assert data["metrics"][0] == {"key": "psnr", "label": "PSNR", "higher": True, "decimals": 2}
    assert data["metrics"][1]["higher"] is False
    assert data["title"] == f"demo: {len(NAMES)} pictures"
