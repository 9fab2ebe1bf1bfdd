// A 1x1 convolution without stride is one product of matrices: pixels by channels. oneDNN spends
// more time on what follows the sums than on the sums where channels are few; this kernel
// multiplies two by two tiles, folds the destination's scale into the others and stores four
// registers at a time. Its weights lie in the order of the noise stream, so that sampling is linear
// in both.
#include "amx.hpp"
#include "conv.hpp"

#ifdef SIGMABENCH_HAS_AMX

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#define SIGMABENCH_AMX \
    __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl")))
#define SIGMABENCH_AMX_INLINE SIGMABENCH_AMX inline __attribute__((always_inline))

namespace sigmabench {
namespace {

constexpr std::int64_t kTile = kTileRows, kDepth = kTileBytes;
constexpr std::int64_t kPanel = 32;   // pixels, and outputs, that four tiles of sums hold
constexpr std::size_t kNear = 24576;  // bytes of source that stay near while the outputs go by

struct Constants {  // of y = sum * scale + bias + residual * residual_scale, in units of dst
    const float *scale, *bias;
    float residual_scale;
};

struct Shape {
    std::int64_t pixels, inputs, outputs;
    Type src, dst, residual;
    bool relu, has_residual;
};

// Sums of 16 outputs of a pixel to integers; `old` is the residual, in place of which they go.
template <bool relu, bool has_residual>
SIGMABENCH_AMX_INLINE void finish(const std::int32_t* sums, __m512 scale, __m512 bias,
                                  __m512 residual_scale, Type residual, Type dst,
                                  std::uint8_t* out) {
    __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale, bias);
    if constexpr (has_residual) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(out));
        const __m512i old =
            residual == Type::u8 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes);
        y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(old), residual_scale, y);
    }
    const bool positive = dst == Type::u8;
    if (relu || positive) y = _mm512_max_ps(y, _mm512_setzero_ps());
    // Beyond int32 the conversion yields its lowest number.
    y = _mm512_min_ps(y, _mm512_set1_ps(1e6f));
    if (!positive) y = _mm512_max_ps(y, _mm512_set1_ps(-1e6f));
    const __m512i whole = _mm512_cvtps_epi32(y);
    const __m128i bytes = positive ? _mm512_cvtusepi32_epi8(whole) : _mm512_cvtsepi32_epi8(whole);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}

template <bool relu, bool has_residual>
SIGMABENCH_AMX_INLINE void finish_panel(const Shape& s, const Constants& c, std::int64_t rows,
                                        const std::int32_t* sums, std::uint8_t* out) {
    const __m512 residual_scale = _mm512_set1_ps(c.residual_scale);
    const __m512 scale[2] = {_mm512_loadu_ps(c.scale), _mm512_loadu_ps(c.scale + kTile)};
    const __m512 bias[2] = {_mm512_loadu_ps(c.bias), _mm512_loadu_ps(c.bias + kTile)};
    for (std::int64_t row = 0; row < rows; ++row, sums += kPanel, out += s.outputs) {
        finish<relu, has_residual>(sums, scale[0], bias[0], residual_scale, s.residual, s.dst, out);
        finish<relu, has_residual>(sums + kTile, scale[1], bias[1], residual_scale, s.residual,
                                   s.dst, out + kTile);
    }
}

template <bool is_signed>
SIGMABENCH_AMX_INLINE void multiply(const Shape& s, const std::uint8_t* src,
                                    const std::int8_t* weights, std::int32_t* sums) {
    const std::int64_t panel = s.inputs * kTile;  // weights of 16 outputs
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (std::int64_t k = 0; k < s.inputs; k += kDepth) {
        _tile_loadd(4, src + k, s.inputs);
        _tile_loadd(6, weights + k * kTile, kDepth);
        _tile_loadd(7, weights + panel + k * kTile, kDepth);
        _tile_loadd(5, src + kTile * s.inputs + k, s.inputs);
        if constexpr (is_signed) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        } else {
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
    }
    constexpr std::int64_t line = kPanel * 4;
    _tile_stored(0, sums, line);
    _tile_stored(1, sums + kTile, line);
    _tile_stored(2, sums + kTile * kPanel, line);
    _tile_stored(3, sums + kTile * kPanel + kTile, line);
}

template <bool is_signed, bool relu, bool has_residual>
SIGMABENCH_AMX void convolve(const Shape& s, const Constants& c, const std::uint8_t* src,
                             const std::int8_t* weights, std::uint8_t* dst) {
    const TileConfig config;
    _tile_loadconfig(&config);
    alignas(64) std::int32_t sums[kPanel * kPanel];
    const std::int64_t near = std::max<std::int64_t>(
        static_cast<std::int64_t>(kNear) / s.inputs / kPanel * kPanel, kPanel);
    for (std::int64_t block = 0; block < s.pixels; block += near) {
        const std::int64_t end = std::min(block + near, s.pixels);
        for (std::int64_t o = 0; o < s.outputs; o += kPanel) {
            const Constants mine = {c.scale + o, c.bias + o, c.residual_scale};
            for (std::int64_t pixel = block; pixel < end; pixel += kPanel) {
                // The last panel begins early: its first pixels are computed, and not stored,
                // twice.
                const std::int64_t from = std::min(pixel, s.pixels - kPanel);
                multiply<is_signed>(s, src + from * s.inputs, weights + o * s.inputs, sums);
                const std::int64_t skipped = pixel - from;
                const std::int64_t rows = std::min(pixel + kPanel, end) - pixel;
                finish_panel<relu, has_residual>(s, mine, rows, sums + skipped * kPanel,
                                                 dst + pixel * s.outputs + o);
            }
        }
    }
    _tile_release();
}

