#include "normal.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "openmp.hpp"

#define SIGMABENCH_INLINE inline

namespace sigmabench {
namespace {

struct Vec {
    using F = float;
    using I = std::int32_t;

    static F set(float x) { return x; }
    static I seti(std::int32_t x) { return x; }
    static F add(F a, F b) { return a + b; }
    static F sub(F a, F b) { return a - b; }
    static F mul(F a, F b) { return a * b; }
    static F fma(F a, F b, F c) { return std::fma(a, b, c); }
    static F sqrt(F a) { return std::sqrt(a); }
    static I addi(I a, I b) { return a + b; }
    static I sub(I a, I b) { return a - b; }
    static I andi(I a, I b) { return a & b; }
    static I xori(I a, I b) { return a ^ b; }
    template <int by>
    static I shift_down(I a) {
        return a >> by;
    }
    template <int by>
    static I shift_up(I a) {
        return static_cast<I>(static_cast<std::uint32_t>(a) << by);
    }
    static F from_signed(I a) { return static_cast<float>(a); }
    static F from_unsigned(I a) { return static_cast<float>(static_cast<std::uint32_t>(a)); }
    static I bits(F a) {
        I out;
        std::memcpy(&out, &a, sizeof out);
        return out;
    }
    static F as_float(I a) {
        F out;
        std::memcpy(&out, &a, sizeof out);
        return out;
    }
    static F choose(I by, F negative, F other) { return by < 0 ? negative : other; }
};

}  // namespace
}  // namespace sigmabench

#include "normal_math.hpp"

