#include "group_norm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "vectorize.hpp"

namespace sigmabench {
namespace {

constexpr std::int64_t kPixels = 32768;  // whose squares, of up to 255^2, int32 holds

// Sums over pixels, by channel.
template <class T>
inline void add_pixels(const T* x, std::int64_t pixels, std::int64_t channels, std::int32_t* sums,
                       std::int32_t* squares) {
    for (std::int64_t p = 0; p < pixels; ++p, x += channels) {
        for (std::int64_t c = 0; c < channels; ++c) {
            const std::int32_t q = x[c];
            sums[c] += q;
            squares[c] += q * q;
        }
    }
}

SIGMABENCH_VECTORIZE
void add_pixels_u8(const std::uint8_t* x, std::int64_t pixels, std::int64_t channels,
                   std::int32_t* sums, std::int32_t* squares) {
    add_pixels(x, pixels, channels, sums, squares);
}

SIGMABENCH_VECTORIZE
void add_pixels_s8(const std::int8_t* x, std::int64_t pixels, std::int64_t channels,
                   std::int32_t* sums, std::int32_t* squares) {
    add_pixels(x, pixels, channels, sums, squares);
}

// All differences are below 2^31: n is at most 2^31 / 255.
template <class T>
inline void normalise(const T* x, std::int64_t pixels, std::int64_t channels, std::int32_t n,
                      const std::int32_t* sums, const float* factors, std::int8_t* out) {
    for (std::int64_t p = 0; p < pixels; ++p, x += channels, out += channels) {
        for (std::int64_t c = 0; c < channels; ++c) {
            const std::int32_t deviation = n * x[c] - sums[c];
            float v = std::nearbyint(static_cast<float>(deviation) * factors[c]);
            v = v > -128.f ? v : -128.f;
            v = v < 127.f ? v : 127.f;
            out[c] = static_cast<std::int8_t>(static_cast<std::int32_t>(v));
        }
    }
}

SIGMABENCH_VECTORIZE
void normalise_u8(const std::uint8_t* x, std::int64_t pixels, std::int64_t channels, std::int32_t n,
                  const std::int32_t* sums, const float* factors, std::int8_t* out) {
    normalise(x, pixels, channels, n, sums, factors, out);
}

SIGMABENCH_VECTORIZE
void normalise_s8(const std::int8_t* x, std::int64_t pixels, std::int64_t channels, std::int32_t n,
                  const std::int32_t* sums, const float* factors, std::int8_t* out) {
    normalise(x, pixels, channels, n, sums, factors, out);
}

// Sums of an image, by group, 64 bits each; `sums` and `squares` are scratch of the channels.
void add_image(const std::uint8_t* x, const GroupNormSpec& spec, std::int32_t* sums,
               std::int32_t* squares, std::int64_t* totals, std::int64_t* squared) {
    const std::int64_t channels = spec.image.channels, each = channels / spec.groups;
    const std::int64_t pixels = spec.image.height * spec.image.width;
    std::fill_n(totals, spec.groups, 0);
    std::fill_n(squared, spec.groups, 0);
    for (std::int64_t p = 0; p < pixels; p += kPixels) {
        const std::int64_t some = std::min(kPixels, pixels - p);
        const std::uint8_t* from = x + p * channels;
        std::fill_n(sums, channels, 0);
        std::fill_n(squares, channels, 0);
        if (spec.type == Type::u8) {
            add_pixels_u8(from, some, channels, sums, squares);
        } else {
            add_pixels_s8(reinterpret_cast<const std::int8_t*>(from), some, channels, sums,
                          squares);
        }
        for (std::int64_t c = 0; c < channels; ++c) {
            totals[c / each] += sums[c];
            squared[c / each] += squares[c];
        }
    }
}

// f of a group of n integers.
float factor(const GroupNormSpec& spec, std::int64_t n, std::int64_t total, std::int64_t squared) {
    const double scale = spec.scale, count = static_cast<double>(n);
    const double spread = static_cast<double>(n * squared - total * total);
    const double root = std::sqrt(scale * scale * spread + spec.eps * count * count);
    const double most = std::numeric_limits<float>::max();
    return static_cast<float>(std::min(scale / (root * spec.out_scale), most));
}

}  // namespace

void group_norm(const std::uint8_t* x, Rows rows, const GroupNormSpec& spec, std::int32_t* scratch,
                std::uint8_t* out) {
    const std::int64_t channels = spec.image.channels, each = channels / spec.groups;
    const std::int64_t height = spec.image.height, line = spec.image.width * channels;
    const std::int64_t n = spec.image.size() / spec.groups;
    auto* totals = reinterpret_cast<std::int64_t*>(scratch);
    std::int64_t* squared = totals + spec.groups;
    auto* sums = reinterpret_cast<std::int32_t*>(squared + spec.groups);
    std::int32_t *squares = sums + channels, *of_group = squares + channels;
    auto* factors = reinterpret_cast<float*>(of_group + channels);
    for (std::int64_t at = rows.first; at < rows.last;) {
        const std::int64_t image = at / height, end = std::min((image + 1) * height, rows.last);
        add_image(x + image * spec.image.size(), spec, sums, squares, totals, squared);
        for (std::int64_t g = 0; g < spec.groups; ++g) {
            std::fill_n(of_group + g * each, each, static_cast<std::int32_t>(totals[g]));
            std::fill_n(factors + g * each, each, factor(spec, n, totals[g], squared[g]));
        }
        const std::uint8_t* from = x + at * line;
        auto* to = reinterpret_cast<std::int8_t*>(out) + at * line;
        const std::int64_t pixels = (end - at) * spec.image.width;
        if (spec.type == Type::u8) {
            normalise_u8(from, pixels, channels, static_cast<std::int32_t>(n), of_group, factors,
                         to);
        } else {
            normalise_s8(reinterpret_cast<const std::int8_t*>(from), pixels, channels,
                         static_cast<std::int32_t>(n), of_group, factors, to);
        }
        at = end;
    }
}

}  // namespace sigmabench
