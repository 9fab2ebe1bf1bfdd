// Convolutions and linear layers by oneDNN, through its public API alone.
#include <array>
#include <cmath>
#include <dnnl.hpp>
#include <unordered_map>

#include "conv.hpp"

namespace sigmabench {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;
using Data = memory::data_type;
using Dims = memory::dims;
using Arguments = std::unordered_map<int, memory>;

const dnnl::engine& cpu() {
    static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

dnnl::stream& stream() {
    thread_local dnnl::stream instance(cpu());
    return instance;
}

Data data_type(Type type) {
    switch (type) {
        case Type::u8:
            return Data::u8;
        case Type::s8:
            return Data::s8;
        case Type::s32:
            return Data::s32;
        case Type::bf16:
            return Data::bf16;
        default:
            return Data::f32;
    }
}

Data weight_type(const ConvSpec& spec) {
    return is_real(spec.src) ? data_type(spec.src) : Data::s8;
}

// Of the plain weights that numbers are packed from.
Data plain_type(const ConvSpec& spec) { return is_real(spec.src) ? Data::f32 : Data::s8; }

memory unbound(const memory::desc& desc) { return memory(desc, cpu(), nullptr); }

std::size_t padded_elements(const memory::desc& desc) {
    std::size_t elements = 1;
    for (const auto dim : desc.get_padded_dims()) elements *= static_cast<std::size_t>(dim);
    return elements;
}

void reorder(const memory::desc& from, const void* src, const memory::desc& to, void* dst) {
    memory source(from, cpu(), const_cast<void*>(src)), target(to, cpu(), dst);
    dnnl::reorder(source, target).execute(stream(), source, target);
    stream().wait();
}

std::uint8_t as_byte(std::uint8_t value) { return value; }
std::uint8_t as_byte(float value) { return static_cast<std::uint8_t>(value); }
std::uint8_t as_byte(std::uint16_t bfloat16) { return as_byte(from_bfloat16(bfloat16)); }

// Where each weight lies in oneDNN's packed buffer, found by packing numbers: four planes, each
// with one byte of (canonical index + 1), which all types hold exactly; what stays 0 is padding. No
// knowledge of any layout.
template <class Plain, class Packed>
Origin packed_origin(const ConvSpec& spec, const Geometry& geometry, const memory::desc& plain,
                     const memory::desc& packed) {
    const std::size_t elements = padded_elements(packed);
    AlignedBuffer<Plain> numbers(static_cast<std::size_t>(spec.weights()));
    AlignedBuffer<std::uint8_t> placed(packed.get_size());
    const auto* values = reinterpret_cast<const Packed*>(placed.data());
    std::vector<std::uint32_t> found(elements, 0);
    for (int byte = 0; byte < 4; ++byte) {
        std::uint8_t any = 0;
        for_each_weight(spec, geometry, [&](std::int64_t canonical, std::int64_t element) {
            const auto number = static_cast<std::uint32_t>(canonical + 1);
            const auto value = static_cast<std::uint8_t>(number >> (8 * byte));
            numbers[static_cast<std::size_t>(element)] = static_cast<Plain>(value);
            any = static_cast<std::uint8_t>(any | value);
        });
        if (any == 0) continue;
        reorder(plain, numbers.data(), packed, placed.data());
        for (std::size_t at = 0; at < elements; ++at) {
            found[at] |= static_cast<std::uint32_t>(as_byte(values[at])) << (8 * byte);
        }
    }
    Origin origin(elements);
    for (std::size_t at = 0; at < elements; ++at) {
        origin[at] = static_cast<std::int32_t>(found[at]) - 1;
    }
    return origin;
}

// Float kernels read what they are given, nothing else lies in their buffers.
WeightLayout float_layout(const ConvSpec& spec, const Geometry& geometry, const memory::desc& plain,
                          const memory::desc& packed) {
    WeightLayout layout;
    layout.bytes = packed.get_size();
    layout.packed = spec.src == Type::bf16
                        ? packed_origin<float, std::uint16_t>(spec, geometry, plain, packed)
                        : packed_origin<float, float>(spec, geometry, plain, packed);
    if (layout.bytes != layout.packed.size() * type_bytes(spec.src)) {
        throw std::logic_error("oneDNN keeps more than weights among a float kernel's weights");
    }
    return layout;
}

WeightLayout make_layout(const ConvSpec& spec, const Geometry& geometry, const memory::desc& plain,
                         const memory::desc& packed) {
    if (is_real(spec.src)) return float_layout(spec, geometry, plain, packed);
    WeightLayout layout;
    layout.bytes = packed.get_size();
    layout.packed = packed_origin<std::uint8_t, std::uint8_t>(spec, geometry, plain, packed);
    if (layout.bytes > padded_elements(packed)) {
        // Compensation sums follow the weights; only oneDNN's reorder brings them up to date.
        layout.path = WeightPath::reorder;
        layout.origin.assign(static_cast<std::size_t>(spec.weights()), -1);
        for_each_weight(spec, geometry, [&](std::int64_t canonical, std::int64_t element) {
            layout.origin[static_cast<std::size_t>(element)] = static_cast<std::int32_t>(canonical);
        });
        // Threads share the primitive, so none of its scratch may be its own.
        dnnl::primitive_attr attr;
        attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
        const dnnl::reorder::primitive_desc descriptor(cpu(), plain, cpu(), packed, attr);
        const memory::desc scratchpad = descriptor.scratchpad_desc();
        layout.reorder_scratch_bytes = scratchpad.get_size();
        layout.reorder = [primitive = dnnl::reorder(descriptor), plain, packed, scratchpad](
                             const std::int8_t* src, std::int8_t* dst, void* scratch) {
            primitive.execute(stream(),
                              {{DNNL_ARG_FROM, memory(plain, cpu(), const_cast<std::int8_t*>(src))},
                               {DNNL_ARG_TO, memory(packed, cpu(), dst)},
                               {DNNL_ARG_SCRATCHPAD, memory(scratchpad, cpu(), scratch)}});
        };
        return layout;
    }
    layout.origin = layout.packed;
    layout.path = blockwise(layout.origin) ? WeightPath::direct : WeightPath::gather;
    return layout;
}

// Kernels that multiply u8 by s8 without VNNI or AMX saturate their sums at 16 bits; reference
// kernels are exact and slower than ours. For floats, all but reference kernels will do.
bool suits(const ConvSpec& spec, const std::string& implementation) {
    const auto has = [&](const char* part) {
        return implementation.find(part) != std::string::npos;
    };
    return is_real(spec.src) ? !has("ref") : has("vnni") || has("amx");
}

class OneDnnBound final : public BoundConv {
 public:
    OneDnnBound(dnnl::primitive primitive, Arguments arguments)
        : primitive_(std::move(primitive)), arguments_(std::move(arguments)) {}

    void run(const void* weights, const float* bias, void* dst) override {
        arguments_.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void*>(weights));
        const auto has_bias = arguments_.find(DNNL_ARG_BIAS);
        if (has_bias != arguments_.end()) {
            has_bias->second.set_data_handle(const_cast<float*>(bias));
        }
        arguments_.at(DNNL_ARG_DST).set_data_handle(dst);
        primitive_.execute(stream(), arguments_);
    }

 private:
    dnnl::primitive primitive_;
    Arguments arguments_;
};

class OneDnnConv;
std::unique_ptr<ConvKernel> make_like(const ConvSpec& spec, const Geometry& geometry,
                                      const OneDnnConv* like);

class OneDnnConv final : public ConvKernel {
 public:
    template <class Primitive, class Descriptor>
    OneDnnConv(const ConvSpec& spec, const Geometry& geometry, const Descriptor& descriptor,
               const memory::desc& plain, Primitive primitive)
        : primitive_(std::move(primitive)),
          implementation_(descriptor.impl_info_str()),
          src_(descriptor.src_desc()),
          weights_(descriptor.weights_desc()),
          dst_(descriptor.dst_desc()),
          scratchpad_(descriptor.scratchpad_desc()),
          scales_(spec.scales.size()),
          spec_(spec),
          geometry_(geometry),
          plain_(plain) {
        if (spec.dst == Type::s32) return;
        bias_ = descriptor.bias_desc();
        std::copy(spec.scales.begin(), spec.scales.end(), scales_.data());
        dst_scale_ = is_real(spec.dst) ? 0 : spec.dst_scale;
    }

