"""Restore a photograph with the weights that come with the project: picture, words, maps."""

from PIL import Image
from skimage.data import chelsea

from lit_pure import Restorer

Image.fromarray(chelsea()[60:124, 100:164]).resize((32, 32)).save("photo.png")

restorer = Restorer.from_pretrained("pure/nano_photo")  # or a folder, a checkpoint file, a repository of the hub
restored = restorer("photo.png")  # or a picture of Pillow, an array, a tensor, a list of these
restored.save("restored.png")
restored.map_image("entropy").save("entropy.png")
print(restored.image.size, restored.words["caption"])

restorer.save_pretrained("restorer")  # all it needs in one folder, which works anywhere
again = Restorer.from_pretrained("restorer", ["sampling.temperature=0.7"])
print(again(restored.image.resize((32, 32)), scale=2).image.size)
