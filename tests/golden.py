"""SHA-256 of ε_q (little-endian int16, row-major) by (shape, seed, MC index, tensor ordinal).

The same table is in docs/noise-stream.md.
"""

GOLDEN = {
    ((6, 1, 5, 5), 0, 0, 0): "02a7aef3744a241da1eff998c40fa19500fd04dada43a3e4198522a2305bb2cd",
    ((16, 6, 5, 5), 1, 49, 2): "1af5802e76bb738f100a9098bf8d0c9961ff5ef7b88b25a3052097ec87819e52",
    (
        (120, 16, 5, 5),
        2**64 - 1,
        2**32 - 1,
        4,
    ): "2af773e48af340e4d313d76811350b653c2f80b781244e63d2a9f64de717683c",
    (
        (10, 84, 1, 1),
        123456789,
        7,
        8,
    ): "494b149290cb1d0cc03c8418abedf650852cda58f8dfe6685a0a03ab0f4f666b",
}
