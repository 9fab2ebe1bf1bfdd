"""Flags that several commands have, each defined once."""

from __future__ import annotations

from ..peers.environment import ENVIRONMENTS
from .study import Option

DATA = Option("--data", "Root folder of the data.", "path")
POSTERIOR = Option(
    "--posterior",
    "Posterior: a file, or the name of a replica.",
    "path",
    shown="the one that ships",
)
SEED = Option("--seed", "First seed of the MC draws.", "whole", default=0)
THREADS = Option("--threads", "Cores that a query may use.", "whole", shown="all")
SPLIT = Option("--split", "Split to score: test, or validation for choosing.", default="test")
PEERS_FOLDER = Option(
    "--environments", "Folder of the peers' environments.", "path", default=ENVIRONMENTS
)
PROCESSES = Option(
    "--processes",
    "Fresh processes to time in, one after the other; use three for times to be published.",
    "whole",
    default=1,
)
METHODS = Option(
    "--methods",
    "Methods to score beside the formats, with a temperature; `sigmabench list` has their names.",
    "names",
    shown="none",
)
BACKEND = Option("--backend", "Backend of the int8 formats.", default="auto")

DETERMINISTIC = Option(
    "--deterministic",
    "Network of the DNN formats: twin, or mean for the posterior's mean network.",
    shown="twin where there is one",
)

#: How the networks are quantized.
QUANTIZATION = (
    Option(
        "--range",
        "Range of the weight grids: headroom or paper.",
        default="headroom",
        name="range_",
    ),
    Option("--granularity", "Granularity of σ: channel or tensor.", default="channel"),
    Option("--sigma-offset", "Offset of σ's grid: float or integer.", default="float"),
    Option("--sigma-grid", "Grid of σ: affine or codebook.", default="affine"),
    Option("--rounding", "Rounding of sampled weights: nearest or dithered.", default="nearest"),
    Option(
        "--observer", "Observer of activation ranges: minmax, percentile or mse.", default="minmax"
    ),
    Option(
        "--calibrate",
        "Observe activations of the mean network, or of sampled passes: mean or sampled.",
        default="mean",
    ),
)
#: What is quantized.
SOURCE = (
    Option(
        "--formats",
        "Formats; `sigmabench list` lists their names.",
        "names",
        shown="FP32, BF16, INT8 and its σ in 4, 2 and 1 bits",
    ),
    POSTERIOR,
    Option("--delta", "Make the posterior from the twin by MOPED, with σ = δ·|w|.", "number"),
    DATA,
)
#: The grid of a run.
CELLS = (
    Option(
        "--mc",
        "Numbers of MC passes, T; auto: as many as each image needs.",
        "counts",
        default="1,10,50",
    ),
    Option("--confidence", "Confidence at which auto stops an image.", "number", shown="0.99"),
    Option("--batch", "Images per query.", "numbers", default="1,32"),
    THREADS,
    Option("--team", "Threads that share a pass; 0 for whatever is fastest.", "whole", default=0),
    BACKEND,
    Option("--limit", "Number of images to score.", "whole", shown="the whole split"),
    SEED,
    Option("--seeds", "Number of seeds to score.", "whole", default=3),
    SPLIT,
    Option("--seconds", "Timed seconds per cell.", "number", default=1.0),
    PROCESSES,
)
#: Passes of one program, as `race.target.TargetPlan` has them.
PASSES = (
    Option("--format", "Numeric format; see `sigmabench list`.", default="INT8"),
    Option("--batch", "Images per query.", "whole", default=1),
    Option("--mc", "Number of passes per query, T.", "whole", default=50),
    THREADS,
    Option("--seconds", "Seconds to measure.", "number", default=2.0),
    Option("--seed", "Seed of the noise, and of synthetic weights.", "whole", default=0),
    DATA,
    Option("--posterior", "Posterior file of a workload.", "path", shown="the one that ships"),
)
