// The exact engine: plain loops over NHWC with int32 sums, for CPUs whose int8 instructions
// saturate, and as the oracle of the others.
#include <algorithm>
#include <cmath>

#include "conv.hpp"
#include "vectorize.hpp"

namespace sigmabench {
namespace {

// sums[o] += x * w[o]: the outputs of a group side by side, so that this is what vectorizes.
SIGMABENCH_VECTORIZE
void multiply_add(const std::int8_t* weights, std::int32_t x, std::int64_t outputs,
                  std::int32_t* sums) {
    for (std::int64_t o = 0; o < outputs; ++o) sums[o] += x * weights[o];
}

std::int32_t element(const std::uint8_t* x, Type type, std::int64_t at) {
    return type == Type::u8 ? x[at] : static_cast<std::int8_t>(x[at]);
}

class PortableBound final : public BoundConv {
 public:
    PortableBound(const ConvSpec& spec, const std::uint8_t* src)
        : spec_(spec), src_(src), sums_(static_cast<std::size_t>(spec.out_channels)) {}

    void run(const void* buffer, const float* bias, void* dst) override {
        const auto* weights = static_cast<const std::int8_t*>(buffer);
        std::int64_t pixel = 0;
        for (std::int64_t n = 0; n < spec_.batch; ++n) {
            for (std::int64_t oh = 0; oh < spec_.out_height; ++oh) {
                for (std::int64_t ow = 0; ow < spec_.out_width; ++ow, ++pixel) {
                    accumulate(weights, n, oh, ow);
                    store(bias, pixel * spec_.out_channels, dst);
                }
            }
        }
    }

 private:
    void accumulate(const std::int8_t* weights, std::int64_t n, std::int64_t oh, std::int64_t ow) {
        const ConvSpec& s = spec_;
        const std::int64_t inputs = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
        std::fill(sums_.begin(), sums_.end(), 0);
        for (std::int64_t kh = 0; kh < s.kernel[0]; ++kh) {
            const std::int64_t ih = oh * s.stride[0] - s.padding[0] + kh * s.dilation[0];
            if (ih < 0 || ih >= s.in_height) continue;
            for (std::int64_t kw = 0; kw < s.kernel[1]; ++kw) {
                const std::int64_t iw = ow * s.stride[1] - s.padding[1] + kw * s.dilation[1];
                if (iw < 0 || iw >= s.in_width) continue;
                const std::int64_t at = ((n * s.in_height + ih) * s.in_width + iw) * s.in_channels;
                for (std::int64_t g = 0; g < s.groups; ++g) {
                    for (std::int64_t i = 0; i < inputs; ++i) {
                        const std::int64_t row =
                            ((g * s.kernel[0] + kh) * s.kernel[1] + kw) * inputs + i;
                        multiply_add(weights + row * outputs,
                                     element(src_, s.src, at + g * inputs + i), outputs,
                                     sums_.data() + g * outputs);
                    }
                }
            }
        }
    }

    void store(const float* bias, std::int64_t at, void* dst) const {
        for (std::int64_t o = 0; o < spec_.out_channels; ++o, ++at) {
            const auto channel = static_cast<std::size_t>(o);
            if (spec_.dst == Type::s32) {
                static_cast<std::int32_t*>(dst)[at] = sums_[channel];
                continue;
            }
            float v = static_cast<float>(sums_[channel]) * spec_.scales[channel];
            v += bias[o];
            if (spec_.has_residual) {
                v += static_cast<float>(
                         element(static_cast<const std::uint8_t*>(dst), spec_.residual, at)) *
                     spec_.residual_scale;
            }
            if (spec_.relu) v = std::max(v, 0.f);
            put(v, at, dst);
        }
    }

    void put(float v, std::int64_t at, void* dst) const {
        if (spec_.dst == Type::f32) {
            static_cast<float*>(dst)[at] = v;
            return;
        }
        const bool is_signed = spec_.dst == Type::s8;
        const float low = is_signed ? -128.f : 0.f, high = is_signed ? 127.f : 255.f;
        v = std::nearbyint(v / spec_.dst_scale);
        v = v > low ? v : low;  // not a number becomes the lowest, and is defined
        v = v < high ? v : high;
        static_cast<std::uint8_t*>(dst)[at] =
            static_cast<std::uint8_t>(static_cast<std::int32_t>(v));
    }

    const ConvSpec& spec_;
    const std::uint8_t* src_;
    std::vector<std::int32_t> sums_;
};

class PortableConv final : public ConvKernel {
 public:
    PortableConv(const ConvSpec& spec, const Geometry& geometry)
        : spec_(spec), geometry_(geometry) {}

    std::string layout_key() const override { return "portable"; }
    // Weights as [group][kh][kw][input of the group][output of the group].
    WeightLayout layout() const override {
        const std::int64_t inputs = spec_.in_channels / spec_.groups;
        const std::int64_t outputs = spec_.out_channels / spec_.groups;
        const std::int64_t area = spec_.kernel[0] * spec_.kernel[1];
        WeightLayout layout;
        layout.bytes = static_cast<std::size_t>(spec_.weights());
        layout.origin.assign(layout.bytes, -1);
        for_each_weight(spec_, geometry_, [&](std::int64_t canonical, std::int64_t at) {
            const std::int64_t o = at / (inputs * area), i = at / area % inputs, k = at % area;
            const std::int64_t row = (o / outputs * area + k) * inputs + i;
            layout.origin[static_cast<std::size_t>(row * outputs + o % outputs)] =
                static_cast<std::int32_t>(canonical);
        });
        layout.packed = layout.origin;
        return layout;
    }
    std::string implementation() const override { return "sigmabench:portable"; }
    std::unique_ptr<ConvKernel> again(const ConvSpec& spec, const Geometry& g) const override {
        return make_portable_conv(spec, g);
    }
    std::size_t scratchpad_bytes() const override { return 0; }
    std::int64_t multiply_adds() const override { return spec_.pixels() * spec_.weights(); }
    std::unique_ptr<BoundConv> bind(void* src, void*) const override {
        return std::make_unique<PortableBound>(spec_, static_cast<const std::uint8_t*>(src));
    }

 private:
    ConvSpec spec_;
    Geometry geometry_;
};

}  // namespace

std::unique_ptr<ConvKernel> make_portable_conv(const ConvSpec& spec, const Geometry& geometry) {
    return std::make_unique<PortableConv>(spec, geometry);
}

}  // namespace sigmabench