    std::string layout_key() const override {
        std::string key = std::to_string(weights_.get_size());
        for (const auto& numbers : {weights_.get_padded_dims(), weights_.get_strides(),
                                    weights_.get_inner_blks(), weights_.get_inner_idxs()}) {
            key += ':';
            for (const auto number : numbers) key += std::to_string(number) + ',';
        }
        return key;
    }
    WeightLayout layout() const override { return make_layout(spec_, geometry_, plain_, weights_); }
    std::string implementation() const override { return implementation_; }
    std::size_t scratchpad_bytes() const override { return scratchpad_.get_size(); }
    std::int64_t multiply_adds() const override {
        return spec_.pixels() * static_cast<std::int64_t>(padded_elements(weights_));
    }
    const memory::desc& weights() const { return weights_; }
    std::unique_ptr<ConvKernel> again(const ConvSpec& spec, const Geometry& g) const override {
        return make_like(spec, g, this);
    }

    std::unique_ptr<BoundConv> bind(void* src, void* scratchpad) const override {
        Arguments arguments = {{DNNL_ARG_SRC, memory(src_, cpu(), src)},
                               {DNNL_ARG_WEIGHTS, unbound(weights_)},
                               {DNNL_ARG_DST, unbound(dst_)},
                               {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, cpu(), scratchpad)}};
        const auto scale = [](memory::dim count, const float* values) {
            return memory({{count}, Data::f32, Tag::a}, cpu(), const_cast<float*>(values));
        };
        if (bias_) arguments.emplace(DNNL_ARG_BIAS, unbound(bias_));
        if (bias_ && scales_.size() > 0) {
            arguments.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
                              scale(static_cast<memory::dim>(scales_.size()), scales_.data()));
            if (dst_scale_ != 0) {
                arguments.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, scale(1, &dst_scale_));
            }
        }
        return std::make_unique<OneDnnBound>(primitive_, std::move(arguments));
    }

 private:
    dnnl::primitive primitive_;
    std::string implementation_;
    memory::desc src_, weights_, bias_, dst_, scratchpad_;
    AlignedBuffer<float> scales_;
    float dst_scale_ = 0;
    ConvSpec spec_;
    Geometry geometry_;
    memory::desc plain_;
};

