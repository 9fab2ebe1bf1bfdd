// Normal weights for AVX-512 and VAES: a block is one pair of registers from end to end.
#if defined(__x86_64__)

#include <immintrin.h>

#include "normal.hpp"

#define SIGMABENCH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,aes,vaes")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX512 inline __attribute__((always_inline))

namespace sigmabench {
namespace {

struct Vec {
    using F = __m512;
    using I = __m512i;

    SIGMABENCH_INLINE static F set(float x) { return _mm512_set1_ps(x); }
    SIGMABENCH_INLINE static I seti(std::int32_t x) { return _mm512_set1_epi32(x); }
    SIGMABENCH_INLINE static F add(F a, F b) { return _mm512_add_ps(a, b); }
    SIGMABENCH_INLINE static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    SIGMABENCH_INLINE static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    SIGMABENCH_INLINE static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    SIGMABENCH_INLINE static F sqrt(F a) { return _mm512_sqrt_ps(a); }
    SIGMABENCH_INLINE static I addi(I a, I b) { return _mm512_add_epi32(a, b); }
    SIGMABENCH_INLINE static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
    SIGMABENCH_INLINE static I andi(I a, I b) { return _mm512_and_si512(a, b); }
    SIGMABENCH_INLINE static I xori(I a, I b) { return _mm512_xor_si512(a, b); }
    template <int by>
    SIGMABENCH_INLINE static I shift_down(I a) {
        return _mm512_srai_epi32(a, by);
    }
    template <int by>
    SIGMABENCH_INLINE static I shift_up(I a) {
        return _mm512_slli_epi32(a, by);
    }
    SIGMABENCH_INLINE static F from_signed(I a) { return _mm512_cvtepi32_ps(a); }
    SIGMABENCH_INLINE static F from_unsigned(I a) { return _mm512_cvtepu32_ps(a); }
    SIGMABENCH_INLINE static I bits(F a) { return _mm512_castps_si512(a); }
    SIGMABENCH_INLINE static F as_float(I a) { return _mm512_castsi512_ps(a); }
    SIGMABENCH_INLINE static F choose(I by, F negative, F other) {
        return _mm512_mask_mov_ps(other, _mm512_movepi32_mask(by), negative);
    }
};

}  // namespace
}  // namespace sigmabench

#include "normal_math.hpp"

namespace sigmabench {
namespace {

SIGMABENCH_INLINE void store(float* to, __m512 first, __m512 second, __mmask32 lanes) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(lanes), first);
    _mm512_mask_storeu_ps(to + 16, static_cast<__mmask16>(lanes >> 16), second);
}

// A bfloat16 in the upper half of every lane.
SIGMABENCH_INLINE __m512i rounded(__m512 value) {
    const __m512i bits = Vec::bits(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), Vec::seti(1));
    return Vec::addi(bits, Vec::addi(odd, Vec::seti(0x7fff)));
}

SIGMABENCH_INLINE void store(std::uint16_t* to, __m512 first, __m512 second, __mmask32 lanes) {
    alignas(64) static constexpr std::uint16_t kUpper[32] = {
        1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
        33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    const __m512i halves =
        _mm512_permutex2var_epi16(rounded(first), _mm512_load_si512(kUpper), rounded(second));
    _mm512_mask_storeu_epi16(to, lanes, halves);
}

// The normals of a tensor's blocks, one block after the other.
struct Blocks {
    SIGMABENCH_INLINE Blocks(const KeySchedule& keys, std::uint32_t block, std::uint32_t mc,
                             std::uint32_t ordinal) {
        for (int round = 0; round <= kRounds; ++round) {
            key[round] = _mm512_broadcast_i32x4(
                _mm_load_si128(reinterpret_cast<const __m128i*>(keys.words[round])));
        }
        const __m512i outputs = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
        counter = _mm512_add_epi32(outputs, _mm512_broadcast_i32x4(_mm_set_epi32(
                                                1, static_cast<int>(ordinal), static_cast<int>(mc),
                                                static_cast<int>(8 * block))));
    }

    SIGMABENCH_INLINE void next(__m512& first, __m512& second) {
        const __m512i four = _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 4));
        __m512i x = _mm512_xor_si512(counter, key[0]);
        counter = _mm512_add_epi32(counter, four);
        __m512i y = _mm512_xor_si512(counter, key[0]);
        counter = _mm512_add_epi32(counter, four);
        for (int round = 1; round < kRounds; ++round) {
            x = _mm512_aesenc_epi128(x, key[round]);
            y = _mm512_aesenc_epi128(y, key[round]);
        }
        x = _mm512_aesenclast_epi128(x, key[kRounds]);
        y = _mm512_aesenclast_epi128(y, key[kRounds]);
        normal_pair(x, y, first, second);
    }

    __m512i key[kRounds + 1], counter;
};