namespace sigmabench {
namespace {

void store(float* to, float value) { *to = value; }

void store(std::uint16_t* to, float value) { *to = bfloat16_bits(value); }

// The normals of one block; the counter moves on to the next.
void draw_block(const KeySchedule& keys, std::uint32_t (&counter)[4], float (&z)[kNormals]) {
    std::int32_t random[kNormals];
    for (std::size_t j = 0; j < 8; ++j, ++counter[0]) {
        ars(keys, counter, reinterpret_cast<std::uint8_t*>(random + 4 * j));
    }
    for (std::size_t l = 0; l < 16; ++l) {
        normal_pair(random[l], random[16 + l], z[l], z[16 + l]);
    }
}

template <class Out>
void fill(const KeySchedule& keys, const NormalBlocks& blocks, Out* out) {
    std::uint32_t counter[4] = {8 * blocks.block, blocks.mc, blocks.ordinal, 1};
    for (std::size_t at = 0; at < blocks.size; at += kNormals) {
        float z[kNormals];
        draw_block(keys, counter, z);
        for (std::size_t l = 0; l < std::min(kNormals, blocks.size - at); ++l) {
            store(out + at + l, std::fma(blocks.std[at + l], z[l], blocks.mean[at + l]));
        }
    }
}

}  // namespace

void fill_portable(const KeySchedule& keys, const NormalBlocks& blocks, float* out) {
    fill(keys, blocks, out);
}

void fill_portable(const KeySchedule& keys, const NormalBlocks& blocks, std::uint16_t* out) {
    fill(keys, blocks, out);
}

void draw_portable(const KeySchedule& keys, const NormalRun<float>& run) {
    std::uint32_t counter[4] = {8 * run.block, run.mc, run.ordinal, 1};
    const float *mean = run.mean, *std = run.std;
    float* out[2] = {run.out[0], run.out[1]};
    for (std::uint32_t k = 0; k < run.count; ++k, mean += kNormals, std += kNormals) {
        float z[kNormals];
        draw_block(keys, counter, z);
        for (std::size_t l = 0; l < kNormals; ++l) {
            out[l / 16][l % 16] = std::fma(std[l], z[l], mean[l]);
        }
        out[0] += run.step[0];
        out[1] += run.step[1];
    }
}

void draw_portable(const KeySchedule& keys, const NormalRun<std::uint16_t>& run) {
    std::uint32_t counter[4] = {8 * run.block, run.mc, run.ordinal, 1};
    const std::uint16_t *mean = run.mean, *std = run.std;
    std::uint16_t* out = run.out[0];
    for (std::uint32_t k = 0; k < run.count; ++k, mean += kNormals, std += kNormals) {
        float z[kNormals];
        draw_block(keys, counter, z);
        for (std::size_t l = 0; l < kNormals; ++l) {
            out[l] = bfloat16_bits(
                std::fma(from_bfloat16(std[l]), z[l % 2 * 16 + l / 2], from_bfloat16(mean[l])));
        }
        out += run.step[0];
    }
}

bool supported(NormalPath path) {
    switch (path) {
        case NormalPath::portable:
            return true;
#if defined(__x86_64__)
        case NormalPath::avx2:
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                   __builtin_cpu_supports("aes");
        case NormalPath::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("aes") &&
                   __builtin_cpu_supports("vaes");
#else
        default:
            return false;
#endif
    }
    return false;
}

NormalPath best_normal_path() {
    for (const NormalPath path : {NormalPath::avx512, NormalPath::avx2}) {
        if (supported(path)) return path;
    }
    return NormalPath::portable;
}

const char* path_name(NormalPath path) {
    switch (path) {
        case NormalPath::avx512:
            return "avx512";
        case NormalPath::avx2:
            return "avx2";
        default:
            return "portable";
    }
}

NormalTensors::NormalTensors(const float* mean, const float* std,
                             const std::vector<std::size_t>& sizes, NormalPath path,
                             std::uint32_t ordinal)
    : path_(path), ordinal_(ordinal) {
    for (const std::size_t size : sizes) {
        const bool sampled =
            std::any_of(std + size_, std + size_ + size, [](float s) { return s != 0; });
        const std::size_t blocks = (size + kNormals - 1) / kNormals;
        if (blocks > std::size_t{1} << 29) throw std::invalid_argument("a tensor is too large");
        tensors_.push_back({size_, blocks_ * kNormals, size, blocks, sampled});
        size_ += size;
        blocks_ += blocks;
    }
    mean_ = AlignedBuffer<float>(blocks_ * kNormals);
    std_ = AlignedBuffer<float>(blocks_ * kNormals);
    for (const Tensor& tensor : tensors_) {
        std::copy_n(mean + tensor.start, tensor.size, mean_.data() + tensor.padded);
        std::copy_n(std + tensor.start, tensor.size, std_.data() + tensor.padded);
    }
}

template <class Out>
void NormalTensors::fill_part(const KeySchedule& keys, const Tensor& tensor, std::uint32_t ordinal,
                              std::uint32_t mc, std::size_t block, std::size_t blocks,
                              Out* out) const {
    const std::size_t at = block * kNormals;
    const std::size_t size = std::min(blocks * kNormals, tensor.size - at);
    const float* mean = mean_.data() + tensor.padded + at;
    if (!tensor.sampled) {
        for (std::size_t i = 0; i < size; ++i) store(out + at + i, mean[i]);
        return;
    }
    const NormalBlocks part = {mean, std_.data() + tensor.padded + at,
                               size, static_cast<std::uint32_t>(block),
                               mc,   ordinal};
    switch (path_) {
#if defined(__x86_64__)
        case NormalPath::avx512:
            return fill_avx512(keys, part, out + at);
        case NormalPath::avx2:
            return fill_avx2(keys, part, out + at);
#endif
        default:
            return fill_portable(keys, part, out + at);
    }
}

template <class Out>
void NormalTensors::fill(Out* out, std::uint64_t seed, std::uint32_t first, std::size_t count,
                         int threads) const {
    const KeySchedule keys(seed);
    const std::size_t all = blocks_ * count;  // block b of pass t is number t * blocks_ + b
    // Shares are contiguous and cut at blocks, so that nobody's values depend on who draws them.
    on_team(threads, [&](std::size_t me, std::size_t team) {
        const std::size_t from = all * me / team, to = all * (me + 1) / team;
        for (std::size_t t = from / std::max<std::size_t>(blocks_, 1); t < count; ++t) {
            std::size_t number = t * blocks_;
            if (number >= to) break;
            for (std::size_t k = 0; k < tensors_.size(); ++k) {
                const Tensor& tensor = tensors_[k];
                const std::size_t begin = std::max(from, number);
                const std::size_t end = std::min(to, number + tensor.blocks);
                if (begin < end) {
                    fill_part(keys, tensor, ordinal_ + static_cast<std::uint32_t>(k),
                              first + static_cast<std::uint32_t>(t), begin - number, end - begin,
                              out + count * tensor.start + t * tensor.size);
                }
                number += tensor.blocks;
            }
        }
    });
}

template void NormalTensors::fill(float*, std::uint64_t, std::uint32_t, std::size_t, int) const;
template void NormalTensors::fill(std::uint16_t*, std::uint64_t, std::uint32_t, std::size_t,
                                  int) const;

}  // namespace sigmabench