dnnl::primitive_attr attributes(const ConvSpec& spec, int weight_mask) {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (spec.dst == Type::s32) return attr;
    if (!is_real(spec.src)) attr.set_scales_mask(DNNL_ARG_WEIGHTS, weight_mask);
    if (!is_real(spec.dst)) attr.set_scales_mask(DNNL_ARG_DST, 0);
    dnnl::post_ops post;
    if (spec.has_residual) post.append_sum(spec.residual_scale, 0, data_type(spec.residual));
    if (spec.relu && std::isfinite(spec.ceiling)) {
        post.append_eltwise(dnnl::algorithm::eltwise_clip, 0.f, spec.ceiling);
    } else if (spec.relu) {
        post.append_eltwise(dnnl::algorithm::eltwise_relu, 0.f, 0.f);
    }
    attr.set_post_ops(post);
    return attr;
}

template <class Primitive>
std::unique_ptr<ConvKernel> first_suitable(const ConvSpec& spec, const Geometry& geometry,
                                           typename Primitive::primitive_desc descriptor,
                                           const memory::desc& plain) {
    if (descriptor.get(true) == nullptr) return nullptr;
    do {
        if (!suits(spec, descriptor.impl_info_str())) continue;
        return std::make_unique<OneDnnConv>(spec, geometry, descriptor, plain,
                                            Primitive(descriptor));
    } while (descriptor.next_impl());
    return nullptr;
}

memory::desc weights_desc(const ConvSpec& spec, const Dims& dims, const OneDnnConv* like) {
    return like != nullptr ? like->weights() : memory::desc(dims, weight_type(spec), Tag::any);
}

std::unique_ptr<ConvKernel> make_matmul(const ConvSpec& spec, const Geometry& geometry,
                                        const OneDnnConv* like) {
    const std::int64_t depth = spec.in_channels * spec.in_height * spec.in_width;
    const Dims weight_dims = {depth, spec.out_channels};
    // The plain weights of a linear layer as (depth, outputs), depth in the order of an NHWC map.
    ConvSpec rows = spec;
    const std::int64_t outputs = spec.out_channels;
    const std::int64_t steps[4] = {1, outputs, spec.kernel[1] * spec.in_channels * outputs,
                                   spec.in_channels * outputs};
    std::copy(std::begin(steps), std::end(steps), std::begin(rows.weight_steps));
    const memory::desc src({spec.batch, depth}, data_type(spec.src), Tag::ab);
    const memory::desc weights = weights_desc(spec, weight_dims, like);
    const memory::desc dst({spec.batch, outputs}, data_type(spec.dst), Tag::ab);
    const memory::desc plain(weight_dims, plain_type(spec), Tag::ab);
    const auto attr = attributes(spec, 1 << 1);
    if (spec.dst == Type::s32) {
        return first_suitable<dnnl::matmul>(rows, geometry, {cpu(), src, weights, dst, attr, true},
                                            plain);
    }
    const memory::desc bias({1, outputs}, Data::f32, Tag::ab);
    return first_suitable<dnnl::matmul>(rows, geometry,
                                        {cpu(), src, weights, bias, dst, attr, true}, plain);
}

