#include "elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "real.hpp"
#include "vectorize.hpp"

namespace sigmabench {
namespace {

SIGMABENCH_VECTORIZE
std::int32_t quantize_u8(const float* x, std::int64_t size, float scale, std::uint8_t* out) {
    std::int32_t largest = 0;
    for (std::int64_t k = 0; k < size; ++k) {
        largest = std::max(largest, magnitude(x[k]));
        float v = std::nearbyint(x[k] / scale);
        v = v > 0.f ? v : 0.f;  // not a number becomes 0, and is defined: it is refused after
        v = v < 255.f ? v : 255.f;
        out[k] = static_cast<std::uint8_t>(static_cast<std::int32_t>(v));
    }
    return largest;
}

SIGMABENCH_VECTORIZE
std::int32_t quantize_s8(const float* x, std::int64_t size, float scale, std::int8_t* out) {
    std::int32_t largest = 0;
    for (std::int64_t k = 0; k < size; ++k) {
        largest = std::max(largest, magnitude(x[k]));
        float v = std::nearbyint(x[k] / scale);
        v = v > -128.f ? v : -128.f;
        v = v < 127.f ? v : 127.f;
        out[k] = static_cast<std::int8_t>(static_cast<std::int32_t>(v));
    }
    return largest;
}

// Rows first: their maxima and sums run along memory, whatever the number of channels.
template <class T>
inline void max_row(const T* x, std::int64_t size, T* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] = std::max(row[k], x[k]);
}

SIGMABENCH_VECTORIZE
void max_row_u8(const std::uint8_t* x, std::int64_t size, std::uint8_t* row) {
    max_row(x, size, row);
}

SIGMABENCH_VECTORIZE
void max_row_s8(const std::int8_t* x, std::int64_t size, std::int8_t* row) {
    max_row(x, size, row);
}

SIGMABENCH_VECTORIZE
void add_row_u8(const std::uint8_t* x, std::int64_t size, std::int32_t* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] += x[k];
}

SIGMABENCH_VECTORIZE
void add_row_s8(const std::int8_t* x, std::int64_t size, std::int32_t* row) {
    for (std::int64_t k = 0; k < size; ++k) row[k] += x[k];
}

inline void max_row_of(const std::uint8_t* x, std::int64_t size, std::uint8_t* row) {
    max_row_u8(x, size, row);
}
inline void max_row_of(const std::int8_t* x, std::int64_t size, std::int8_t* row) {
    max_row_s8(x, size, row);
}
inline void add_row_of(const std::uint8_t* x, std::int64_t size, std::int32_t* row) {
    add_row_u8(x, size, row);
}
inline void add_row_of(const std::int8_t* x, std::int64_t size, std::int32_t* row) {
    add_row_s8(x, size, row);
}

// The maxima of a row's windows where pixels are wide enough to be vectors themselves.
template <class T>
void max_window(const T* row, const PoolSpec& spec, T* out) {
    const std::int64_t channels = spec.in.channels;
    for (std::int64_t ow = 0; ow < spec.out.width; ++ow, out += channels) {
        const Window w = spec.window(1, ow);
        std::memcpy(out, row + w.first * channels, static_cast<std::size_t>(channels));
        for (std::int64_t iw = w.first + w.step; iw < w.last; iw += w.step) {
            max_row_of(row + iw * channels, channels, out);
        }
    }
}

// The same where they are narrow: the maxima at every pixel along the padded row, then every
// stride-th of them. `line` starts with the row's padding and is followed by as much scratch.
constexpr std::int64_t kNarrow = 16;
template <class T>
void narrow_max_window(const T* line, std::int64_t size, const PoolSpec& spec, T* maxima, T* out) {
    const std::int64_t channels = spec.in.channels, step = spec.stride[1] * channels;
    const std::int64_t apart = spec.dilation[1] * channels;
    const std::int64_t used = size - (spec.kernel[1] - 1) * apart;
    std::memcpy(maxima, line, static_cast<std::size_t>(used));
    for (std::int64_t kw = 1; kw < spec.kernel[1]; ++kw) {
        max_row_of(line + kw * apart, used, maxima);
    }
    std::int64_t ow = 0;
    for (; ow < spec.out.width && (spec.out.width - ow) * channels >= kNarrow; ++ow) {
        std::memcpy(out, maxima, kNarrow);  // the surplus is overwritten by the next pixel
        out += channels;
        maxima += step;
    }
    for (; ow < spec.out.width; ++ow, out += channels, maxima += step) {
        std::memcpy(out, maxima, static_cast<std::size_t>(channels));
    }
}

