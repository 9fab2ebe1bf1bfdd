#include <cstring>

#include "plan.hpp"
#include "real.hpp"

namespace sigmabench {

Drawer::Drawer(const Network& network, const Plan& plan)
    : network_(network),
      scratch_(plan.scratch_bytes()),
      noise_(round_up(plan.bias_channels(), kLanes) * sizeof(float)) {}

void Drawer::weights(const ConvStep& step, const Draw& draw, std::int8_t* out) {
    const auto& node = std::get<ConvNode>(network_.nodes[step.node]);
    step.packer->sample(draw.path, draw.tables, draw.keys, draw.mc, scratch_.data(), out);
    draw.count.fetch_add(static_cast<std::uint64_t>(node.posterior.geometry.weights()),
                         std::memory_order_relaxed);
}

void Drawer::bias(const ConvStep& step, const Draw& draw, float* out) {
    const auto& node = std::get<ConvNode>(network_.nodes[step.node]);
    if (node.normal_bias != nullptr) {
        node.normal_bias->draw(normal_path(draw.path), draw.keys, draw.mc, noise_.data());
        std::memcpy(out, noise_.data(), node.bias.size() * sizeof(float));
        return;
    }
    sample(draw.path, *step.bias, draw.tables, draw.keys, draw.mc, noise_.data());
    for (std::size_t c = 0; c < node.bias.size(); ++c) {
        out[c] = node.bias[c] + node.bias_step[c] * static_cast<float>(noise_[c]);
    }
}

Executor::Executor(const Network& network, const Plan& plan)
    : network_(network),
      plan_(plan),
      drawer_(network, plan),
      arena_(plan.arena_bytes()),
      scratchpad_(plan.scratchpad_bytes()),
      row_(4 * plan.row_words()),
      weights_(plan.weight_bytes()),
      bias_(plan.bias_channels()) {
    for (const auto& step : plan.steps()) {
        const auto* conv = std::get_if<ConvStep>(&step);
        bound_.push_back(conv == nullptr ? nullptr
                                         : conv->kernel->bind(arena_.data() + conv->src,
                                                              scratchpad_.data()));
    }
}

void Executor::run(const float* x, const Draw& draw, const DrawnPass* drawn, float* logits) {
    input(x);
    for (std::size_t k = 0; k < plan_.steps().size(); ++k) {
        if (const auto* step = std::get_if<PoolStep>(&plan_.steps()[k])) {
            pool(arena_.data() + step->src, plan_.batch(), step->spec,
                 reinterpret_cast<std::int32_t*>(row_.data()), arena_.data() + step->dst);
        } else {
            conv(k, draw, drawn, logits);
        }
    }
}

void Executor::input(const float* x) {
    const Activation& in = network_.at(network_.input);
    const InputStep& step = plan_.input();
    std::uint8_t* out = arena_.data() + step.dst;
    if (network_.real()) return convert_input(x, plan_.batch(), in.image, in.type(), out);
    quantize_input(x, plan_.batch(), in.image, in.scale, in.type(), arena_.data() + step.planes,
                   out);
    if (!step.folded) return;
    fold_columns(out, plan_.batch(), step.folding, row_.data(), arena_.data() + *step.folded);
}

void Executor::conv(std::size_t index, const Draw& draw, const DrawnPass* drawn, float* logits) {
    const auto& step = std::get<ConvStep>(plan_.steps()[index]);
    const auto& node = std::get<ConvNode>(network_.nodes[step.node]);
    const std::int8_t* weights = step.packer->fixed();
    if (step.packer->sampled()) {
        if (drawn == nullptr) drawer_.weights(step, draw, weights_.data());
        weights = drawn == nullptr ? weights_.data() : drawn->weights[index].data();
    }
    const float* bias = node.bias.data();
    if (step.bias) {
        if (drawn == nullptr) drawer_.bias(step, draw, bias_.data());
        bias = drawn == nullptr ? bias_.data() : drawn->biases[index].data();
    }
    std::uint8_t* dst =
        step.logits ? reinterpret_cast<std::uint8_t*>(logits) : arena_.data() + step.dst;
    if (step.residual) {
        const auto numbers = static_cast<std::size_t>(
            plan_.batch() * network_.at(node.residual).image.size());
        std::memcpy(dst, arena_.data() + *step.residual,
                    numbers * type_bytes(network_.at(node.residual).type()));
    }
    bound_[index]->run(weights, bias, dst);
}

}  // namespace sigmabench