std::unique_ptr<ConvKernel> make_convolution(const ConvSpec& spec, const Geometry& geometry,
                                             const OneDnnConv* like) {
    const bool grouped = spec.groups > 1;
    Dims weight_dims = {spec.out_channels / spec.groups, spec.in_channels / spec.groups,
                        spec.kernel[0], spec.kernel[1]};
    if (grouped) weight_dims.insert(weight_dims.begin(), spec.groups);
    const memory::desc src({spec.batch, spec.in_channels, spec.in_height, spec.in_width},
                           data_type(spec.src), Tag::nhwc);
    const memory::desc weights = weights_desc(spec, weight_dims, like);
    const memory::desc dst({spec.batch, spec.out_channels, spec.out_height, spec.out_width},
                           data_type(spec.dst), Tag::nhwc);
    const memory::desc plain(weight_dims, plain_type(spec), grouped ? Tag::goihw : Tag::oihw);
    const Dims stride = {spec.stride[0], spec.stride[1]};
    const Dims dilation = {spec.dilation[0] - 1, spec.dilation[1] - 1};
    const Dims before = {spec.padding[0], spec.padding[1]};
    Dims after(2);
    for (std::size_t axis = 0; axis < 2; ++axis) {
        const std::int64_t out = axis == 0 ? spec.out_height : spec.out_width;
        const std::int64_t in = axis == 0 ? spec.in_height : spec.in_width;
        after[axis] = (out - 1) * spec.stride[axis] +
                      (spec.kernel[axis] - 1) * spec.dilation[axis] + 1 - in - before[axis];
    }
    const auto attr = attributes(spec, grouped ? 3 : 1);
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm = dnnl::algorithm::convolution_direct;
    if (spec.dst == Type::s32) {
        return first_suitable<dnnl::convolution_forward>(
            spec, geometry,
            {cpu(), kind, algorithm, src, weights, dst, stride, dilation, before, after, attr,
             true},
            plain);
    }
    const memory::desc bias({spec.out_channels}, Data::f32, Tag::a);
    return first_suitable<dnnl::convolution_forward>(
        spec, geometry,
        {cpu(), kind, algorithm, src, weights, bias, dst, stride, dilation, before, after, attr,
         true},
        plain);
}

// Reading the buffer that `like` reads, if it is not null.
std::unique_ptr<ConvKernel> make_like(const ConvSpec& spec, const Geometry& geometry,
                                      const OneDnnConv* like) {
    return spec.linear() ? make_matmul(spec, geometry, like)
                         : make_convolution(spec, geometry, like);
}

}  // namespace

std::unique_ptr<ConvKernel> make_onednn_conv(const ConvSpec& spec, const Geometry& geometry) {
    if (!is_real(spec.src) && !onednn_exact()) return nullptr;
    return make_like(spec, geometry, nullptr);
}

namespace {

constexpr std::array<std::pair<dnnl::cpu_isa, const char*>, 11> kIsaNames = {{
    {dnnl::cpu_isa::sse41, "sse41"},
    {dnnl::cpu_isa::avx, "avx"},
    {dnnl::cpu_isa::avx2, "avx2"},
    {dnnl::cpu_isa::avx2_vnni, "avx2_vnni"},
    {dnnl::cpu_isa::avx2_vnni_2, "avx2_vnni_2"},
    {dnnl::cpu_isa::avx512_core, "avx512_core"},
    {dnnl::cpu_isa::avx512_core_vnni, "avx512_core_vnni"},
    {dnnl::cpu_isa::avx512_core_bf16, "avx512_core_bf16"},
    {dnnl::cpu_isa::avx512_core_fp16, "avx512_core_fp16"},
    {dnnl::cpu_isa::avx512_core_amx, "avx512_core_amx"},
    {dnnl::cpu_isa::avx512_core_amx_fp16, "avx512_core_amx_fp16"},
}};

}  // namespace

std::string onednn_isa() {
    const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
    for (const auto& [value, name] : kIsaNames) {
        if (value == isa) return name;
    }
    return "unknown";
}

bool onednn_exact() {
    switch (dnnl::get_effective_cpu_isa()) {
        case dnnl::cpu_isa::sse41:
        case dnnl::cpu_isa::avx:
        case dnnl::cpu_isa::avx2:
        case dnnl::cpu_isa::avx512_core:
            return false;
        default:
            return true;
    }
}

}  // namespace sigmabench
