#include "builder.hpp"

#include <algorithm>
#include <limits>

namespace sigmabench {
namespace {

constexpr std::int64_t kLargest = 1 << 20;     // of what a kernel's geometry may name
constexpr std::int64_t kMostLayers = 1 << 29;  // ordinals of tensors are below 2^31

void assign(std::int64_t (&to)[2], const Pair& from) {
    if (from.size() != 2) throw nb::value_error("a stride or padding is a pair");
    for (const std::int64_t value : from) {
        if (value < 0 || value > kLargest) {
            throw nb::value_error("a kernel, stride, padding or dilation is out of range");
        }
    }
    to[0] = from[0];
    to[1] = from[1];
}

Engine engine_named(const std::string& name) {
    if (name == "auto") return Engine::automatic;
    if (name == "onednn") return Engine::onednn;
    if (name == "portable") return Engine::portable;
    throw nb::value_error("engine must be auto, onednn or portable");
}

SamplerPath path_named(const std::string& name) {
    if (name == "auto") return best_path();
    for (const auto path : {SamplerPath::portable, SamplerPath::avx2, SamplerPath::avx512,
                            SamplerPath::avx512_vbmi}) {
        if (name == path_name(path)) return path;
    }
    throw nb::value_error("isa must be auto, portable, avx2, avx512 or avx512_vbmi");
}

}  // namespace

void check_threads(int threads) {
    if (threads >= 1 && threads <= kMostThreads) return;
    throw nb::value_error(("threads must be from 1 to " + std::to_string(kMostThreads)).c_str());
}

Builder::Builder(const std::string& number, std::int64_t first_layer) {
    if (first_layer < 0 || first_layer > kMostLayers) {
        throw nb::value_error("a layer's ordinal is out of range");
    }
    layers_ = static_cast<std::uint32_t>(first_layer);
    if (number == "fp32") {
        network_.number = Type::f32;
    } else if (number == "bf16") {
        network_.number = Type::bf16;
    } else if (number != "int8") {
        throw nb::value_error("number must be int8, fp32 or bf16");
    }
}

int Builder::activation(const std::string& name, const Pair& shape, float scale, bool is_signed) {
    if (shape.size() != 3) {
        throw nb::value_error((name + ": an activation's shape is (C, H, W)").c_str());
    }
    std::int64_t size = 1;
    for (const std::int64_t length : shape) {
        if (length < 1 || length > std::numeric_limits<std::int32_t>::max() / size) {
            throw nb::value_error(
                (name + ": it must hold at least one number and fewer than 2^31").c_str());
        }
        size *= length;
    }
    if (!(scale >= 0)) throw nb::value_error((name + ": a scale is not negative").c_str());
    network_.activations.push_back({name,
                                    {shape[0], shape[1], shape[2]},
                                    scale,
                                    is_signed,
                                    network_.real() ? network_.number : Type::f32});
    return static_cast<int>(network_.activations.size()) - 1;
}

void Builder::conv(int input, int output, int residual, const Pair& shape, const Pair& stride,
                   const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                   const AnyArray& mean, const AnyArray& weight_scale, const AnyArray& bias) {
    if (network_.real()) throw nb::value_error("conv adds int8 weights; use normal_conv");
    ConvNode& node =
        add(input, output, residual, shape, stride, padding, dilation, groups, relu, bias);
    node.posterior.mean =
        copied<std::int8_t>(mean, node.posterior.geometry.weights(), "mean", "int8");
    node.weight_scale = copied<float>(weight_scale, shape[0], "weight_scale", "float32");
}

void Builder::normal_conv(int input, int output, int residual, const Pair& shape,
                          const Pair& stride, const Pair& padding, const Pair& dilation,
                          std::int64_t groups, bool relu, const AnyArray& mean,
                          const std::optional<AnyArray>& spread, const AnyArray& bias,
                          const std::optional<AnyArray>& bias_std, std::optional<float> ceiling) {
    if (!network_.real()) throw nb::value_error("normal_conv adds float weights; use conv");
    ConvNode& node =
        add(input, output, residual, shape, stride, padding, dilation, groups, relu, bias);
    if (ceiling) node.ceiling = *ceiling;
    const Geometry& g = node.posterior.geometry;
    const Pair dims = {g.outputs, g.inputs, g.height, g.width};
    const float* deviation = spread ? contiguous<float>(*spread, dims, "std", "float32") : nullptr;
    node.normal =
        std::make_shared<const NormalPosterior>(g, contiguous<float>(mean, dims, "mean", "float32"),
                                                deviation, network_.number, 2 * node.ordinal);
    if (!bias_std) return;
    node.normal_bias = std::make_shared<const NormalPosterior>(
        Geometry{shape[0], 1, 1, 1}, node.bias.data(),
        contiguous<float>(*bias_std, {shape[0]}, "bias_std", "float32"), Type::f32,
        2 * node.ordinal + 1);
}

void Builder::sigma(int bits, const AnyArray& sigma, const AnyArray& multiplier,
                    const AnyArray& offset, const AnyArray& shift) {
    Posterior& p = last().posterior;
    const std::int64_t channels = p.geometry.outputs;
    p.bits = bits;
    p.sigma = copied<std::uint8_t>(sigma, p.geometry.weights(), "sigma_q", "uint8");
    p.multiplier = copied<std::int16_t>(multiplier, channels, "multiplier", "int16");
    p.offset = copied<std::int16_t>(offset, channels, "offset", "int16");
    p.shift = copied<std::uint8_t>(shift, channels, "shift", "uint8");
}

void Builder::bias_step(const AnyArray& step) {
    last().bias_step =
        copied<float>(step, last().posterior.geometry.outputs, "bias_step", "float32");
}

void Builder::pool(int input, int output, bool maximum, const Pair& kernel, const Pair& stride,
                   const Pair& padding, const Pair& dilation, bool adaptive) {
    PoolNode node;
    node.input = input;
    node.output = output;
    node.maximum = maximum;
    assign(node.kernel, kernel);
    assign(node.stride, stride);
    assign(node.padding, padding);
    assign(node.dilation, dilation);
    node.adaptive = adaptive;
    network_.nodes.emplace_back(node);
}

void Builder::group_norm(int input, int output, std::int64_t groups, double eps) {
    if (network_.real()) throw nb::value_error("a group norm has no compiled float kernel");
    network_.nodes.emplace_back(GroupNormNode{input, output, groups, eps});
}

void Builder::join(const std::vector<int>& inputs, int output, const AnyArray& tables) {
    if (network_.real()) throw nb::value_error("join takes integers; use clipped_join");
    JoinNode node;
    node.inputs = inputs;
    node.output = output;
    const auto count = static_cast<std::int64_t>(inputs.size());
    const auto* values = contiguous<std::uint8_t>(tables, {count, 256}, "tables", "uint8");
    node.tables.resize(inputs.size());
    for (auto& table : node.tables) {
        std::copy(values, values + 256, table.begin());
        values += 256;
    }
    network_.nodes.emplace_back(std::move(node));
}

void Builder::clipped_join(const std::vector<int>& inputs, int output, float low, float high) {
    if (!network_.real()) throw nb::value_error("clipped_join takes floats; use join");
    network_.nodes.emplace_back(JoinNode{inputs, output, {}, low, high});
}

std::unique_ptr<Program> Builder::build(int input, int output, const AnyArray& threshold,
                                        const AnyArray& alias, const std::string& engine,
                                        const std::string& isa, int threads, int team) {
    network_.input = input;
    network_.output = output;
    if (output >= 0 && output < static_cast<int>(network_.activations.size())) {
        network_.activations[static_cast<std::size_t>(output)].real = Type::f32;
    }
    AliasTables tables;
    const auto* slots = contiguous<std::uint8_t>(threshold, {128}, "threshold", "uint8");
    const auto* others = contiguous<std::uint8_t>(alias, {128}, "alias", "uint8");
    std::copy(slots, slots + 128, tables.threshold);
    std::copy(others, others + 128, tables.alias);
    for (const std::uint8_t column : tables.alias) {
        if (column > 127) throw nb::value_error("alias must name columns 0 to 127");
    }
    check_threads(threads);
    return std::make_unique<Program>(std::move(network_), tables, engine_named(engine),
                                     path_named(isa), threads, team);
}

ConvNode& Builder::add(int input, int output, int residual, const Pair& shape, const Pair& stride,
                       const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                       const AnyArray& bias) {
    if (shape.size() != 4) throw nb::value_error("a weight's shape is (O, I, KH, KW)");
    const Geometry geometry = {shape[0], shape[1], shape[2], shape[3]};
    if (output < 0 || output >= static_cast<int>(network_.activations.size())) {
        throw nb::value_error("a conv's output is no activation");
    }
    check_weight_shape(network_.at(output).name, geometry, network_.real());
    ConvNode node;
    node.input = input;
    node.output = output;
    node.residual = residual;
    node.groups = groups;
    node.relu = relu;
    node.ordinal = layers_++;
    assign(node.stride, stride);
    assign(node.padding, padding);
    assign(node.dilation, dilation);
    node.posterior.geometry = geometry;
    node.bias = copied<float>(bias, shape[0], "bias", "float32");
    return std::get<ConvNode>(network_.nodes.emplace_back(std::move(node)));
}

ConvNode& Builder::last() {
    auto* node = network_.nodes.empty() ? nullptr : std::get_if<ConvNode>(&network_.nodes.back());
    if (node == nullptr) throw nb::value_error("there is no conv before this");
    return *node;
}

}  // namespace sigmabench
