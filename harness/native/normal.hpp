// Normal weights for the float baselines: w = mean + std * z in one pass over memory, z standard
// normal, from the generator of the noise stream.
//
// 32 values make a block: its eight outputs of ARS are 16 words x, then 16 words y, and values l
// and 16 + l are the two normals that Box and Muller's transform (1958) makes of x[l] and y[l].
// Counter: word 0 is 8 * block + j, j = 0...7, word 1 the MC index, word 2 the tensor's ordinal;
// word 3 is 1, so that no counter of noise stream v1, whose word 3 is 0, is used twice. Every path
// rounds alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "aligned.hpp"
#include "noise.hpp"

namespace sigmabench {

inline constexpr std::size_t kNormals = 32;  // values in a block

enum class NormalPath { portable, avx2, avx512 };
bool supported(NormalPath path);
NormalPath best_normal_path();
const char* path_name(NormalPath path);

// `blocks` blocks of one tensor in one pass, from block `block` on; `mean` and `std` point at its
// values and are padded to whole blocks, `out` takes `size` values, the last block's perhaps fewer.
struct NormalBlocks {
    const float* mean;
    const float* std;
    std::size_t size;
    std::uint32_t block, mc, ordinal;
};

// Values are float, or the bits of a bfloat16 (rounded to nearest, ties to even).
void fill_portable(const KeySchedule& keys, const NormalBlocks& blocks, float* out);
void fill_portable(const KeySchedule& keys, const NormalBlocks& blocks, std::uint16_t* out);
#if defined(__x86_64__)
void fill_avx2(const KeySchedule& keys, const NormalBlocks& blocks, float* out);
void fill_avx2(const KeySchedule& keys, const NormalBlocks& blocks, std::uint16_t* out);
void fill_avx512(const KeySchedule& keys, const NormalBlocks& blocks, float* out);
void fill_avx512(const KeySchedule& keys, const NormalBlocks& blocks, std::uint16_t* out);
#endif

// Rounded to nearest, ties to even; not for values that are not numbers.
inline std::uint16_t bfloat16_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float from_bfloat16(std::uint16_t half) {
    const std::uint32_t bits = std::uint32_t{half} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// The order of the native backend's normal draws. Value l of a block is output channel l % 16 and
// input channel l / 16 of its 16 x 2, or output channel l where a group has one input channel;
// blocks run over outputs, height, width, inputs, the last the fastest. Numbers are places in
// memory: in bfloat16 the values l and 16 + l are neighbours, as its dot products want them.
struct NormalOrder {
    Geometry geometry;
    bool paired = false;

    std::int64_t blocks() const {
        const Geometry& g = geometry;
        const std::int64_t kernel = g.height * g.width;
        return g.inputs > 1 ? (g.outputs + 15) / 16 * kernel * ((g.inputs + 1) / 2)
                            : (g.outputs + 31) / 32 * kernel;
    }
    std::int64_t size() const { return blocks() * static_cast<std::int64_t>(kNormals); }
    std::int64_t number(std::int64_t o, std::int64_t i, std::int64_t h, std::int64_t w) const {
        const Geometry& g = geometry;
        const std::int64_t outputs = g.inputs > 1 ? 16 : 32, pairs = (g.inputs + 1) / 2;
        const std::int64_t block = ((o / outputs * g.height + h) * g.width + w) * pairs + i / 2;
        const std::int64_t lane = i % 2 * 16 + o % outputs;
        return block * 32 + (paired ? lane % 16 * 2 + lane / 16 : lane);
    }
    // visit(number) for the weights in logical order (O, I, KH, KW).
    template <class Visit>
    void for_each(Visit visit) const {
        for (std::int64_t o = 0; o < geometry.outputs; ++o) {
            for (std::int64_t i = 0; i < geometry.inputs; ++i) {
                for (std::int64_t h = 0; h < geometry.height; ++h) {
                    for (std::int64_t w = 0; w < geometry.width; ++w) visit(number(o, i, h, w));
                }
            }
        }
    }
};

// Blocks `block`, `block + 1`, ... of a tensor, written where a kernel reads them: in float32 the
// halves of a block to out[0] and out[1], the next block's `step` values further; in bfloat16
// (mean, std and values are its bits) all of it to out[0]. mean and std point at the first block.
template <class Value>
struct NormalRun {
    const Value *mean, *std;
    std::uint32_t block, count, mc, ordinal;
    Value* out[2];
    std::ptrdiff_t step[2];
};

void draw_portable(const KeySchedule& keys, const NormalRun<float>& run);
void draw_portable(const KeySchedule& keys, const NormalRun<std::uint16_t>& run);
#if defined(__x86_64__)
void draw_avx2(const KeySchedule& keys, const NormalRun<float>& run);
void draw_avx2(const KeySchedule& keys, const NormalRun<std::uint16_t>& run);
void draw_avx512(const KeySchedule& keys, const NormalRun<float>& run);
void draw_avx512(const KeySchedule& keys, const NormalRun<std::uint16_t>& run);
#endif

// The posterior of a network's tensors, ordinals `ordinal`, `ordinal` + 1, ... in the order
// given.
class NormalTensors {
 public:
    // mean and std hold the tensors one after the other, of `sizes` values each.
    NormalTensors(const float* mean, const float* std, const std::vector<std::size_t>& sizes,
                  NormalPath path, std::uint32_t ordinal = 0);

    // Passes first ... first + count - 1. Tensor k of pass t lies at
    // count * (sum of the sizes before k) + t * sizes[k]: passes of a tensor are neighbours.
    template <class Out>
    void fill(Out* out, std::uint64_t seed, std::uint32_t first, std::size_t count,
              int threads) const;

    std::size_t size() const { return size_; }
    NormalPath path() const { return path_; }

 private:
    struct Tensor {
        std::size_t start, padded, size, blocks;
        bool sampled;
    };

    template <class Out>
    void fill_part(const KeySchedule& keys, const Tensor& tensor, std::uint32_t ordinal,
                   std::uint32_t mc, std::size_t block, std::size_t blocks, Out* out) const;

    std::vector<Tensor> tensors_;
    std::size_t size_ = 0, blocks_ = 0;
    AlignedBuffer<float> mean_, std_;
    NormalPath path_;
    std::uint32_t ordinal_;
};

}  // namespace sigmabench
