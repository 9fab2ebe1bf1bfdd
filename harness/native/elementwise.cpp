#include "elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vectorize.hpp"

namespace sigmabench {
namespace {

SIGMABENCH_VECTORIZE
void quantize_u8(const float* x, std::int64_t size, float scale, std::uint8_t* out) {
    for (std::int64_t k = 0; k < size; ++k) {
        float v = std::nearbyint(x[k] / scale);
        v = v > 0.f ? v : 0.f;  // not a number becomes 0, and is defined
        v = v < 255.f ? v : 255.f;
        out[k] = static_cast<std::uint8_t>(static_cast<std::int32_t>(v));
    }
}

SIGMABENCH_VECTORIZE
void quantize_s8(const float* x, std::int64_t size, float scale, std::int8_t* out) {
    for (std::int64_t k = 0; k < size; ++k) {
        float v = std::nearbyint(x[k] / scale);
        v = v > -128.f ? v : -128.f;
        v = v < 127.f ? v : 127.f;
        out[k] = static_cast<std::int8_t>(static_cast<std::int32_t>(v));
    }
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

struct Window {
    std::int64_t first, last;  // [first, last) inside the map
};

Window window(std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
              std::int64_t size) {
    const std::int64_t first = out * stride - padding;
    return {std::max<std::int64_t>(first, 0), std::min(first + kernel, size)};
}

template <class T>
void max_window(const T* row, const PoolSpec& spec, T* out) {
    const std::int64_t channels = spec.in.channels;
    for (std::int64_t ow = 0; ow < spec.out.width; ++ow, out += channels) {
        const Window w =
            window(ow, spec.kernel[1], spec.stride[1], spec.padding[1], spec.in.width);
        std::memcpy(out, row + w.first * channels, static_cast<std::size_t>(channels));
        for (std::int64_t iw = w.first + 1; iw < w.last; ++iw) {
            if (channels >= 16) {
                max_row_of(row + iw * channels, channels, out);
            } else {
                max_row(row + iw * channels, channels, out);
            }
        }
    }
}

template <class T>
void average_window(const std::int32_t* row, const PoolSpec& spec, std::int64_t rows, T* out) {
    const std::int64_t channels = spec.in.channels;
    for (std::int64_t ow = 0; ow < spec.out.width; ++ow, out += channels) {
        const Window w =
            window(ow, spec.kernel[1], spec.stride[1], spec.padding[1], spec.in.width);
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
void pool_as(const T* x, std::int64_t batch, const PoolSpec& spec, std::int32_t* scratch, T* out) {
    const std::int64_t stride = spec.in.width * spec.in.channels;
    for (std::int64_t n = 0; n < batch; ++n, x += spec.in.size()) {
        for (std::int64_t oh = 0; oh < spec.out.height; ++oh) {
            const Window w =
                window(oh, spec.kernel[0], spec.stride[0], spec.padding[0], spec.in.height);
            if (spec.maximum) {
                T* row = reinterpret_cast<T*>(scratch);
                std::memcpy(row, x + w.first * stride, static_cast<std::size_t>(stride));
                for (std::int64_t ih = w.first + 1; ih < w.last; ++ih) {
                    max_row_of(x + ih * stride, stride, row);
                }
                max_window(row, spec, out);
            } else {
                std::fill_n(scratch, stride, 0);
                for (std::int64_t ih = w.first; ih < w.last; ++ih) {
                    add_row_of(x + ih * stride, stride, scratch);
                }
                average_window(scratch, spec, w.last - w.first, out);
            }
            out += spec.out.width * spec.out.channels;
        }
    }
}

}  // namespace

void interleave(const std::uint8_t* planes, const Image& image, std::uint8_t* out) {
    const std::int64_t pixels = image.height * image.width;
    for (std::int64_t c = 0; c < image.channels; ++c) {
        for (std::int64_t p = 0; p < pixels; ++p) {
            out[p * image.channels + c] = planes[c * pixels + p];
        }
    }
}

void quantize_input(const float* x, std::int64_t batch, const Image& image, float scale, Type type,
                    std::uint8_t* planes, std::uint8_t* out) {
    for (std::int64_t n = 0; n < batch; ++n, x += image.size(), out += image.size()) {
        std::uint8_t* to = image.channels == 1 ? out : planes;
        if (type == Type::u8) {
            quantize_u8(x, image.size(), scale, to);
        } else {
            quantize_s8(x, image.size(), scale, reinterpret_cast<std::int8_t*>(to));
        }
        if (image.channels > 1) interleave(planes, image, out);
    }
}

void fold_columns(const std::uint8_t* x, std::int64_t batch, const Folding& f, std::uint8_t* row,
                  std::uint8_t* out) {
    const std::int64_t channels = f.image.channels, line = f.image.width * channels;
    const std::int64_t step = f.stride * channels;
    std::memset(row, 0, f.row_bytes());
    for (std::int64_t r = 0; r < batch * f.image.height; ++r, x += line) {
        std::memcpy(row + f.padding * channels, x, static_cast<std::size_t>(line));
        const std::uint8_t* from = row;
        for (std::int64_t ow = 0; ow < f.out_width; ++ow, from += step, out += f.folded) {
            if (f.dilation > 1) {
                for (std::int64_t k = 0; k < f.columns; ++k) {
                    std::memcpy(out + k * channels, from + k * f.dilation * channels,
                                static_cast<std::size_t>(channels));
                }
            } else if (f.folded == 8) {
                std::memcpy(out, from, 8);  // one move, where a call would cost more than it does
            } else {
                std::memcpy(out, from, static_cast<std::size_t>(f.folded));
            }
        }
    }
}

void pool(const std::uint8_t* x, std::int64_t batch, const PoolSpec& spec, std::int32_t* row,
          std::uint8_t* out) {
    if (spec.type == Type::u8) {
        pool_as(x, batch, spec, row, out);
    } else {
        pool_as(reinterpret_cast<const std::int8_t*>(x), batch, spec, row,
                reinterpret_cast<std::int8_t*>(out));
    }
}

}  // namespace sigmabench
