// The sampler for AVX2 and AES-NI: a block of 64 weights is two registers of 32 lanes.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "aesni.hpp"
#include "sampler.hpp"

#define SIGMABENCH_AVX2 __attribute__((target("avx2,bmi2,aes")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX2 inline __attribute__((always_inline))

namespace sigmabench {
namespace {

SIGMABENCH_INLINE __m256i load(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

// |eps_q| of 32 lanes. Tables of 128 entries are eight of 16: a byte shuffle yields 0 where its
// index has the top bit set, which saturation arranges for every lane that belongs to another.
SIGMABENCH_INLINE __m256i magnitude(const AliasTables& tables, __m256i first, __m256i slot) {
    const __m256i column = _mm256_and_si256(first, _mm256_set1_epi8(127));
    __m256i threshold = _mm256_setzero_si256(), alias = threshold;
    for (int part = 0; part < 8; ++part) {
        const __m256i shifted =
            _mm256_sub_epi8(column, _mm256_set1_epi8(static_cast<char>(16 * part)));
        const __m256i index = _mm256_adds_epu8(shifted, _mm256_set1_epi8(0x70));
        const auto table = [&](const std::uint8_t* bytes) SIGMABENCH_AVX2 {
            return _mm256_broadcastsi128_si256(
                _mm_load_si128(reinterpret_cast<const __m128i*>(bytes + 16 * part)));
        };
        threshold = _mm256_or_si256(threshold, _mm256_shuffle_epi8(table(tables.threshold), index));
        alias = _mm256_or_si256(alias, _mm256_shuffle_epi8(table(tables.alias), index));
    }
    const __m256i other = _mm256_cmpeq_epi8(_mm256_max_epu8(slot, threshold), slot);
    return _mm256_blendv_epi8(column, alias, other);
}

SIGMABENCH_INLINE __m256i distance(__m256i v, __m256i magnitude, const std::int16_t* multiplier,
                                   const std::int16_t* offset, const std::int16_t* widen) {
    const __m256i step = _mm256_adds_epi16(_mm256_mulhrs_epi16(v, load(multiplier)), load(offset));
    const __m256i wide = _mm256_mullo_epi16(magnitude, load(widen));
    return _mm256_mulhrs_epi16(step, wide);
}

// `half`: 0 for lanes 0...31 of the block, 1 for the rest.
SIGMABENCH_INLINE __m256i weights(int half, int bits, __m256i first, __m256i slot, __m256i mean,
                                  __m256i sigma, const ChannelConstants& c,
                                  const AliasTables& tables) {
    const int at = 16 * half;
    const __m256i zero = _mm256_setzero_si256(), top = _mm256_set1_epi8(-128);
    const __m256i size = magnitude(tables, first, slot);
    const __m128i up = _mm_cvtsi32_si128(15 - bits);
    const __m256i low = distance(_mm256_sll_epi16(_mm256_unpacklo_epi8(sigma, zero), up),
                                 _mm256_unpacklo_epi8(size, zero), c.multiplier[0] + at,
                                 c.offset[0] + at, c.widen[0] + at);
    const __m256i high = distance(_mm256_sll_epi16(_mm256_unpackhi_epi8(sigma, zero), up),
                                  _mm256_unpackhi_epi8(size, zero), c.multiplier[1] + at,
                                  c.offset[1] + at, c.widen[1] + at);
    const __m256i d = _mm256_packus_epi16(low, high);  // saturates at 255, which no mean survives
    // Around 128 in unsigned bytes, saturation does the clamping.
    const __m256i centre = _mm256_xor_si256(mean, top);
    const __m256i w =
        _mm256_blendv_epi8(_mm256_adds_epu8(centre, d), _mm256_subs_epu8(centre, d), first);
    return _mm256_xor_si256(_mm256_max_epu8(w, _mm256_set1_epi8(1)), top);
}

}  // namespace

SIGMABENCH_AVX2 void sample_avx2(const Stream& stream, const AliasTables& tables,
                                 const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
    const Store& store = *stream.store;
    const std::size_t sigma_bytes = 8 * static_cast<std::size_t>(store.bits);
    for (const Run& run : stream.runs) {
        std::int8_t* to = out + std::size_t{run.chunk} * kLanes;
        if (run.lanes == 0) {
            std::memset(to, 0, std::size_t{run.count} * kLanes);
            continue;
        }
        alignas(32) std::uint8_t kept[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
            kept[lane] = (run.lanes >> lane & 1) != 0 ? 255 : 0;
        }
        for (std::uint32_t k = 0; k < run.count; ++k, to += std::size_t{run.stride} * kLanes) {
            alignas(32) std::uint8_t random[2 * kLanes], sigma[kLanes];
            ars_block(keys, 8 * (run.block + k), mc, stream.ordinal, 0, random);
            const std::size_t place = run.block + k;
            expand_sigma(store.sigma.data() + place * sigma_bytes, store.bits, sigma);
            for (int half = 0; half < 2; ++half) {
                const int at = 32 * half;
                const __m256i w =
                    weights(half, store.bits, load(random + at), load(random + kLanes + at),
                            load(store.mean.data() + place * kLanes + at), load(sigma + at),
                            store.constants[run.group], tables);
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at),
                                    _mm256_and_si256(w, load(kept + at)));
            }
        }
    }
}

}  // namespace sigmabench

#endif
