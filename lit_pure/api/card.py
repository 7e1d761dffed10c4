"""The card of a restorer on the Hugging Face hub: the README beside its weights, what it is and how to use it.

Knows the hub's front matter. Says nothing that the weights do not tell; how they were trained is their author's to add.
"""

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from lit_pure.restoring.contract import SquareRestorer

README = "README.md"
TAGS = ["image-restoration", "super-resolution", "lit_pure"]

TEMPLATE = """---
{data}
---

# {name}

Restores photographs, each side enlarged {scale} times, by squares of {size} px: {parameters:,} parameters.

```python
from lit_pure import Restorer

restorer = Restorer.from_pretrained("{repository}")
restorer("photo.jpg").save("restored.png")
```

## How it was trained

To be written: photographs, degradation, steps, machine.

## What was measured

To be written: `lit-pure evaluate --pred RESTORED --target PHOTOS` gives means with intervals.
"""


def write_card(folder: Path, repository: str, squares: SquareRestorer, license: str | None = None) -> None:
    """Write the card of `owner/name` into the folder, in place of one that says nothing."""
    parameters = sum(item.numel() for part in squares.parts().values() for item in part.parameters())
    data = ModelCardData(library_name="lit_pure", pipeline_tag="image-to-image", tags=TAGS, license=license)
    name = repository.rpartition("/")[2]
    known = {"name": name, "repository": repository, "scale": squares.scale, "size": squares.size}
    text = TEMPLATE.format(**known, parameters=parameters, data=data.to_yaml())
    (folder / README).write_text(text, encoding="utf-8")
    ModelCard.load(folder / README)  # the hub would refuse what this does
