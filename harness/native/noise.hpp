// Noise stream v1 (docs/noise-stream.md): the generator and the order of the weights.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sigmabench {

inline constexpr int kRounds = 7;
inline constexpr int kLanes = 64;                                 // weights in a block
inline constexpr std::uint64_t kKeyHigh = 0x5349474D412D7631ull;  // "SIGMA-v1"
inline constexpr std::uint64_t kWeylLow = 0x9E3779B97F4A7C15ull;
inline constexpr std::uint64_t kWeylHigh = 0xBB67AE8584CAA73Bull;

// Walker's alias method: a column i that needs no alias has alias[i] == i, whatever its threshold.
struct AliasTables {
    alignas(64) std::uint8_t threshold[128];
    alignas(64) std::uint8_t alias[128];
};

// Round keys, low and high half, least significant first; entry 0 whitens the counter.
struct KeySchedule {
    explicit KeySchedule(std::uint64_t low, std::uint64_t high = kKeyHigh) {
        for (auto& word : words) {
            word[0] = low;
            word[1] = high;
            low += kWeylLow;
            high += kWeylHigh;
        }
    }

    alignas(16) std::uint64_t words[kRounds + 1][2];
};

// ARS with kRounds rounds, without AES instructions. Counter: least significant word first.
void ars(const KeySchedule& keys, const std::uint32_t counter[4], std::uint8_t out[16]);

// The logical shape (O, I, KH, KW) of a weight tensor, I counting one group's input channels, and
// the number each weight has in the stream: 64 * block + lane.
struct Geometry {
    std::int64_t outputs = 0, inputs = 0, height = 0, width = 0;

    std::int64_t weights() const { return outputs * inputs * height * width; }
    // Output channels that share a block, which hence share a set of per-channel constants.
    std::int64_t group_channels() const { return inputs > 1 ? 16 : 64; }
    std::int64_t groups() const { return (outputs + group_channels() - 1) / group_channels(); }
    std::int64_t blocks_per_group() const {
        return height * width * (inputs > 1 ? (inputs + 3) / 4 : 1);
    }
    std::int64_t blocks() const { return groups() * blocks_per_group(); }

    std::int64_t canonical(std::int64_t o, std::int64_t i, std::int64_t h, std::int64_t w) const {
        if (inputs == 1) {
            return ((o / 64 * height + h) * width + w) * kLanes + o % 64;
        }
        const std::int64_t quads = (inputs + 3) / 4;
        const std::int64_t block = ((o / 16 * height + h) * width + w) * quads + i / 4;
        return block * kLanes + o % 16 * 4 + i % 4;
    }
};

}  // namespace sigmabench