template <class T>
void average_window(const std::int32_t* row, const PoolSpec& spec, std::int64_t rows, T* out) {
    const std::int64_t channels = spec.in.channels;
    for (std::int64_t ow = 0; ow < spec.out.width; ++ow, out += channels) {
        const Window w = spec.window(1, ow);
        const auto count = static_cast<float>(rows * (w.last - w.first));
        for (std::int64_t c = 0; c < channels; ++c) {
            std::int32_t sum = 0;
            for (std::int64_t iw = w.first; iw < w.last; ++iw) sum += row[iw * channels + c];
            out[c] = static_cast<T>(
                static_cast<std::int32_t>(std::nearbyint(static_cast<float>(sum) / count)));
        }
    }
}

template <class T>
void max_pool(const T* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch, T* out) {
    const std::int64_t channels = spec.in.channels, row_size = spec.in.width * channels;
    const std::int64_t margin = spec.padding[1] * channels, line_size = spec.line();
    T* line = reinterpret_cast<T*>(scratch);
    T* row = line + margin;
    std::fill_n(line, line_size, std::numeric_limits<T>::lowest());
    for (std::int64_t oh = rows.first; oh < rows.last; ++oh) {
        const Window w = spec.window(0, oh);
        std::memcpy(row, x + w.first * row_size, static_cast<std::size_t>(row_size));
        for (std::int64_t ih = w.first + w.step; ih < w.last; ih += w.step) {
            max_row_of(x + ih * row_size, row_size, row);
        }
        if (channels < kNarrow) {
            narrow_max_window(line, line_size, spec, line + line_size, out);
        } else {
            max_window(row, spec, out);
        }
        out += spec.out.width * channels;
    }
}

template <class T>
void average_pool(const T* x, Rows rows, const PoolSpec& spec, std::int32_t* sums, T* out) {
    const std::int64_t row_size = spec.in.width * spec.in.channels;
    for (std::int64_t oh = rows.first; oh < rows.last; ++oh) {
        const Window w = spec.window(0, oh);
        std::fill_n(sums, row_size, 0);
        for (std::int64_t ih = w.first; ih < w.last; ++ih) {
            add_row_of(x + ih * row_size, row_size, sums);
        }
        average_window(sums, spec, w.last - w.first, out);
        out += spec.out.width * spec.out.channels;
    }
}

template <class T>
void pool_as(const T* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch, T* out) {
    for_each_image(rows, spec, [&](std::int64_t n, Rows part, std::int64_t at) {
        if (spec.maximum) {
            max_pool(x + n * spec.in.size(), part, spec, scratch, out + at);
        } else {
            average_pool(x + n * spec.in.size(), part, spec, scratch, out + at);
        }
    });
}

// Of colour images. (Clang clones no template for another instruction set.)
SIGMABENCH_VECTORIZE
void interleave_three(const std::uint8_t* planes, std::int64_t pixels, std::uint8_t* out) {
    for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t c = 0; c < 3; ++c) out[p * 3 + c] = planes[c * pixels + p];
    }
}

}  // namespace

void interleave(const std::uint8_t* planes, const Image& image, std::uint8_t* out) {
    const std::int64_t pixels = image.height * image.width;
    if (image.channels == 3) return interleave_three(planes, pixels, out);
    for (std::int64_t c = 0; c < image.channels; ++c) {
        for (std::int64_t p = 0; p < pixels; ++p) {
            out[p * image.channels + c] = planes[c * pixels + p];
        }
    }
}

