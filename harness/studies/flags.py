"""Flags that several commands have, each defined once."""

from __future__ import annotations

from ..peers.environment import ENVIRONMENTS
from .study import Option

DATA = Option("--data", "Data root.", "path")
POSTERIOR = Option(
    "--posterior", "Posterior: a file or a replica.", "path", shown="the one that ships"
)
SEED = Option("--seed", "First seed of the MC draws.", "whole", default=0)
THREADS = Option("--threads", "Cores a query may use.", "whole", shown="all")
SPLIT = Option("--split", "test, or validation for choosing.", default="test")
PEERS_FOLDER = Option(
    "--environments", "Folder of the peers' environments.", "path", default=ENVIRONMENTS
)
PROCESSES = Option(
    "--processes",
    "Fresh processes to time in, one after the other; three where times are to be published.",
    "whole",
    default=1,
)
BACKEND = Option("--backend", "Backend of the int8 formats.", default="auto")

DETERMINISTIC = Option(
    "--deterministic",
    "Network of the DNN formats: twin, or mean for the posterior's.",
    shown="twin where there is one",
)

#: How the networks are quantized.
QUANTIZATION = (
    Option("--range", "headroom or paper.", default="headroom", name="range_"),
    Option("--granularity", "Of σ: channel or tensor.", default="channel"),
    Option("--sigma-offset", "float or integer.", default="float"),
    Option("--sigma-grid", "Of σ: affine or codebook.", default="affine"),
    Option("--rounding", "nearest or dithered.", default="nearest"),
    Option("--observer", "minmax, percentile or mse.", default="minmax"),
    Option("--calibrate", "Ranges from the mean network, or sampled.", default="mean"),
)
#: What is quantized.
SOURCE = (
    Option(
        "--formats",
        "Names are listed by `sigmabench list`.",
        "names",
        shown="FP32, BF16, INT8 and its σ in 4, 2 and 1 bits",
    ),
    POSTERIOR,
    Option("--delta", "Make it by MOPED from the twin: σ = δ·|w|.", "number"),
    DATA,
)
#: The grid of a run.
CELLS = (
    Option(
        "--mc",
        "MC sample counts T; auto: as many as each image needs.",
        "counts",
        default="1,10,50",
    ),
    Option("--confidence", "When auto stops an image.", "number", shown="0.99"),
    Option("--batch", "Images per query.", "numbers", default="1,32"),
    THREADS,
    Option("--team", "Threads that share a pass; 0: what is fastest.", "whole", default=0),
    BACKEND,
    Option("--limit", "Images to score.", "whole", shown="the whole split"),
    SEED,
    Option("--seeds", "Seeds to score.", "whole", default=3),
    SPLIT,
    Option("--seconds", "Timed seconds per cell.", "number", default=1.0),
    PROCESSES,
)
