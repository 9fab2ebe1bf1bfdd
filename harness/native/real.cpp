#include "real.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "normal.hpp"
#include "vectorize.hpp"

namespace sigmabench {
namespace {

// Bfloat16 values as integers in the same order; its own inverse.
inline std::int16_t key(std::int16_t bits) {
    return static_cast<std::int16_t>(bits ^ ((bits >> 15) & 0x7fff));
}

inline float to_float(float value) { return value; }
inline float to_float(std::int16_t bits) { return from_bfloat16(static_cast<std::uint16_t>(bits)); }
inline void put(float value, float* out) { *out = value; }
inline void put(float value, std::int16_t* out) {
    *out = static_cast<std::int16_t>(bfloat16_bits(value));
}

// Several channels' planes, which lie `plane` numbers apart, side by side: as many stores as there
// are channels, which vectorizes where their number is known.
template <std::int64_t channels, class T>
inline std::int32_t interleave_known(const float* x, std::int64_t pixels, std::int64_t plane,
                                     T* out) {
    std::int32_t largest = 0;
    for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t c = 0; c < channels; ++c) {
            largest = std::max(largest, magnitude(x[c * plane + p]));
            put(x[c * plane + p], out + p * channels + c);
        }
    }
    return largest;
}

template <class T>
inline std::int32_t interleave_any(const float* x, std::int64_t channels, std::int64_t pixels,
                                   std::int64_t plane, T* out) {
    if (channels == 1) return interleave_known<1>(x, pixels, plane, out);
    if (channels == 3) return interleave_known<3>(x, pixels, plane, out);
    std::int32_t largest = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t p = 0; p < pixels; ++p) {
            largest = std::max(largest, magnitude(x[c * plane + p]));
            put(x[c * plane + p], out + p * channels + c);
        }
    }
    return largest;
}

SIGMABENCH_VECTORIZE
std::int32_t interleave_f32(const float* x, std::int64_t channels, std::int64_t pixels,
                            std::int64_t plane, float* out) {
    return interleave_any(x, channels, pixels, plane, out);
}

SIGMABENCH_VECTORIZE
std::int32_t interleave_bf16(const float* x, std::int64_t channels, std::int64_t pixels,
                             std::int64_t plane, std::int16_t* out) {
    return interleave_any(x, channels, pixels, plane, out);
}

// Rows are maxima of keys, floats being their own.
SIGMABENCH_VECTORIZE
void first_row(const std::int16_t* x, std::int64_t size, std::int16_t* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = key(x[k]);
}
inline void first_row(const float* x, std::int64_t size, float* row) { std::copy_n(x, size, row); }

SIGMABENCH_VECTORIZE
void next_row(const std::int16_t* x, std::int64_t size, std::int16_t* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = std::max(row[k], key(x[k]));
}

SIGMABENCH_VECTORIZE
void max_row(const std::int16_t* x, std::int64_t size, std::int16_t* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = std::max(row[k], x[k]);
}

SIGMABENCH_VECTORIZE
void max_row(const float* x, std::int64_t size, float* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = std::max(row[k], x[k]);
}
inline void next_row(const float* x, std::int64_t size, float* row) { max_row(x, size, row); }

SIGMABENCH_VECTORIZE
void from_keys(std::int16_t* x, std::int64_t size) {
    for (std::int64_t k = 0; k < size; ++k) x[k] = key(x[k]);
}
inline void from_keys(float*, std::int64_t) {}

SIGMABENCH_VECTORIZE
void add_row(const float* x, std::int64_t size, float* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] += x[k];
}

SIGMABENCH_VECTORIZE
void add_row(const std::int16_t* x, std::int64_t size, float* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] += to_float(x[k]);
}

SIGMABENCH_VECTORIZE
void divide_row(const float* sums, float count, std::int64_t size, float* out) {
    for (std::int64_t k = 0; k < size; ++k) out[k] = sums[k] / count;
}

SIGMABENCH_VECTORIZE
void divide_row(const float* sums, float count, std::int64_t size, std::int16_t* out) {
    for (std::int64_t k = 0; k < size; ++k) put(sums[k] / count, out + k);
}

constexpr std::int64_t kNarrow = 16;  // channels below which whole rows are compared at once

