// One convolution or linear layer at one batch size: what is computed, and who can compute it.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "normal.hpp"
#include "sampler.hpp"

namespace sigmabench {

enum class Type { u8, s8, s32, f32, bf16 };
inline std::size_t type_bytes(Type type) {
    return type == Type::u8 || type == Type::s8 ? 1 : type == Type::bf16 ? 2 : 4;
}
inline bool is_real(Type type) { return type == Type::f32 || type == Type::bf16; }

// y = relu(conv(x, w) * scales[c] + bias[c] + residual * residual_scale), then divided by dst_scale
// and saturated where dst is an integer. Activations are NHWC; a residual lies in dst beforehand.
// dst == s32: the bare accumulators, neither scaled nor biased. Where src is real, so are weights,
// residual and dst, nothing is scaled, and the ReLU ends at `ceiling`.
struct ConvSpec {
    std::int64_t batch = 1, groups = 1;
    std::int64_t in_channels = 0, in_height = 0, in_width = 0;
    std::int64_t out_channels = 0, out_height = 0, out_width = 0;
    std::int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
    Type src = Type::u8, dst = Type::u8;
    bool relu = false;
    float ceiling = std::numeric_limits<float>::infinity();
    bool has_residual = false;
    Type residual = Type::u8;
    float residual_scale = 0, dst_scale = 1;
    std::vector<float> scales;
    // Element of the plain weight tensor (out, in per group, kh, kw of this spec) that holds the
    // logical weight (o, i, h, w): the sum of index times step. A first layer's specification may
    // have the kernel's columns folded into its channels.
    std::int64_t weight_steps[4] = {0, 0, 0, 0};

    bool linear() const {  // the kernel covers its input
        return groups == 1 && out_height == 1 && out_width == 1 && padding[0] == 0 &&
               padding[1] == 0 && kernel[0] == in_height && kernel[1] == in_width;
    }
    std::int64_t weights() const {
        return out_channels * (in_channels / groups) * kernel[0] * kernel[1];
    }
    std::int64_t pixels() const { return batch * out_height * out_width; }  // of the output
};

enum class WeightPath { direct, gather, reorder };

// How a kernel wants its weights.
struct WeightLayout {
    WeightPath path = WeightPath::gather;
    std::size_t bytes = 0;  // of the buffer the kernel reads
    Origin origin;          // what to sample: the kernel's buffer, or the plain one if reordered
    Origin packed;          // of the kernel's buffer, its trailing extras aside
    // path == reorder: from the plain buffer to the kernel's, with scratch of the calling thread.
    std::size_t reorder_scratch_bytes = 0;
    std::function<void(const std::int8_t* plain, std::int8_t* packed, void* scratch)> reorder;
};

// A kernel tied to its buffers; weights, bias and destination may differ from call to call.
class BoundConv {
 public:
    virtual ~BoundConv() = default;
    virtual void run(const void* weights, const float* bias, void* dst) = 0;
};

class ConvKernel {
 public:
    virtual ~ConvKernel() = default;
    // Kernels of one layer with equal keys read the same buffer; the layout itself takes the memory
    // of the weights several times over, and is made when asked for.
    virtual std::string layout_key() const = 0;
    virtual WeightLayout layout() const = 0;
    virtual std::string implementation() const = 0;
    // A kernel of the same layer for another piece of it, reading the same buffer; null if there is
    // none.
    virtual std::unique_ptr<ConvKernel> again(const ConvSpec& spec,
                                              const Geometry& geometry) const = 0;
    virtual std::size_t scratchpad_bytes() const = 0;
    // Of a run, those on padding included: what the kernel executes.
    virtual std::int64_t multiply_adds() const = 0;
    virtual std::unique_ptr<BoundConv> bind(void* src, void* scratchpad) const = 0;
};

// Our own AMX kernel of a 1x1 convolution without stride, where the CPU has AMX and the shape fits;
// null where not.
std::unique_ptr<ConvKernel> make_amx_conv(const ConvSpec& spec, const Geometry& geometry);

// The exact engine of our own: plain loops, int32 sums, any CPU.
std::unique_ptr<ConvKernel> make_portable_conv(const ConvSpec& spec, const Geometry& geometry);

// oneDNN's, where it has a kernel that is exact (integers) or optimized (floats) on this CPU; null
// where not.
std::unique_ptr<ConvKernel> make_onednn_conv(const ConvSpec& spec, const Geometry& geometry);
// The instruction set oneDNN uses here at most (`avx512_core_amx`), and whether it has exact int8.
std::string onednn_isa();
bool onednn_exact();

// Visit every weight with its canonical index, the number of its draw, and its element of the plain
// tensor.
template <class Visit>
void for_each_weight(const ConvSpec& spec, const Geometry& g, Visit visit) {
    const NormalOrder order = {g, spec.src == Type::bf16};
    const std::int64_t* step = spec.weight_steps;
    for (std::int64_t o = 0; o < g.outputs; ++o) {
        for (std::int64_t i = 0; i < g.inputs; ++i) {
            for (std::int64_t h = 0; h < g.height; ++h) {
                for (std::int64_t w = 0; w < g.width; ++w) {
                    const std::int64_t element =
                        o * step[0] + i * step[1] + h * step[2] + w * step[3];
                    if (element < 0 || element >= spec.weights()) {
                        throw std::logic_error("a weight lies outside its kernel's tensor");
                    }
                    visit(is_real(spec.src) ? order.number(o, i, h, w) : g.canonical(o, i, h, w),
                          element);
                }
            }
        }
    }
}

}  // namespace sigmabench
