"""How much of a divided network runs in its format's own arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..quantize import floats
from ..quantize.graph import Conv, Graph
from ..records.run_record import Operations

if TYPE_CHECKING:
    from ..core.formats import Format

MOST_NAMED = 3
_LAYERS = ("conv1d", "conv2d", "conv_transpose2d", "linear")


def operations(graph: Graph) -> Operations | None:
    """What is in segments and what stays float, of the module's own operations; None where the
    network is not divided."""
    if not graph.steps:
        return None
    computing = [one for one in graph.operations if floats.computes(one)]
    own = [node for node in graph.nodes if not (isinstance(node, Conv) and node.fixed)]
    inside = sum(multiply_adds(graph, node) for node in own if isinstance(node, Conv))
    return Operations(
        segments=len(graph.segments),
        inside=len(own),
        total=len(own) + len(computing),
        inside_multiply_adds=inside,
        total_multiply_adds=inside + sum(one.multiply_adds for one in computing),
        float_layers=tuple(
            next(iter(floats.reads(one, "constant")), one.name)
            for one in computing
            if one.target.split(".")[1] in _LAYERS
        ),
    )


def multiply_adds(graph: Graph, conv: Conv) -> int:
    """Of a layer on one image."""
    _, height, width = graph.activations[conv.name].shape
    return conv.weights * height * width


def told(found: Operations, format: Format) -> str:
    """In words: `62 of 118 operations (99.3 % of multiply–adds) in int8`, and what stays float."""
    share = found.inside_multiply_adds / found.total_multiply_adds
    text = (
        f"{found.inside} of {found.total} operations ({_percent(share)} of multiply–adds) in "
        f"{format.arithmetic}; the rest stays float32"
    )
    if not found.float_layers:
        return text
    return f"{text}, layers among it: {', '.join(found.float_layers)}"


def finding(graph: Graph, format: Format) -> tuple[str, ...]:
    """What readers of a record should know; nothing where all is computed as the format says and
    every layer sampled."""
    found = operations(graph)
    if found is None:
        return ()
    lines = () if format.arithmetic == "fp32" else (told(found, format),)
    still = [one.weight for one in graph.convs if not (one.bayesian or one.fixed)]
    still += found.float_layers
    if not (format.bayesian and still):
        return lines
    more = f" and {len(still) - MOST_NAMED} more" if len(still) > MOST_NAMED else ""
    named = ", ".join(still[:MOST_NAMED])
    return (*lines, f"layers without a σ, the same in every pass: {named}{more}")


def _percent(share: float) -> str:
    """Never 100 % of what is less."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"
