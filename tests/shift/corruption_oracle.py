"""Runs the package `imagecorruptions` on images, its random numbers replaced by given streams.

A program of its own (`python corruption_oracle.py IN.npz OUT.npz [MODULE]`), for an interpreter
that has that package and the old libraries it needs; it imports nothing of this project. IN holds
`images` [N, H, W, C] uint8, `key` (hexadecimal), `type` and `severity`; OUT gets `images`.
"""

import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
DRAWS = ("normal", "uniform", "poisson", "randint")


def main(source: str, target: str, module: str = "imagecorruptions.corruptions") -> None:
    from PIL import Image

    originals = __import__(module, fromlist=["corruptions"])
    given = np.load(source)
    apply = getattr(originals, str(given["type"]))
    out = []
    for index, image in enumerate(given["images"]):
        key = int(str(given["key"]), 16)
        stream = np.random.RandomState(np.random.Philox(key=key, counter=index << 192))
        for name in DRAWS:
            setattr(np.random, name, getattr(stream, name))
        # scikit-image's random_noise makes a generator of its own.
        np.random.default_rng = lambda seed=None, stream=stream: stream
        out.append(np.uint8(apply(Image.fromarray(image), int(given["severity"]))))
    np.savez(target, images=np.stack(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