using Convolve = void (*)(const Shape&, const Constants&, const std::uint8_t*, const std::int8_t*,
                          std::uint8_t*);

Convolve convolve_of(const Shape& s) {
    static constexpr Convolve all[2][2][2] = {
        {{convolve<false, false, false>, convolve<false, false, true>},
         {convolve<false, true, false>, convolve<false, true, true>}},
        {{convolve<true, false, false>, convolve<true, false, true>},
         {convolve<true, true, false>, convolve<true, true, true>}}};
    return all[s.src == Type::s8][s.relu][s.has_residual];
}

class AmxBound final : public BoundConv {
 public:
    AmxBound(const Shape& shape, const float* scales, float inverse, float residual_scale,
             const std::uint8_t* src)
        : shape_(shape),
          convolve_(convolve_of(shape)),
          scales_(scales),
          inverse_(inverse),
          residual_scale_(residual_scale),
          src_(src),
          bias_(static_cast<std::size_t>(shape.outputs)) {}

    void run(const void* weights, const float* bias, void* dst) override {
        for (std::size_t c = 0; c < bias_.size(); ++c) bias_[c] = bias[c] * inverse_;
        const Constants constants = {scales_, bias_.data(), residual_scale_};
        convolve_(shape_, constants, src_, static_cast<const std::int8_t*>(weights),
                  static_cast<std::uint8_t*>(dst));
    }

 private:
    Shape shape_;
    Convolve convolve_;
    const float* scales_;
    float inverse_, residual_scale_;
    const std::uint8_t* src_;
    AlignedBuffer<float> bias_;
};

class AmxConv final : public ConvKernel {
 public:
    AmxConv(const ConvSpec& spec, const Geometry& geometry)
        : geometry_(geometry),
          shape_{spec.batch * spec.out_height * spec.out_width,
                 spec.in_channels,
                 spec.out_channels,
                 spec.src,
                 spec.dst,
                 spec.residual,
                 spec.relu,
                 spec.has_residual},
          scales_(spec.scales.size()),
          inverse_(1.f / spec.dst_scale),
          residual_scale_(spec.residual_scale * inverse_) {
        for (std::size_t c = 0; c < scales_.size(); ++c) scales_[c] = spec.scales[c] * inverse_;
    }

    std::string layout_key() const override { return "canonical"; }
    WeightLayout layout() const override {
        WeightLayout layout;
        layout.path = WeightPath::direct;
        layout.origin = layout.packed = canonical_origin(geometry_);
        layout.bytes = layout.origin.size();
        return layout;
    }
    std::string implementation() const override { return "sigmabench:avx512_core_amx"; }
    std::size_t scratchpad_bytes() const override { return 0; }
    std::int64_t multiply_adds() const override {
        return (shape_.pixels + kPanel - 1) / kPanel * kPanel * shape_.inputs * shape_.outputs;
    }
    std::unique_ptr<ConvKernel> again(const ConvSpec& spec, const Geometry& g) const override {
        return make_amx_conv(spec, g);
    }
    std::unique_ptr<BoundConv> bind(void* src, void*) const override {
        return std::make_unique<AmxBound>(shape_, scales_.data(), inverse_, residual_scale_,
                                          static_cast<const std::uint8_t*>(src));
    }

 private:
    Geometry geometry_;
    Shape shape_;
    AlignedBuffer<float> scales_;
    float inverse_, residual_scale_;
};

}  // namespace

std::unique_ptr<ConvKernel> make_amx_conv(const ConvSpec& spec, const Geometry& geometry) {
    const bool product = spec.groups == 1 && spec.kernel[0] == 1 && spec.kernel[1] == 1 &&
                         spec.stride[0] == 1 && spec.stride[1] == 1 && spec.padding[0] == 0 &&
                         spec.padding[1] == 0 && spec.out_height == spec.in_height &&
                         spec.out_width == spec.in_width;
    const bool fits = spec.in_channels % kDepth == 0 && spec.out_channels % kPanel == 0 &&
                      spec.out_height * spec.out_width >= kPanel;  // whatever the batch
    const bool integers = spec.dst == Type::u8 || spec.dst == Type::s8;
    if (!product || !fits || !integers) return nullptr;
    if (onednn_isa().find("amx") == std::string::npos || !tiles_allowed()) return nullptr;
    return std::make_unique<AmxConv>(spec, geometry);
}

}  // namespace sigmabench

#else

namespace sigmabench {

std::unique_ptr<ConvKernel> make_amx_conv(const ConvSpec&, const Geometry&) { return nullptr; }

}  // namespace sigmabench

#endif