namespace {

// Row `at` of a batch, as interleaved integers. `planes` is scratch of a row.
std::int32_t quantize_row(const float* x, std::int64_t at, const Image& image, float scale,
                          Type type, std::uint8_t* planes, std::uint8_t* out) {
    const std::int64_t width = image.width, n = at / image.height, h = at % image.height;
    std::int32_t largest = 0;
    for (std::int64_t c = 0; c < image.channels; ++c) {
        const float* from = x + n * image.size() + (c * image.height + h) * width;
        std::uint8_t* to = image.channels == 1 ? out : planes + c * width;
        const std::int32_t found =
            type == Type::u8 ? quantize_u8(from, width, scale, to)
                             : quantize_s8(from, width, scale, reinterpret_cast<std::int8_t*>(to));
        largest = std::max(largest, found);
    }
    if (image.channels > 1) interleave(planes, {image.channels, 1, width}, out);
    return largest;
}

// From a padded row, the bytes under the kernel at every output column.
void unfold_row(const std::uint8_t* row, const Folding& f, std::uint8_t* out) {
    const std::int64_t channels = f.image.channels, step = f.stride * channels;
    for (std::int64_t ow = 0; ow < f.out_width; ++ow, row += step, out += f.folded) {
        if (f.dilation > 1) {
            for (std::int64_t k = 0; k < f.columns; ++k) {
                std::memcpy(out + k * channels, row + k * f.dilation * channels,
                            static_cast<std::size_t>(channels));
            }
        } else if (f.folded == 16) {
            std::memcpy(out, row, 16);  // one move, where a call would cost more than it does
        } else if (f.folded == 32) {
            std::memcpy(out, row, 32);
        } else {
            std::memcpy(out, row, static_cast<std::size_t>(f.folded));
        }
    }
}

}  // namespace

std::int32_t quantize_input(const float* x, Rows rows, const Image& image, float scale, Type type,
                            std::uint8_t* scratch, std::uint8_t* out) {
    std::int32_t largest = 0;
    for (std::int64_t at = rows.first; at < rows.last; ++at) {
        largest = std::max(largest, quantize_row(x, at, image, scale, type, scratch,
                                                 out + at * image.width * image.channels));
    }
    return largest;
}

std::int32_t fold_input(const float* x, Rows rows, const Folding& f, float scale, Type type,
                        std::uint8_t* scratch, std::uint8_t* out) {
    std::int32_t largest = 0;
    std::uint8_t* planes = scratch + f.row_bytes();
    std::memset(scratch, 0, f.row_bytes());
    for (std::int64_t at = rows.first; at < rows.last; ++at) {
        largest = std::max(largest, quantize_row(x, at, f.image, scale, type, planes,
                                                 scratch + f.padding * f.image.channels));
        unfold_row(scratch, f, out + at * f.out_width * f.folded);
    }
    return largest;
}

void fold_columns(const std::uint8_t* x, Rows rows, const Folding& f, std::uint8_t* scratch,
                  std::uint8_t* out) {
    const std::int64_t line = f.image.width * f.image.channels;
    std::memset(scratch, 0, f.row_bytes());
    for (std::int64_t at = rows.first; at < rows.last; ++at) {
        std::memcpy(scratch + f.padding * f.image.channels, x + at * line,
                    static_cast<std::size_t>(line));
        unfold_row(scratch, f, out + at * f.out_width * f.folded);
    }
}

void pool(const std::uint8_t* x, Rows rows, const PoolSpec& spec, std::int32_t* scratch,
          std::uint8_t* out) {
    if (is_real(spec.type)) {
        pool_real(x, rows, spec, scratch, out);
    } else if (spec.type == Type::u8) {
        pool_as(x, rows, spec, scratch, out);
    } else {
        pool_as(reinterpret_cast<const std::int8_t*>(x), rows, spec, scratch,
                reinterpret_cast<std::int8_t*>(out));
    }
}

}  // namespace sigmabench
