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

// The posterior of a network's tensors, ordinals 0, 1, ... in the order given.
class NormalTensors {
public:
    // mean and std hold the tensors one after the other, of `sizes` values each.
    NormalTensors(const float* mean, const float* std, const std::vector<std::size_t>& sizes,
                  NormalPath path);

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
};

}  // namespace sigmabench
