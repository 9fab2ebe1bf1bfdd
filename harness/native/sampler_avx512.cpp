// The sampler for AVX-512 VBMI and VAES: a block of 64 weights is one register from end to end.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "sampler.hpp"

#define SIGMABENCH_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,aes,vaes")))
#define SIGMABENCH_INLINE SIGMABENCH_AVX512 inline __attribute__((always_inline))

namespace sigmabench {
namespace {

// The stream is read once, in order, and the work between two reads hides the hardware
// prefetcher's steps: asking for lines this far ahead is worth a third of the time from memory.
constexpr std::size_t kAhead = 3072;

struct Generator {
    __m512i key[kRounds + 1];
    __m512i upper;  // key[0] for outputs 4...7 of a block, whose counters have bit 2 set besides
};

SIGMABENCH_INLINE Generator make_generator(const KeySchedule& keys) {
    Generator generator;
    for (int round = 0; round <= kRounds; ++round) {
        generator.key[round] = _mm512_broadcast_i32x4(
            _mm_load_si128(reinterpret_cast<const __m128i*>(keys.words[round])));
    }
    const __m512i four = _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 4));
    generator.upper = _mm512_xor_si512(generator.key[0], four);
    return generator;
}

struct Random {
    __m512i first, slot;  // bytes 0...63 and 64...127 of a block's outputs
};

// `counter` holds the counters of a block's outputs 0...3.
SIGMABENCH_INLINE Random draw(const Generator& generator, __m512i counter) {
    __m512i a = _mm512_xor_si512(counter, generator.key[0]);
    __m512i f = _mm512_xor_si512(counter, generator.upper);
    for (int round = 1; round < kRounds; ++round) {
        a = _mm512_aesenc_epi128(a, generator.key[round]);
        f = _mm512_aesenc_epi128(f, generator.key[round]);
    }
    return {_mm512_aesenclast_epi128(a, generator.key[kRounds]),
            _mm512_aesenclast_epi128(f, generator.key[kRounds])};
}

// How the packed sigma of a block spreads over its 64 bytes: eight lanes take `bits` bytes.
struct Spread {
    __m512i bytes, shifts;
};

template <int bits>
SIGMABENCH_INLINE Spread make_spread() {
    alignas(64) std::uint8_t bytes[64], shifts[64];
    for (int lane = 0; lane < 64; ++lane) {
        const int byte = lane % 8 < bits ? lane % 8 : bits - 1;
        bytes[lane] = static_cast<std::uint8_t>(lane / 8 * bits + byte);
        shifts[lane] = static_cast<std::uint8_t>(lane % 8 * bits);
    }
    return {_mm512_load_si512(bytes), _mm512_load_si512(shifts)};
}

// A byte a lane, sigma in its low bits; above them may be other lanes' bits.
template <int bits>
SIGMABENCH_INLINE __m512i load_sigma(const std::uint8_t* packed, const Spread& spread) {
    if constexpr (bits == 8) return _mm512_loadu_si512(packed);
    const __m512i words =
        _mm512_maskz_loadu_epi8((std::uint64_t{1} << (8 * bits % 64)) - 1, packed);
    return _mm512_multishift_epi64_epi8(spread.shifts,
                                        _mm512_permutexvar_epi8(spread.bytes, words));
}

struct Tables {
    __m512i threshold[2], alias[2];
};

SIGMABENCH_INLINE __m512i magnitude(const Random& random, const Tables& tables) {
    const __m512i threshold =
        _mm512_permutex2var_epi8(tables.threshold[0], random.first, tables.threshold[1]);
    const __m512i alias = _mm512_permutex2var_epi8(tables.alias[0], random.first, tables.alias[1]);
    const __mmask64 own = _mm512_cmplt_epu8_mask(random.slot, threshold);
    const __m512i column = _mm512_and_si512(random.first, _mm512_set1_epi8(127));
    return _mm512_mask_mov_epi8(alias, own, column);
}

// d of 32 lanes in 16 bits.
SIGMABENCH_INLINE __m512i distance(__m512i v, __m512i magnitude, const std::int16_t* multiplier,
                                   const std::int16_t* offset, const std::int16_t* widen) {
    const __m512i scaled = _mm512_mulhrs_epi16(v, _mm512_load_si512(multiplier));
    const __m512i step = _mm512_adds_epi16(scaled, _mm512_load_si512(offset));
    const __m512i wide = _mm512_mullo_epi16(magnitude, _mm512_load_si512(widen));
    return _mm512_mulhrs_epi16(step, wide);
}

