// Normal weights for AVX2, FMA and AES-NI: a block is two pairs of registers of eight lanes.
#if defined(__x86_64__)

#include <immintrin.h>

#include "aesni.hpp"
#include "normal.hpp"

#define SIGMABENCH_AVX2 __attribute__((target("avx2,fma,aes")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX2 inline __attribute__((always_inline))

namespace sigmabench {
namespace {

struct Vec {
    using F = __m256;
    using I = __m256i;

    SIGMABENCH_INLINE static F set(float x) { return _mm256_set1_ps(x); }
    SIGMABENCH_INLINE static I seti(std::int32_t x) { return _mm256_set1_epi32(x); }
    SIGMABENCH_INLINE static F add(F a, F b) { return _mm256_add_ps(a, b); }
    SIGMABENCH_INLINE static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
    SIGMABENCH_INLINE static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    SIGMABENCH_INLINE static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    SIGMABENCH_INLINE static F sqrt(F a) { return _mm256_sqrt_ps(a); }
    SIGMABENCH_INLINE static I addi(I a, I b) { return _mm256_add_epi32(a, b); }
    SIGMABENCH_INLINE static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
    SIGMABENCH_INLINE static I andi(I a, I b) { return _mm256_and_si256(a, b); }
    SIGMABENCH_INLINE static I xori(I a, I b) { return _mm256_xor_si256(a, b); }
    template <int by>
    SIGMABENCH_INLINE static I shift_down(I a) {
        return _mm256_srai_epi32(a, by);
    }
    template <int by>
    SIGMABENCH_INLINE static I shift_up(I a) {
        return _mm256_slli_epi32(a, by);
    }
    SIGMABENCH_INLINE static F from_signed(I a) { return _mm256_cvtepi32_ps(a); }
    // Halves are exact, so that their sum is rounded once, as a conversion rounds.
    SIGMABENCH_INLINE static F from_unsigned(I a) {
        const F high = _mm256_cvtepi32_ps(_mm256_srli_epi32(a, 16));
        const F low = _mm256_cvtepi32_ps(_mm256_and_si256(a, seti(0xffff)));
        return fma(high, set(65536.0f), low);
    }
    SIGMABENCH_INLINE static I bits(F a) { return _mm256_castps_si256(a); }
    SIGMABENCH_INLINE static F as_float(I a) { return _mm256_castsi256_ps(a); }
    SIGMABENCH_INLINE static F choose(I by, F negative, F other) {
        return _mm256_blendv_ps(other, negative, as_float(by));
    }
};

}  // namespace
}  // namespace sigmabench

#include "normal_math.hpp"

