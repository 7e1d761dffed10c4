from lit_pure.api.functions import degrade as degrade
from lit_pure.api.functions import entropy_top_k as entropy_top_k
from lit_pure.api.functions import evaluate as evaluate
from lit_pure.api.pictures import RestoredImage as RestoredImage
from lit_pure.api.restorer import Restorer as Restorer
from lit_pure.api.training import build as build

__version__: str
