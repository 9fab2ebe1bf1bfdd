#include "noise.hpp"

#include <array>
#include <cstring>

namespace sigmabench {
namespace {

std::uint8_t times_two(std::uint8_t x) {
    return static_cast<std::uint8_t>((x << 1) ^ ((x & 0x80) != 0 ? 0x1B : 0));
}

// The S-box of FIPS 197: the inverse in GF(2^8), by powers of the generator 3, then an affine map.
std::array<std::uint8_t, 256> make_sbox() {
    std::array<std::uint8_t, 256> power{}, log{}, box{};
    std::uint8_t x = 1;
    for (int i = 0; i < 255; ++i) {
        power[static_cast<std::size_t>(i)] = x;
        log[x] = static_cast<std::uint8_t>(i);
        x = static_cast<std::uint8_t>(x ^ times_two(x));
    }
    for (int value = 0; value < 256; ++value) {
        const auto at = static_cast<std::size_t>(value);
        const unsigned inverse = value == 0 ? 0u : power[(255u - log[at]) % 255u];
        unsigned mixed = 0x63;
        for (int turn = 0; turn < 5; ++turn) mixed ^= (inverse << turn) | (inverse >> (8 - turn));
        box[at] = static_cast<std::uint8_t>(mixed);
    }
    return box;
}

struct AesTables {
    std::array<std::uint8_t, 256> sbox = make_sbox();
    // SubBytes and MixColumns of a byte in row r, as one little-endian column.
    std::array<std::array<std::uint32_t, 256>, 4> mixed{};

    AesTables() {
        for (std::size_t value = 0; value < 256; ++value) {
            const std::uint32_t s = sbox[value], s2 = times_two(sbox[value]);
            std::uint32_t column = s2 | s << 8 | s << 16 | (s2 ^ s) << 24;
            for (auto& row : mixed) {
                row[value] = column;
                column = column << 8 | column >> 24;
            }
        }
    }
};

const AesTables& tables() {
    static const AesTables instance;
    return instance;
}

}  // namespace

void ars(const KeySchedule& keys, const std::uint32_t counter[4], std::uint8_t out[16]) {
    const AesTables& aes = tables();
    std::uint8_t state[16], next[16];
    const auto add_key = [&](std::uint8_t* bytes, int round) {
        for (int half = 0; half < 2; ++half) {
            for (int byte = 0; byte < 8; ++byte) {
                bytes[8 * half + byte] ^=
                    static_cast<std::uint8_t>(keys.words[round][half] >> (8 * byte));
            }
        }
    };
    for (int byte = 0; byte < 16; ++byte) {
        state[byte] = static_cast<std::uint8_t>(counter[byte / 4] >> (8 * (byte % 4)));
    }
    add_key(state, 0);
    for (int round = 1; round < kRounds; ++round) {
        for (int column = 0; column < 4; ++column) {
            std::uint32_t mixed = 0;  // ShiftRows: row r comes from r columns further on
            for (int row = 0; row < 4; ++row) {
                mixed ^=
                    aes.mixed[static_cast<std::size_t>(row)][state[4 * ((column + row) % 4) + row]];
            }
            for (int row = 0; row < 4; ++row) {
                next[4 * column + row] = static_cast<std::uint8_t>(mixed >> (8 * row));
            }
        }
        std::memcpy(state, next, 16);
        add_key(state, round);
    }
    for (int byte = 0; byte < 16; ++byte) out[byte] = aes.sbox[state[5 * byte % 16]];
    add_key(out, kRounds);
}

}  // namespace sigmabench
