// Loops of tile products: six tiles of sums, of which each waits for its last product.
#include "peaks.hpp"

#if defined(__x86_64__)

#include "amx.hpp"

#ifdef SIGMABENCH_HAS_AMX

#include <cpuid.h>

#define SIGMABENCH_AMX __attribute__((target("amx-tile,amx-int8,amx-bf16")))

namespace sigmabench {
namespace {

constexpr int kSums = 6;
constexpr int kColumns = 16;  // of a tile of sums
constexpr std::int64_t kElements = std::int64_t{kTileRows} * kColumns;

// A register of a CPU that may not use it: whoever runs these has asked first.
template <class Number>
SIGMABENCH_AMX std::int64_t stored(int tile) {
    alignas(64) Number sums[kTileRows * kColumns];
    switch (tile) {
        case 0:
            _tile_stored(0, sums, kTileBytes);
            break;
        case 1:
            _tile_stored(1, sums, kTileBytes);
            break;
        case 2:
            _tile_stored(2, sums, kTileBytes);
            break;
        case 3:
            _tile_stored(3, sums, kTileBytes);
            break;
        case 4:
            _tile_stored(4, sums, kTileBytes);
            break;
        default:
            _tile_stored(5, sums, kTileBytes);
    }
    std::int64_t all = 0;
    for (const Number sum : sums) all += static_cast<std::int64_t>(sum);
    return all;
}

// Full tiles: sums of 0, and operands of `one` in each of their numbers.
template <class Number>
SIGMABENCH_AMX void prepare(Number one) {
    const TileConfig config;
    _tile_loadconfig(&config);
    alignas(64) Number ones[kTileRows * kTileBytes / sizeof(Number)];
    std::fill(std::begin(ones), std::end(ones), one);
    _tile_loadd(6, ones, kTileBytes);
    _tile_loadd(7, ones, kTileBytes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
}

template <class Number>
SIGMABENCH_AMX std::int64_t total() {
    std::int64_t all = 0;
    for (int tile = 0; tile < kSums; ++tile) all += stored<Number>(tile);
    _tile_release();
    return all;
}

SIGMABENCH_AMX std::int64_t int8_block(std::int64_t steps) {
    prepare(std::int8_t{1});
    for (; steps > 0; --steps) {
        _tile_dpbusd(0, 6, 7);
        _tile_dpbusd(1, 6, 7);
        _tile_dpbusd(2, 6, 7);
        _tile_dpbusd(3, 6, 7);
        _tile_dpbusd(4, 6, 7);
        _tile_dpbusd(5, 6, 7);
    }
    return total<std::int32_t>();
}

SIGMABENCH_AMX std::int64_t bf16_block(std::int64_t steps) {
    prepare(std::int16_t{0x3f80});  // 1 as a bfloat16
    for (; steps > 0; --steps) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    return total<float>();
}

std::int64_t int8(std::int64_t steps) { return in_blocks(steps, int8_block); }
std::int64_t bf16(std::int64_t steps) { return in_blocks(steps, bf16_block); }

// Bits of leaf 7: tiles are 24, their products of int8 25, of bfloat16 22.
bool has_tiles(int bit) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool told = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
    return told && (d >> 24 & 1) != 0 && (d >> bit & 1) != 0 && tiles_allowed();
}
bool has_amx_int8() { return has_tiles(25); }
bool has_amx_bf16() { return has_tiles(22); }

}  // namespace

void add_amx_loops(std::vector<Loop>& to) {
    to.push_back({"bf16", "amx_bf16", kSums * kElements * 32, has_amx_bf16, bf16});
    to.push_back({"int8", "amx_int8", kSums * kElements * 64, has_amx_int8, int8});
}

}  // namespace sigmabench

#else

namespace sigmabench {

void add_amx_loops(std::vector<Loop>&) {}

}  // namespace sigmabench

#endif

#endif