namespace sigmabench {
namespace {

SIGMABENCH_INLINE void store(float* to, __m256 low, __m256 high) {
    _mm256_storeu_ps(to, low);
    _mm256_storeu_ps(to + 8, high);
}

SIGMABENCH_INLINE __m256i bfloat16(__m256 value) {
    const __m256i bits = Vec::bits(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), Vec::seti(1));
    const __m256i rounded = Vec::addi(bits, Vec::addi(odd, Vec::seti(0x7fff)));
    return _mm256_srli_epi32(rounded, 16);
}

SIGMABENCH_INLINE void store(std::uint16_t* to, __m256 low, __m256 high) {
    const __m256i packed = _mm256_packus_epi32(bfloat16(low), bfloat16(high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(packed, 0xd8));
}

// The normals of one block, from that counter on.
SIGMABENCH_INLINE void draw_block(const KeySchedule& keys, std::uint32_t mc, std::uint32_t ordinal,
                                  std::uint32_t counter, __m256* z) {
    alignas(32) std::uint8_t random[sizeof(std::int32_t) * kNormals];
    ars_block(keys, counter, mc, ordinal, 1, random);
    const auto* words = reinterpret_cast<const __m256i*>(random);
    normal_pair(words[0], words[2], z[0], z[2]);
    normal_pair(words[1], words[3], z[1], z[3]);
}

// Pairs of bfloat16 as two registers of floats.
SIGMABENCH_INLINE __m256 lower(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
SIGMABENCH_INLINE __m256 upper(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, Vec::seti(static_cast<int>(0xffff0000))));
}

template <class Out>
SIGMABENCH_AVX2 void fill(const KeySchedule& keys, const NormalBlocks& blocks, Out* out) {
    std::uint32_t counter = 8 * blocks.block;
    for (std::size_t at = 0; at < blocks.size; at += kNormals, counter += 8) {
        __m256 z[4];
        draw_block(keys, blocks.mc, blocks.ordinal, counter, z);
        const float *mean = blocks.mean + at, *std = blocks.std + at;
        for (int k = 0; k < 4; ++k) {
            z[k] = _mm256_fmadd_ps(_mm256_load_ps(std + 8 * k), z[k], _mm256_load_ps(mean + 8 * k));
        }
        const std::size_t left = blocks.size - at;
        if (left >= kNormals) {
            store(out + at, z[0], z[1]);
            store(out + at + 16, z[2], z[3]);
        } else {
            Out last[kNormals];
            store(last, z[0], z[1]);
            store(last + 16, z[2], z[3]);
            for (std::size_t l = 0; l < left; ++l) out[at + l] = last[l];
        }
    }
}

}  // namespace

SIGMABENCH_AVX2 void fill_avx2(const KeySchedule& keys, const NormalBlocks& blocks, float* out) {
    fill(keys, blocks, out);
}

SIGMABENCH_AVX2 void fill_avx2(const KeySchedule& keys, const NormalBlocks& blocks,
                               std::uint16_t* out) {
    fill(keys, blocks, out);
}

SIGMABENCH_AVX2 void draw_avx2(const KeySchedule& keys, const NormalRun<float>& run) {
    const float *mean = run.mean, *std = run.std;
    float* out[2] = {run.out[0], run.out[1]};
    std::uint32_t counter = 8 * run.block;
    for (std::uint32_t n = 0; n < run.count; ++n, mean += kNormals, std += kNormals) {
        __m256 z[4];
        draw_block(keys, run.mc, run.ordinal, counter, z);
        for (int k = 0; k < 4; ++k) {
            const __m256 values =
                _mm256_fmadd_ps(_mm256_load_ps(std + 8 * k), z[k], _mm256_load_ps(mean + 8 * k));
            _mm256_store_ps(out[k / 2] + k % 2 * 8, values);
        }
        out[0] += run.step[0];
        out[1] += run.step[1];
        counter += 8;
    }
}

SIGMABENCH_AVX2 void draw_avx2(const KeySchedule& keys, const NormalRun<std::uint16_t>& run) {
    const auto *mean = reinterpret_cast<const __m256i*>(run.mean),
               *std = reinterpret_cast<const __m256i*>(run.std);
    std::uint16_t* out = run.out[0];
    std::uint32_t counter = 8 * run.block;
    for (std::uint32_t n = 0; n < run.count; ++n, mean += 2, std += 2) {
        __m256 z[4];
        draw_block(keys, run.mc, run.ordinal, counter, z);
        for (int k = 0; k < 2; ++k) {
            const __m256i means = _mm256_load_si256(mean + k), stds = _mm256_load_si256(std + k);
            const __m256 even = _mm256_fmadd_ps(lower(stds), z[k], lower(means));
            const __m256 odd = _mm256_fmadd_ps(upper(stds), z[2 + k], upper(means));
            const __m256i pairs =
                _mm256_or_si256(bfloat16(even), _mm256_slli_epi32(bfloat16(odd), 16));
            _mm256_store_si256(reinterpret_cast<__m256i*>(out) + k, pairs);
        }
        out += run.step[0];
        counter += 8;
    }
}

}  // namespace sigmabench

#endif