// The maxima of a row's windows. `line` is the row with its padding, `spare` as long.
template <class T>
void max_windows(const T* line, std::int64_t size, const PoolSpec& spec, T* spare, T* out) {
    const std::int64_t channels = spec.in.channels, step = spec.stride[1] * channels;
    const std::int64_t apart = spec.dilation[1] * channels;
    const auto pixel = static_cast<std::size_t>(channels) * sizeof(T);
    if (channels < kNarrow) {
        const std::int64_t used = size - (spec.kernel[1] - 1) * apart;
        std::copy_n(line, used, spare);
        for (std::int64_t kw = 1; kw < spec.kernel[1]; ++kw) {
            max_row(line + kw * apart, used, spare);
        }
        for (std::int64_t ow = 0; ow < spec.out.width; ++ow) {
            std::memcpy(out + ow * channels, spare + ow * step, pixel);
        }
    } else {
        for (std::int64_t ow = 0; ow < spec.out.width; ++ow) {
            T* to = out + ow * channels;
            std::memcpy(to, line + ow * step, pixel);
            for (std::int64_t kw = 1; kw < spec.kernel[1]; ++kw) {
                max_row(line + ow * step + kw * apart, channels, to);
            }
        }
    }
    from_keys(out, spec.out.width * channels);
}

template <class T>
void max_pool(const T* x, Rows part, const PoolSpec& spec, std::int32_t* scratch, T* out) {
    const std::int64_t channels = spec.in.channels, row_size = spec.in.width * channels;
    const std::int64_t margin = spec.padding[1] * channels, line_size = spec.line();
    T* line = reinterpret_cast<T*>(scratch);
    const T least = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                         : std::numeric_limits<T>::lowest();
    std::fill_n(line, line_size, least);
    for (std::int64_t oh = part.first; oh < part.last; ++oh) {
        const Window w = spec.window(0, oh);
        first_row(x + w.first * row_size, row_size, line + margin);
        for (std::int64_t ih = w.first + w.step; ih < w.last; ih += w.step) {
            next_row(x + ih * row_size, row_size, line + margin);
        }
        max_windows(line, line_size, spec, line + line_size, out);
        out += spec.out.width * channels;
    }
}

template <class T>
void average_pool(const T* x, Rows part, const PoolSpec& spec, float* sums, T* out) {
    const std::int64_t channels = spec.in.channels, row_size = spec.in.width * channels;
    float* total = sums + row_size;
    for (std::int64_t oh = part.first; oh < part.last; ++oh) {
        const Window rows = spec.window(0, oh);
        std::fill_n(sums, row_size, 0.f);
        for (std::int64_t ih = rows.first; ih < rows.last; ++ih) {
            add_row(x + ih * row_size, row_size, sums);
        }
        for (std::int64_t ow = 0; ow < spec.out.width; ++ow, out += channels) {
            const Window w = spec.window(1, ow);
            std::copy_n(sums + w.first * channels, channels, total);
            for (std::int64_t iw = w.first + 1; iw < w.last; ++iw) {
                add_row(sums + iw * channels, channels, total);
            }
            const std::int64_t count = (rows.last - rows.first) * (w.last - w.first);
            divide_row(total, static_cast<float>(count), channels, out);
        }
    }
}

template <class T>
void pool_as(const T* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch, T* out) {
    for_each_image(rows, spec, [&](std::int64_t n, Rows part, std::int64_t at) {
        if (spec.maximum) {
            max_pool(x + n * spec.in.size(), part, spec, scratch, out + at);
        } else {
            average_pool(x + n * spec.in.size(), part, spec, reinterpret_cast<float*>(scratch),
                         out + at);
        }
    });
}

}  // namespace

std::int32_t convert_input(const float* x, Rows rows, const Image& image, Type type, void* out) {
    const std::int64_t width = image.width, height = image.height, line = width * image.channels;
    std::int32_t largest = 0;
    for (std::int64_t at = rows.first; at < rows.last; ++at) {
        const float* from = x + at / height * image.size() + at % height * width;
        const std::int32_t found =
            type == Type::bf16 ? interleave_bf16(from, image.channels, width, height * width,
                                                 static_cast<std::int16_t*>(out) + at * line)
                               : interleave_f32(from, image.channels, width, height * width,
                                                static_cast<float*>(out) + at * line);
        largest = std::max(largest, found);
    }
    return largest;
}

void pool_real(const void* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch, void* out) {
    if (spec.type == Type::bf16) {
        pool_as(static_cast<const std::int16_t*>(x), rows, spec, scratch,
                static_cast<std::int16_t*>(out));
    } else {
        pool_as(static_cast<const float*>(x), rows, spec, scratch, static_cast<float*>(out));
    }
}

}  // namespace sigmabench
