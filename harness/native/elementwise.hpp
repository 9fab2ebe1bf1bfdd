// What a pass does besides convolutions: quantize the input, unfold rows, pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "conv.hpp"

namespace sigmabench {

struct Image {
    std::int64_t channels = 0, height = 0, width = 0;
    std::int64_t size() const { return channels * height * width; }
    bool operator==(const Image& other) const {
        return channels == other.channels && height == other.height && width == other.width;
    }
};

// Rows [first, last) of a batch's images, counted through the batch.
struct Rows {
    std::int64_t first = 0, last = 0;
};

// An image has a number that is NaN or infinite.
struct NotFinite : std::runtime_error {
    explicit NotFinite(std::int64_t image) : std::runtime_error(std::to_string(image)) {}
};

// |x| by its bits, which order as the numbers do; above `kLargestFinite` it is not finite.
inline std::int32_t magnitude(float x) {
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits & 0x7fffffff;
}
constexpr std::int32_t kLargestFinite = 0x7f7fffff;

// rint(x / scale), saturated to u8 or s8; float32 NCHW to NHWC. `scratch` holds a row. Gives the
// largest `magnitude` of the rows.
std::int32_t quantize_input(const float* x, Rows rows, const Image& image, float scale, Type type,
                            std::uint8_t* scratch, std::uint8_t* out);

// NCHW to NHWC, bytes.
void interleave(const std::uint8_t* planes, const Image& image, std::uint8_t* out);

// Fold a convolution's kernel columns into channels, so that images with few channels fill the
// dot products: out[n][h][ow] holds the `columns * channels` bytes under the kernel's row at ow,
// then others up to `folded`, which meet weights that are 0.
struct Folding {
    Image image;
    std::int64_t columns = 0, stride = 1, padding = 0, dilation = 1, out_width = 0, folded = 0;
    std::size_t row_bytes() const {  // of a padded row
        const std::int64_t reach = (out_width - 1) * stride + (columns - 1) * dilation + 1;
        return static_cast<std::size_t>((reach + padding + image.width) * image.channels + folded);
    }
};
// `scratch` holds a padded row.
void fold_columns(const std::uint8_t* x, Rows rows, const Folding& folding, std::uint8_t* scratch,
                  std::uint8_t* out);
// quantize_input and fold_columns in one go. `scratch` holds a padded row and a plain one.
std::int32_t fold_input(const float* x, Rows rows, const Folding& folding, float scale, Type type,
                        std::uint8_t* scratch, std::uint8_t* out);

// Rows, or columns: first, first + step, ..., below last; at least one.
struct Window {
    std::int64_t first, last, step;
};

struct PoolSpec {
    bool maximum = true;  // else the average, padding not counted, rounded half to even
    Type type = Type::u8;
    Image in, out;
    std::int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
    bool adaptive = false;  // windows follow from the sizes; an average

    // What of the map lies under the kernel, along one axis.
    Window window(int axis, std::int64_t at) const {
        const std::int64_t size = axis == 0 ? in.height : in.width;
        if (adaptive) {
            const std::int64_t count = axis == 0 ? out.height : out.width;
            return {at * size / count, ((at + 1) * size + count - 1) / count, 1};
        }
        const std::int64_t apart = dilation[axis];
        std::int64_t first = at * stride[axis] - padding[axis];
        const std::int64_t last = std::min(first + (kernel[axis] - 1) * apart + 1, size);
        if (first < 0) first += (apart - 1 - first) / apart * apart;
        return {first, last, apart};
    }
    // Numbers of a row with its padding, as far as the last window reaches.
    std::int64_t line() const {
        const std::int64_t reach = (out.width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1;
        return in.channels * std::max(in.width + 2 * padding[1], reach);
    }
    // Scratch, in 32-bit numbers: two padded rows.
    std::size_t row_words() const { return static_cast<std::size_t>(line()) * 2 + kLine; }
};

// Calls with every image of the batch that has some of the rows of the output: its number, its own
// rows, and where in the output they begin.
template <class Work>
void for_each_image(Rows rows, const PoolSpec& spec, Work work) {
    const std::int64_t height = spec.out.height, line = spec.out.width * spec.out.channels;
    for (std::int64_t at = rows.first; at < rows.last;) {
        const std::int64_t n = at / height, first = at % height;
        const Rows part = {first, std::min(first + rows.last - at, height)};
        work(n, part, at * line);
        at += part.last - part.first;
    }
}

// NHWC to NHWC; `rows` of the output.
void pool(const std::uint8_t* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch,
          std::uint8_t* out);

}  // namespace sigmabench
