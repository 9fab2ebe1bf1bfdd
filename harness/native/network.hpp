// A network as Python describes it: activations, and nodes in execution order.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "float_source.hpp"
#include "group_norm.hpp"
#include "join.hpp"

namespace sigmabench {

struct Activation {
    std::string name;
    Image image;
    float scale = 0;  // 0: floats, of type `real`
    bool is_signed = true;
    Type real = Type::f32;

    Type type() const {
        if (scale == 0) return real;
        return is_signed ? Type::s8 : Type::u8;
    }
};

struct ConvNode {
    int input = 0, output = 0, residual = -1;  // activations
    std::int64_t groups = 1;
    std::int64_t stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
    bool relu = false;
    // Where the ReLU ends, in float networks; integers end where their scale does.
    float ceiling = std::numeric_limits<float>::infinity();
    std::uint32_t ordinal = 0;                         // among the layers with weights
    Posterior posterior;                               // bits == 0: not sampled
    std::vector<float> weight_scale, bias, bias_step;  // bias_step empty: the bias is not sampled
    // In float networks, instead of posterior (its geometry aside), weight_scale and bias_step.
    std::shared_ptr<const NormalPosterior> normal, normal_bias;
};

struct PoolNode {
    int input = 0, output = 0;
    bool maximum = true;
    std::int64_t kernel[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
    bool adaptive = false;  // an average whose windows follow from the sizes
};

// Groups of channels of each image at mean 0 and variance 1; integers.
struct GroupNormNode {
    int input = 0, output = 0;
    std::int64_t groups = 1;
    double eps = 0;
};

// A function of one number on several activations, side by side in channels.
struct JoinNode {
    std::vector<int> inputs;
    int output = 0;
    std::vector<std::array<std::uint8_t, 256>> tables;  // one an input, by its byte; integers
    float low = 0, high = 0;                            // where values end; floats
};

using Node = std::variant<ConvNode, PoolNode, JoinNode, GroupNormNode>;

struct Network {
    Type number = Type::u8;  // of activations between layers: u8 (or s8), f32, bf16
    std::vector<Activation> activations;
    std::vector<Node> nodes;
    int input = 0, output = 0;

    const Activation& at(int activation) const {
        return activations[static_cast<std::size_t>(activation)];
    }
    bool real() const { return is_real(number); }
    // Throws std::invalid_argument with a sentence that names what is wrong.
    void check() const;
};

// The activations that a node reads.
inline std::vector<int> node_reads(const Node& node) {
    if (const auto* join = std::get_if<JoinNode>(&node)) return join->inputs;
    if (const auto* pool = std::get_if<PoolNode>(&node)) return {pool->input};
    if (const auto* norm = std::get_if<GroupNormNode>(&node)) return {norm->input};
    const auto& conv = std::get<ConvNode>(node);
    if (conv.residual < 0) return {conv.input};
    return {conv.input, conv.residual};
}
inline int node_output(const Node& node) {
    return std::visit([](const auto& n) { return n.output; }, node);
}

// Throws std::invalid_argument where a weight tensor is larger than the noise stream and int32 sums
// (docs/noise-stream.md), or the counter of normal draws, allow.
void check_weight_shape(const std::string& name, const Geometry& geometry, bool real = false);

// What the layer computes on a batch.
ConvSpec conv_spec(const Network& network, const ConvNode& node, std::int64_t batch);
PoolSpec pool_spec(const Network& network, const PoolNode& node);
GroupNormSpec group_norm_spec(const Network& network, const GroupNormNode& node);
// Its tables stay the node's; one that changes nothing is left out.
JoinSpec join_spec(const Network& network, const JoinNode& node);

// For a first layer whose few input channels leave dot products mostly empty: how to fold its
// kernel's columns into channels. `columns` is 0 where it does not pay.
Folding input_folding(const Network& network, const ConvNode& node);
// The specification of the same layer on the folded input.
ConvSpec folded_spec(const ConvSpec& spec, const Folding& folding);

}  // namespace sigmabench
