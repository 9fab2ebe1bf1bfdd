#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

namespace sigmabench {
namespace {

[[noreturn]] void reject(const std::string& name, const std::string& why) {
    throw std::invalid_argument(name + ": " + why);
}

// 0 where the kernel reaches beyond the padded input.
std::int64_t out_size(std::int64_t in, std::int64_t kernel, std::int64_t stride,
                      std::int64_t padding, std::int64_t dilation) {
    const std::int64_t spare = in + 2 * padding - dilation * (kernel - 1) - 1;
    return spare < 0 ? 0 : spare / stride + 1;
}

bool finite(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// docs/noise-stream.md, "Order of the weights".
constexpr std::int64_t kMostProducts = 66311;    // 66311 * 255 * 127 < 2^31
constexpr std::int64_t kMostAveraged = 8421504;  // 8421504 * 255 < 2^31
constexpr double kLeastEpsilon = 1e-30;
constexpr std::int64_t kMostNumbers = (std::int64_t{1} << 31) - 1;  // of weights, padding included

void check_conv(const Network& network, const ConvNode& node) {
    const Activation &in = network.at(node.input), &out = network.at(node.output);
    const Geometry& g = node.posterior.geometry;
    check_weight_shape(out.name, g, network.real());
    if (!finite(node.weight_scale) || !finite(node.bias) || !finite(node.bias_step)) {
        reject(out.name, "its scales and biases must be finite");
    }
    const std::int64_t kernel[2] = {g.height, g.width};
    const std::int64_t size[2] = {in.image.height, in.image.width};
    const std::int64_t result[2] = {out.image.height, out.image.width};
    if (in.scale == 0 && !network.real()) reject(out.name, "its input has no integer scale");
    if (node.groups < 1 || g.outputs % node.groups != 0 ||
        in.image.channels != g.inputs * node.groups) {
        reject(out.name, "its weights do not fit its input's channels and its groups");
    }
    if (out.image.channels != g.outputs) reject(out.name, "its weights do not fit its channels");
    for (int axis = 0; axis < 2; ++axis) {
        if (node.stride[axis] < 1 || node.dilation[axis] < 1 || node.padding[axis] < 0 ||
            out_size(size[axis], kernel[axis], node.stride[axis], node.padding[axis],
                     node.dilation[axis]) != result[axis]) {
            reject(out.name, "its output's size does not follow from its input's");
        }
    }
    const auto channels = static_cast<std::size_t>(g.outputs);
    const auto weights = static_cast<std::size_t>(g.weights());
    const Posterior& p = node.posterior;
    if (network.real() != (node.normal != nullptr) ||
        (node.normal != nullptr && node.normal->type() != network.number)) {
        reject(out.name, "its weights are not of the network's type");
    }
    if (network.real()) {
        if (node.bias.size() != channels) reject(out.name, "its bias has not its channels' size");
        return;
    }
    if (p.mean.size() != weights || node.weight_scale.size() != channels ||
        node.bias.size() != channels) {
        reject(out.name, "an array has not the size that its shape asks for");
    }
    if (!node.bias_step.empty() && node.bias_step.size() != channels) {
        reject(out.name, "its bias deviations have not one value an output channel");
    }
    if (p.bits == 0) return;
    if (p.bits < 0 || p.bits > 8) reject(out.name, "its sigma has not 1 to 8 bits");
    if (p.sigma.size() != weights || p.multiplier.size() != channels ||
        p.offset.size() != channels || p.shift.size() != channels) {
        reject(out.name, "an array of its sigma has not the size that its shape asks for");
    }
    for (std::size_t c = 0; c < channels; ++c) {
        if (p.multiplier[c] < 0 || p.offset[c] < 0 || p.shift[c] > 8) {
            reject(out.name, "its sampling constants are out of range");
        }
    }
    for (const std::uint8_t sigma : p.sigma) {
        if (sigma >> p.bits != 0) reject(out.name, "its sigma has values beyond its bits");
    }
}

void check_pool(const Network& network, const PoolNode& node) {
    const Activation &in = network.at(node.input), &out = network.at(node.output);
    const std::int64_t size[2] = {in.image.height, in.image.width};
    const std::int64_t result[2] = {out.image.height, out.image.width};
    const bool logits = node.output == network.output;
    if (logits || (in.scale == 0 && !network.real()) || in.image.channels != out.image.channels ||
        in.type() != out.type() || in.scale != out.scale) {
        reject(out.name, "a pool's output must have its input's type, scale and channels");
    }
    if (!node.maximum && !network.real() && node.kernel[0] * node.kernel[1] > kMostAveraged) {
        reject(out.name, "an average of more than " + std::to_string(kMostAveraged) +
                             " values can exceed int32");
    }
    if (node.maximum ? node.adaptive : node.dilation[0] != 1 || node.dilation[1] != 1) {
        reject(out.name, "a maximum alone can be dilated, and an average alone adaptive");
    }
    if (node.adaptive) {
        for (int axis = 0; axis < 2; ++axis) {
            if (node.kernel[axis] != 1 || node.stride[axis] != 1 || node.padding[axis] != 0) {
                reject(out.name, "windows that follow from the sizes have no kernel of their own");
            }
        }
        const std::int64_t rows = size[0] / result[0] + 2, columns = size[1] / result[1] + 2;
        if (!network.real() && rows > kMostAveraged / columns) {
            reject(out.name, "an average of more than " + std::to_string(kMostAveraged) +
                                 " values can exceed int32");
        }
        return;
    }
    // Rounded down, or up where the last window begins in the map.
    const auto pools = [&](int axis, std::int64_t before, std::int64_t after) {
        const std::int64_t down = out_size(before, node.kernel[axis], node.stride[axis],
                                           node.padding[axis], node.dilation[axis]);
        const bool more = (after - 1) * node.stride[axis] < before + node.padding[axis];
        return down > 0 && (after == down || (after == down + 1 && more));
    };
    for (int axis = 0; axis < 2; ++axis) {
        if (node.kernel[axis] < 1 || node.stride[axis] < 1 || node.padding[axis] < 0 ||
            node.dilation[axis] < 1 || 2 * node.padding[axis] > node.kernel[axis] ||
            !pools(axis, size[axis], result[axis])) {
            reject(out.name, "its output's size does not follow from its input's");
        }
        // Those that begin in the padding reach the map only if their kernel does.
        const std::int64_t apart = node.dilation[axis];
        for (std::int64_t at = -node.padding[axis]; at < 0; at += node.stride[axis]) {
            const std::int64_t skipped = (apart - 1 - at) / apart;
            if (skipped >= node.kernel[axis] || at + skipped * apart >= size[axis]) {
                reject(out.name, "a window has nothing but padding");
            }
        }
    }
}

void check_group_norm(const Network& network, const GroupNormNode& node) {
    const Activation &in = network.at(node.input), &out = network.at(node.output);
    if (network.real() || node.output == network.output || in.scale == 0 ||
        out.type() != Type::s8) {
        reject(out.name, "a group norm makes signed integers of integers");
    }
    if (!(in.image == out.image) || node.groups < 1 || in.image.channels % node.groups != 0) {
        reject(out.name, "a group norm keeps its input's shape, in groups of its channels");
    }
    if (in.image.size() / node.groups > kMostAveraged) {
        reject(out.name, "the sums of a group norm can exceed int32");
    }
    if (!std::isfinite(node.eps) || node.eps < kLeastEpsilon) {
        reject(out.name, "the eps of a group norm is out of range");
    }
}

bool changes_nothing(const std::array<std::uint8_t, 256>& table) {
    for (std::size_t k = 0; k < table.size(); ++k) {
        if (table[k] != k) return false;
    }
    return true;
}

void check_join(const Network& network, const JoinNode& node) {
    const Activation& out = network.at(node.output);
    if (node.output == network.output || (out.scale == 0 && !network.real())) {
        reject(out.name, "a join's output must have an integer scale");
    }
    std::int64_t channels = 0;
    for (const int input : node.inputs) {
        const Image& image = network.at(input).image;
        channels += image.channels;
        if (image.height != out.image.height || image.width != out.image.width) {
            reject(out.name, "what is joined must have its height and width");
        }
    }
    if (channels != out.image.channels) {
        reject(out.name, "its channels are not those of all that is joined");
    }
    if (!network.real() && node.tables.size() != node.inputs.size()) {
        reject(out.name, "it needs a table for every activation that it joins");
    }
    if (network.real() && !(node.low < node.high)) {
        reject(out.name, "its values must have a range");
    }
}

}  // namespace

void check_weight_shape(const std::string& name, const Geometry& g, bool real) {
    std::int64_t product = 1;
    for (const std::int64_t size : {g.outputs, g.inputs, g.height, g.width}) {
        if (size < 1 || size > kMostNumbers / product) {
            reject(name, "its weights must be at least one and fewer than 2^31");
        }
        product *= size;
    }
    if (real) {
        if (NormalOrder{g}.size() > kMostNumbers) {
            reject(name, "its weights take 2^31 or more normal draws");
        }
        return;
    }
    if (g.inputs * g.height * g.width > kMostProducts) {
        reject(name, "a sum of more than " + std::to_string(kMostProducts) +
                         " products (I * KH * KW) can exceed int32");
    }
    if (g.blocks() > kMostNumbers / kLanes) {
        reject(name, "its weights take 2^31 or more lanes of the noise stream");
    }
}

void Network::check() const {
    const auto known = static_cast<int>(activations.size());
    std::set<int> ready = {input};
    const auto require = [&](int activation) {
        if (activation < 0 || activation >= known || ready.count(activation) == 0) {
            throw std::invalid_argument("a node reads an activation that no node before it made");
        }
    };
    require(input);
    for (const Activation& activation : activations) {
        if (!std::isfinite(activation.scale)) reject(activation.name, "its scale must be finite");
    }
    for (const Activation& activation : activations) {
        if (real() && activation.scale != 0) reject(activation.name, "a float has no scale");
    }
    if (at(input).scale == 0 && !real()) {
        reject(at(input).name, "the input has no integer scale");
    }
    for (const Node& node : nodes) {
        for (const int read : node_reads(node)) {
            require(read);
            if (read == output) reject(at(output).name, "a node reads the logits");
        }
        const int out = node_output(node);
        if (out < 0 || out >= known || !ready.insert(out).second) {
            throw std::invalid_argument("a node makes an activation that exists already");
        }
        if (const auto* conv = std::get_if<ConvNode>(&node)) {
            if (!real() && (at(out).scale == 0) != (out == output)) {
                reject(at(out).name, "the logits are float32, all other activations integers");
            }
            if (conv->residual >= 0) {
                if (out == output) reject(at(out).name, "no residual can be added to the logits");
                const Activation& residual = at(conv->residual);
                if (!(residual.image == at(out).image)) {
                    reject(at(out).name, "its residual has another shape");
                }
            }
            check_conv(*this, *conv);
        } else if (const auto* pool = std::get_if<PoolNode>(&node)) {
            check_pool(*this, *pool);
        } else if (const auto* norm = std::get_if<GroupNormNode>(&node)) {
            check_group_norm(*this, *norm);
        } else {
            check_join(*this, std::get<JoinNode>(node));
        }
    }
    require(output);
    if (at(output).scale != 0) reject(at(output).name, "the logits must be float32");
}

ConvSpec conv_spec(const Network& network, const ConvNode& node, std::int64_t batch) {
    const Activation &in = network.at(node.input), &out = network.at(node.output);
    const Geometry& g = node.posterior.geometry;
    ConvSpec spec;
    spec.batch = batch;
    spec.groups = node.groups;
    spec.in_channels = in.image.channels;
    spec.in_height = in.image.height;
    spec.in_width = in.image.width;
    spec.out_channels = out.image.channels;
    spec.out_height = out.image.height;
    spec.out_width = out.image.width;
    spec.kernel[0] = g.height;
    spec.kernel[1] = g.width;
    for (int axis = 0; axis < 2; ++axis) {
        spec.stride[axis] = node.stride[axis];
        spec.padding[axis] = node.padding[axis];
        spec.dilation[axis] = node.dilation[axis];
    }
    spec.src = in.type();
    spec.dst = out.type();
    spec.relu = node.relu;
    spec.ceiling = node.ceiling;
    spec.has_residual = node.residual >= 0;
    if (spec.has_residual) {
        spec.residual = network.at(node.residual).type();
        spec.residual_scale = network.real() ? 1.f : network.at(node.residual).scale;
    }
    spec.dst_scale = out.scale;
    for (const float scale : node.weight_scale) spec.scales.push_back(in.scale * scale);
    const std::int64_t steps[4] = {g.inputs * g.height * g.width, g.height * g.width, g.width, 1};
    std::copy(std::begin(steps), std::end(steps), std::begin(spec.weight_steps));
    return spec;
}

PoolSpec pool_spec(const Network& network, const PoolNode& node) {
    PoolSpec spec;
    spec.maximum = node.maximum;
    spec.type = network.at(node.input).type();
    spec.in = network.at(node.input).image;
    spec.out = network.at(node.output).image;
    for (int axis = 0; axis < 2; ++axis) {
        spec.kernel[axis] = node.kernel[axis];
        spec.stride[axis] = node.stride[axis];
        spec.padding[axis] = node.padding[axis];
        spec.dilation[axis] = node.dilation[axis];
    }
    spec.adaptive = node.adaptive;
    return spec;
}

GroupNormSpec group_norm_spec(const Network& network, const GroupNormNode& node) {
    const Activation &in = network.at(node.input), &out = network.at(node.output);
    return {in.type(), in.image, node.groups, node.eps, in.scale, out.scale};
}

JoinSpec join_spec(const Network& network, const JoinNode& node) {
    const Activation& out = network.at(node.output);
    JoinSpec spec;
    spec.type = out.type();
    spec.width = out.image.width;
    spec.low = node.low;
    spec.high = node.high;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
        const std::int64_t channels = network.at(node.inputs[k]).image.channels;
        const bool maps = !network.real() && !changes_nothing(node.tables[k]);
        spec.parts.push_back({channels, maps ? node.tables[k].data() : nullptr});
    }
    return spec;
}

Folding input_folding(const Network& network, const ConvNode& node) {
    Folding folding;
    const Image& image = network.at(node.input).image;
    const Geometry& g = node.posterior.geometry;
    int readers = 0;
    for (const Node& other : network.nodes) {
        for (const int read : node_reads(other)) readers += read == network.input ? 1 : 0;
    }
    // One output pixel is a product of matrices as it is. Float kernels take few channels well.
    const Image& out = network.at(node.output).image;
    const bool pays = !network.real() && node.input == network.input && readers == 1 &&
                      node.groups == 1 && image.channels <= 4 && g.width > 1 &&
                      out.height * out.width > 1;
    if (!pays) return folding;
    folding.image = image;
    folding.columns = g.width;
    folding.stride = node.stride[1];
    folding.padding = node.padding[1];
    folding.dilation = node.dilation[1];
    folding.out_width = out.width;
    // From 16 channels on, oneDNN has AMX kernels for it.
    folding.folded =
        static_cast<std::int64_t>(round_up(static_cast<std::size_t>(g.width * image.channels), 16));
    return folding;
}

ConvSpec folded_spec(const ConvSpec& spec, const Folding& folding) {
    ConvSpec folded = spec;
    folded.in_channels = folding.folded;
    folded.in_width = folding.out_width;
    folded.kernel[1] = 1;
    folded.stride[1] = 1;
    folded.padding[1] = 0;
    folded.dilation[1] = 1;
    const std::int64_t height = spec.kernel[0];
    const std::int64_t steps[4] = {folding.folded * height, height, 1,
                                   folding.image.channels * height};
    std::copy(std::begin(steps), std::end(steps), std::begin(folded.weight_steps));
    return folded;
}

}  // namespace sigmabench
