// What the paths without VAES share: noise from AES-NI, and packed sigma by PDEP.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "noise.hpp"

namespace sigmabench {

// The eight outputs of a block, whose counters begin with words from `first` on; 128 aligned bytes.
__attribute__((target("aes"), always_inline)) inline void ars_block(
    const KeySchedule& keys, std::uint32_t first, std::uint32_t mc, std::uint32_t ordinal,
    int purpose, std::uint8_t* random) {
    const __m128i* key = reinterpret_cast<const __m128i*>(keys.words);
    __m128i x[8];
    for (int j = 0; j < 8; ++j) {
        const __m128i counter =
            _mm_set_epi32(purpose, static_cast<int>(ordinal), static_cast<int>(mc),
                          static_cast<int>(first + static_cast<std::uint32_t>(j)));
        x[j] = _mm_xor_si128(counter, key[0]);
    }
    for (int round = 1; round < kRounds; ++round) {
        for (__m128i& state : x) state = _mm_aesenc_si128(state, key[round]);
    }
    for (int j = 0; j < 8; ++j) {
        _mm_store_si128(reinterpret_cast<__m128i*>(random) + j,
                        _mm_aesenclast_si128(x[j], key[kRounds]));
    }
}

// A block's packed sigma, a byte a lane.
__attribute__((target("bmi2"), always_inline)) inline void expand_sigma(const std::uint8_t* packed,
                                                                        int bits,
                                                                        std::uint8_t* out) {
    const std::uint64_t field = 0x0101010101010101ull * ((1u << bits) - 1u);
    for (int eight = 0; eight < 8; ++eight) {
        std::uint64_t word;
        std::memcpy(&word, packed + eight * bits, sizeof word);
        word = _pdep_u64(word, field);
        std::memcpy(out + 8 * eight, &word, sizeof word);
    }
}

}  // namespace sigmabench
