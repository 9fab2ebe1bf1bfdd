// The sampler for AVX-512 without VBMI and VAES (before Ice Lake): 64 weights a register, noise
// from AES-NI four counters at a time, tables of 16-bit entries.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "aesni.hpp"
#include "sampler.hpp"

#define SIGMABENCH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi2,aes")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX512 inline __attribute__((always_inline))

namespace sigmabench {
namespace {

// Threshold and alias of the 128 columns, a 16-bit entry each.
struct Tables {
    __m512i entries[4];
};

SIGMABENCH_AVX512 Tables make_tables(const AliasTables& alias) {
    alignas(64) std::uint16_t entries[128];
    for (int column = 0; column < 128; ++column) {
        entries[column] =
            static_cast<std::uint16_t>(alias.threshold[column] << 8 | alias.alias[column]);
    }
    Tables tables;
    for (int part = 0; part < 4; ++part) {
        tables.entries[part] = _mm512_load_si512(entries + 32 * part);
    }
    return tables;
}

// |eps_q| of 32 lanes in 16 bits, from their bytes of noise in 16 bits.
SIGMABENCH_INLINE __m512i magnitude(const Tables& tables, __m512i first, __m512i slot) {
    const __m512i column = _mm512_and_si512(first, _mm512_set1_epi16(127));
    const __m512i lower = _mm512_permutex2var_epi16(tables.entries[0], column, tables.entries[1]);
    const __m512i upper = _mm512_permutex2var_epi16(tables.entries[2], column, tables.entries[3]);
    const __mmask32 high = _mm512_test_epi16_mask(column, _mm512_set1_epi16(64));
    const __m512i entry = _mm512_mask_mov_epi16(lower, high, upper);
    const __mmask32 own = _mm512_cmplt_epu16_mask(slot, _mm512_srli_epi16(entry, 8));
    return _mm512_mask_mov_epi16(_mm512_and_si512(entry, _mm512_set1_epi16(255)), own, column);
}

SIGMABENCH_INLINE __m512i distance(__m512i v, __m512i magnitude, const std::int16_t* multiplier,
                                   const std::int16_t* offset, const std::int16_t* widen) {
    const __m512i scaled = _mm512_mulhrs_epi16(v, _mm512_load_si512(multiplier));
    const __m512i step = _mm512_adds_epi16(scaled, _mm512_load_si512(offset));
    return _mm512_mulhrs_epi16(step, _mm512_mullo_epi16(magnitude, _mm512_load_si512(widen)));
}

SIGMABENCH_INLINE __m512i weights(__m512i first, __m512i slot, __m512i mean, __m512i sigma,
                                  int bits, const ChannelConstants& c, const Tables& tables,
                                  __mmask64 lanes) {
    const __m512i zero = _mm512_setzero_si512(), top = _mm512_set1_epi8(-128);
    const __m128i up = _mm_cvtsi32_si128(15 - bits);
    const __m512i low = distance(
        _mm512_sll_epi16(_mm512_unpacklo_epi8(sigma, zero), up),
        magnitude(tables, _mm512_unpacklo_epi8(first, zero), _mm512_unpacklo_epi8(slot, zero)),
        c.multiplier[0], c.offset[0], c.widen[0]);
    const __m512i high = distance(
        _mm512_sll_epi16(_mm512_unpackhi_epi8(sigma, zero), up),
        magnitude(tables, _mm512_unpackhi_epi8(first, zero), _mm512_unpackhi_epi8(slot, zero)),
        c.multiplier[1], c.offset[1], c.widen[1]);
    const __m512i d = _mm512_packus_epi16(low, high);  // saturates at 255, which no mean survives
    // Around 128 in unsigned bytes, saturation does the clamping.
    const __m512i centre = _mm512_xor_si512(mean, top);
    __m512i w = _mm512_adds_epu8(centre, d);
    w = _mm512_mask_subs_epu8(w, _mm512_movepi8_mask(first), centre, d);
    w = _mm512_max_epu8(w, _mm512_set1_epi8(1));
    return _mm512_maskz_sub_epi8(lanes, w, top);
}

}  // namespace

SIGMABENCH_AVX512 void sample_avx512(const Stream& stream, const AliasTables& alias,
                                     const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
    const Store& store = *stream.store;
    const Tables tables = make_tables(alias);
    const std::size_t sigma_bytes = 8 * static_cast<std::size_t>(store.bits);
    for (const Run& run : stream.runs) {
        std::int8_t* to = out + std::size_t{run.chunk} * kLanes;
        if (run.lanes == 0) {
            std::memset(to, 0, std::size_t{run.count} * kLanes);
            continue;
        }
        const ChannelConstants& constants = store.constants[run.group];
        for (std::uint32_t k = 0; k < run.count; ++k, to += std::size_t{run.stride} * kLanes) {
            alignas(64) std::uint8_t random[2 * kLanes], sigma[kLanes];
            const std::size_t place = run.block + k;
            ars_block(keys, 8 * (run.block + k), mc, stream.ordinal, 0, random);
            expand_sigma(store.sigma.data() + place * sigma_bytes, store.bits, sigma);
            const __m512i w =
                weights(_mm512_load_si512(random), _mm512_load_si512(random + kLanes),
                        _mm512_loadu_si512(store.mean.data() + place * kLanes),
                        _mm512_load_si512(sigma), store.bits, constants, tables, run.lanes);
            _mm512_storeu_si512(to, w);
        }
    }
}

}  // namespace sigmabench

#endif
