// A function of one number on several activations, side by side in channels.
#pragma once

#include <vector>

#include "elementwise.hpp"

namespace sigmabench {

struct JoinPart {
    std::int64_t channels = 0;
    const std::uint8_t* table = nullptr;  // 256 integers, by their byte; null: none changes
};

struct JoinSpec {
    Type type = Type::u8;
    std::int64_t width = 0;
    float low = 0, high = 0;  // where floats end
    std::vector<JoinPart> parts;
};

// `rows` of NHWC maps of equal height and width, which lie `from` bytes into the arena, into one.
void join(const std::uint8_t* arena, const std::vector<std::size_t>& from, Rows rows,
          const JoinSpec& spec, std::uint8_t* out);

}  // namespace sigmabench
