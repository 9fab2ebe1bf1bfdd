// Groups of channels of each image at mean 0 and variance 1.
#pragma once

#include "elementwise.hpp"

namespace sigmabench {

struct GroupNormSpec {
    Type type = Type::u8;  // of what is read; int8 is written
    Image image;
    std::int64_t groups = 1;
    double eps = 0;
    float scale = 1, out_scale = 1;

    // Scratch, in 32-bit numbers: two sums of 64 bits a group; two of 32 bits, a factor and a sum
    // again for each channel.
    std::size_t row_words() const {
        return static_cast<std::size_t>(4 * groups + 4 * image.channels) + kLine;
    }
};

// saturate(rint(float(n q - sum q) * f)) of the n integers q of each group, NHWC to NHWC, where
// f = s / (sqrt(s s (n sum q^2 - (sum q)^2) + eps n n) s_out) in float64, as the reference has it;
// `rows` of the output. Whoever has some rows of an image sums all of it.
void group_norm(const std::uint8_t* x, Rows rows, const GroupNormSpec& spec, std::int32_t* scratch,
                std::uint8_t* out);

}  // namespace sigmabench