template <class Out>
SIGMABENCH_AVX512 void fill(const KeySchedule& keys, const NormalBlocks& blocks, Out* out) {
    Blocks normals(keys, blocks.block, blocks.mc, blocks.ordinal);
    for (std::size_t at = 0; at < blocks.size; at += kNormals) {
        __m512 first, second;
        normals.next(first, second);
        const float *mean = blocks.mean + at, *std = blocks.std + at;
        first = _mm512_fmadd_ps(_mm512_load_ps(std), first, _mm512_load_ps(mean));
        second = _mm512_fmadd_ps(_mm512_load_ps(std + 16), second, _mm512_load_ps(mean + 16));
        const std::size_t left = blocks.size - at;
        store(out + at, first, second, left >= kNormals ? ~0u : (1u << left) - 1);
    }
}

// Pairs of bfloat16 as two registers of floats.
SIGMABENCH_INLINE __m512 lower(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
SIGMABENCH_INLINE __m512 upper(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, Vec::seti(static_cast<int>(0xffff0000))));
}

// Drawing is slow enough for the prefetcher to stay behind: asking for lines this many blocks ahead
// takes a third to a half of the time from memory.
constexpr std::size_t kAhead = 16 * kNormals;

template <class Value>
SIGMABENCH_INLINE void prefetch(const Value* values) {
    for (std::size_t k = 0; k < kNormals; k += 64 / sizeof(Value)) {
        _mm_prefetch(reinterpret_cast<const char*>(values + kAhead + k), _MM_HINT_T0);
    }
}

}  // namespace

SIGMABENCH_AVX512 void fill_avx512(const KeySchedule& keys, const NormalBlocks& blocks,
                                   float* out) {
    fill(keys, blocks, out);
}

SIGMABENCH_AVX512 void fill_avx512(const KeySchedule& keys, const NormalBlocks& blocks,
                                   std::uint16_t* out) {
    fill(keys, blocks, out);
}

SIGMABENCH_AVX512 void draw_avx512(const KeySchedule& keys, const NormalRun<float>& run) {
    Blocks normals(keys, run.block, run.mc, run.ordinal);
    const float *mean = run.mean, *std = run.std;
    float *lower_half = run.out[0], *upper_half = run.out[1];
    for (std::uint32_t k = 0; k < run.count; ++k, mean += kNormals, std += kNormals) {
        __m512 first, second;
        prefetch(mean);
        prefetch(std);
        normals.next(first, second);
        first = _mm512_fmadd_ps(_mm512_load_ps(std), first, _mm512_load_ps(mean));
        second = _mm512_fmadd_ps(_mm512_load_ps(std + 16), second, _mm512_load_ps(mean + 16));
        _mm512_store_ps(lower_half, first);
        _mm512_store_ps(upper_half, second);
        lower_half += run.step[0];
        upper_half += run.step[1];
    }
}

SIGMABENCH_AVX512 void draw_avx512(const KeySchedule& keys, const NormalRun<std::uint16_t>& run) {
    Blocks normals(keys, run.block, run.mc, run.ordinal);
    const std::uint16_t *mean = run.mean, *std = run.std;
    std::uint16_t* out = run.out[0];
    const __m512i high = Vec::seti(static_cast<int>(0xffff0000));
    for (std::uint32_t k = 0; k < run.count; ++k, mean += kNormals, std += kNormals) {
        __m512 first, second;
        prefetch(mean);
        prefetch(std);
        normals.next(first, second);
        const __m512i means = _mm512_load_si512(mean), stds = _mm512_load_si512(std);
        first = _mm512_fmadd_ps(lower(stds), first, lower(means));
        second = _mm512_fmadd_ps(upper(stds), second, upper(means));
        const __m512i low = _mm512_srli_epi32(rounded(first), 16);
        _mm512_store_si512(out, _mm512_or_si512(low, _mm512_and_si512(rounded(second), high)));
        out += run.step[0];
    }
}

}  // namespace sigmabench

#endif
