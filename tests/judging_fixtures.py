"""Images on disk and what lenses are said to have found in them: for tests of what is judged."""

import hashlib

import numpy as np
from PIL import Image

from lensbank.evaluate.annotations import AnnotatedImage
from lensbank.evaluate.judging.questions import plan_questions
from lensbank.evaluate.judging.run import Prepared
from lensbank.evaluate.records import ImageWords, Patch
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.evaluate.summary import Evaluated
from lensbank.schemas.results import PixelBox


class Silent:
    """Progress that nobody watches."""

    def start(self, phase, total, unit):
        pass

    def advance(self, count):
        pass

    def finish(self):
        pass


SETTINGS = {
    "model": {"id": "a-model", "revision": None, "weights": "f" * 64, "tokenizer": "e" * 64, "dtype": "float32"},
    "banks": [], "layers": [0, 8], "lenses": ["latent", "logit"], "top_k": 5, "where": [], "distinct": None,
    "exact": True, "prompt": None, "sample": 4, "spare": 1, "seed": 0, "random_vectors": 2,
}  # fmt: skip
SIDE = 30


def make_images(folder, count=3, groups=("a", "a", "b"), grid=3):
    """Images of `grid` x `grid` patches of 30 pixels; the words say where they are from."""
    images, found = [], []
    for n in range(count):
        path = folder / f"picture-{n}.png"
        size = (grid * SIDE, grid * SIDE, 3)
        Image.fromarray(np.random.default_rng(n).integers(0, 256, size, np.uint8)).save(path)
        patches = tuple(
            Patch(0, r, c, PixelBox(c * SIDE, r * SIDE, (c + 1) * SIDE, (r + 1) * SIDE))
            for r in range(grid)
            for c in range(grid)
        )
        words = {
            layer: {
                # LogitLens says the same at both layers: one question serves them.
                "latent": tuple((f"latent{layer}", f"from{n}", f"patch{i}") for i in range(len(patches))),
                "logit": tuple(("same", f"from{n}", f"patch{i}") for i in range(len(patches))),
            }
            for layer in (0, 8)
        }
        random = {layer: {lens: (("lot1",), ("lot2",)) for lens in lenses} for layer, lenses in words.items()}
        banks = {layer: ((2,),) * len(patches) for layer in words}
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(AnnotatedImage(path, path.name, groups[n % len(groups)]))
        found.append(ImageWords(path.name, sha, SIDE * grid, SIDE * grid, patches, words, banks, random))
    return images, found


def prepared(folder, controls=2, sample=4, **images):
    """What `prepare` would have read."""
    read, found = make_images(folder, **images)
    options = ReadingOptions(sample=sample, seed=0, spare=1)
    plan = plan_questions(read, found, options, controls)
    return Prepared(Evaluated("llm", SETTINGS, read, found), plan, options, controls, 10**8)