template <int bits>
SIGMABENCH_INLINE __m512i weights(const Random& random, __m512i mean, __m512i sigma,
                                  const ChannelConstants& c, const Tables& tables,
                                  __mmask64 lanes) {
    const __m512i zero = _mm512_setzero_si512(), top = _mm512_set1_epi8(-128);
    const __m512i field = _mm512_set1_epi16(((1 << bits) - 1) << (15 - bits));
    const auto widened = [&](__m512i bytes) SIGMABENCH_AVX512 {  // sigma of 32 lanes
        const __m512i v = _mm512_slli_epi16(bytes, 15 - bits);
        return bits == 8 ? v : _mm512_and_si512(v, field);
    };
    const __m512i size = magnitude(random, tables);
    const __m512i low =
        distance(widened(_mm512_unpacklo_epi8(sigma, zero)), _mm512_unpacklo_epi8(size, zero),
                 c.multiplier[0], c.offset[0], c.widen[0]);
    const __m512i high =
        distance(widened(_mm512_unpackhi_epi8(sigma, zero)), _mm512_unpackhi_epi8(size, zero),
                 c.multiplier[1], c.offset[1], c.widen[1]);
    const __m512i d = _mm512_packus_epi16(low, high);  // saturates at 255, which no mean survives
    // Around 128 in unsigned bytes, saturation does the clamping.
    const __m512i centre = _mm512_xor_si512(mean, top);
    const __mmask64 negative = _mm512_movepi8_mask(random.first);
    __m512i w = _mm512_adds_epu8(centre, d);
    w = _mm512_mask_subs_epu8(w, negative, centre, d);
    w = _mm512_max_epu8(w, _mm512_set1_epi8(1));
    return _mm512_maskz_sub_epi8(lanes, w, top);
}

template <int bits>
SIGMABENCH_AVX512 void sample_bits(const Stream& stream, const AliasTables& alias,
                                   const KeySchedule& keys, std::uint32_t mc, std::int8_t* out) {
    const Generator generator = make_generator(keys);
    const Spread spread = make_spread<bits>();
    const Tables tables = {
        {_mm512_load_si512(alias.threshold), _mm512_load_si512(alias.threshold + 64)},
        {_mm512_load_si512(alias.alias), _mm512_load_si512(alias.alias + 64)}};
    const __m512i next = _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, 8));
    const __m512i outputs = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    const Store& store = *stream.store;
    for (const Run& run : stream.runs) {
        std::int8_t* to = out + std::size_t{run.chunk} * kLanes;
        if (run.lanes == 0) {
            std::memset(to, 0, std::size_t{run.count} * kLanes);
            continue;
        }
        const ChannelConstants& constants = store.constants[run.group];
        const std::int8_t* mean = store.mean.data() + std::size_t{run.block} * kLanes;
        const std::uint8_t* sigma = store.sigma.data() + std::size_t{run.block} * (8 * bits);
        __m512i counter =
            _mm512_add_epi32(outputs, _mm512_broadcast_i32x4(_mm_set_epi32(
                                          0, static_cast<int>(stream.ordinal), static_cast<int>(mc),
                                          static_cast<int>(8 * run.block))));
        const std::size_t step = std::size_t{run.stride} * kLanes;
        for (std::uint32_t k = 0; k < run.count; ++k) {
            _mm_prefetch(reinterpret_cast<const char*>(mean) + kAhead, _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(sigma) + kAhead * bits / 8, _MM_HINT_T0);
            const Random random = draw(generator, counter);
            const __m512i w =
                weights<bits>(random, _mm512_loadu_si512(mean), load_sigma<bits>(sigma, spread),
                              constants, tables, run.lanes);
            _mm512_storeu_si512(to, w);
            counter = _mm512_add_epi32(counter, next);
            mean += kLanes;
            sigma += 8 * bits;
            to += step;
        }
    }
}

}  // namespace

void sample_avx512_vbmi(const Stream& stream, const AliasTables& tables, const KeySchedule& keys,
                        std::uint32_t mc, std::int8_t* out) {
    switch (stream.store->bits) {
        case 1:
            return sample_bits<1>(stream, tables, keys, mc, out);
        case 2:
            return sample_bits<2>(stream, tables, keys, mc, out);
        case 3:
            return sample_bits<3>(stream, tables, keys, mc, out);
        case 4:
            return sample_bits<4>(stream, tables, keys, mc, out);
        case 5:
            return sample_bits<5>(stream, tables, keys, mc, out);
        case 6:
            return sample_bits<6>(stream, tables, keys, mc, out);
        case 7:
            return sample_bits<7>(stream, tables, keys, mc, out);
        default:
            return sample_bits<8>(stream, tables, keys, mc, out);
    }
}

}  // namespace sigmabench

#endif
