#include "plan.hpp"

#include <algorithm>
#include <stdexcept>

namespace sigmabench {
namespace {

// Best-fit allocation of offsets, ahead of time. Blocks stay whole while they are in use.
class Arena {
public:
    std::size_t allocate(std::size_t bytes) {
        bytes = round_up(std::max<std::size_t>(bytes, 1), kLine);
        auto best = free_.end();
        for (auto it = free_.begin(); it != free_.end(); ++it) {
            if (it->size >= bytes && (best == free_.end() || it->size < best->size)) best = it;
        }
        Block block{top_, bytes};
        if (best != free_.end()) {
            block.offset = best->offset;
            best->offset += bytes;
            best->size -= bytes;
            if (best->size == 0) free_.erase(best);
        } else {
            top_ += bytes;
        }
        used_.push_back(block);
        return block.offset;
    }

    void release(std::size_t offset) {
        const auto it = std::find_if(used_.begin(), used_.end(),
                                     [&](const Block& b) { return b.offset == offset; });
        free_.push_back(*it);
        used_.erase(it);
        std::sort(free_.begin(), free_.end(),
                  [](const Block& a, const Block& b) { return a.offset < b.offset; });
        for (std::size_t k = 1; k < free_.size();) {
            if (free_[k - 1].offset + free_[k - 1].size == free_[k].offset) {
                free_[k - 1].size += free_[k].size;
                free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(k));
            } else {
                ++k;
            }
        }
    }

    std::size_t size() const { return top_; }

private:
    struct Block {
        std::size_t offset, size;
    };
    std::vector<Block> free_, used_;
    std::size_t top_ = 0;
};

// The last node that reads each activation, -1 if none does.
std::vector<int> last_readers(const Network& network) {
    std::vector<int> last(network.activations.size(), -1);
    for (std::size_t k = 0; k < network.nodes.size(); ++k) {
        const auto step = static_cast<int>(k);
        last[static_cast<std::size_t>(node_input(network.nodes[k]))] = step;
        if (const auto* conv = std::get_if<ConvNode>(&network.nodes[k])) {
            if (conv->residual >= 0) last[static_cast<std::size_t>(conv->residual)] = step;
        }
    }
    return last;
}

// Where every activation lies, and whether a residual lies where its sum will be written.
struct Placement {
    std::vector<std::size_t> offset;
    std::vector<bool> in_place;  // by node
    std::size_t planes = 0, folded = 0, bytes = 0;
};

Placement place(const Network& network, const std::vector<std::size_t>& sizes,
                std::size_t planes_bytes, std::size_t folded_bytes) {
    Arena arena;
    Placement placement;
    placement.offset.assign(sizes.size(), 0);
    placement.in_place.assign(network.nodes.size(), false);
    const std::vector<int> last = last_readers(network);
    const auto input = static_cast<std::size_t>(network.input);
    placement.planes = arena.allocate(planes_bytes);
    placement.offset[input] = arena.allocate(sizes[input]);
    if (folded_bytes > 0) placement.folded = arena.allocate(folded_bytes);
    arena.release(placement.planes);
    std::vector<bool> live(sizes.size(), false);
    live[input] = true;
    for (std::size_t k = 0; k < network.nodes.size(); ++k) {
        const Node& node = network.nodes[k];
        const bool logits = node_output(node) == network.output;  // written to the caller
        const auto out = static_cast<std::size_t>(node_output(node));
        const auto* conv = std::get_if<ConvNode>(&node);
        const int residual = conv != nullptr ? conv->residual : -1;
        const auto from = static_cast<std::size_t>(std::max(residual, 0));
        const bool free_after = residual >= 0 && last[from] == static_cast<int>(k);
        if (free_after && conv->input != residual && sizes[from] == sizes[out]) {
            placement.offset[out] = placement.offset[from];
            placement.in_place[k] = true;
            live[from] = false;
        } else if (!logits) {
            placement.offset[out] = arena.allocate(sizes[out]);
        }
        live[out] = !logits;
        if (folded_bytes > 0 && node_input(node) == network.input) {
            arena.release(placement.folded);
        }
        for (std::size_t a = 0; a < sizes.size(); ++a) {
            if (live[a] && last[a] <= static_cast<int>(k) && (a != out || last[a] >= 0)) {
                arena.release(placement.offset[a]);
                live[a] = false;
            }
        }
    }
    placement.bytes = arena.size();
    return placement;
}

}  // namespace

const WeightSource& Packers::get(const ConvNode& node, std::size_t index,
                                 const WeightLayout& layout) {
    if (node.normal != nullptr) {
        for (const FloatSource& source : floats_of_[index]) {
            if (source.fits(layout)) return source;
        }
        return floats_of_[index].emplace_back(node.normal, layout);
    }
    for (const Packer& packer : of_[index]) {
        if (packer.fits(layout)) return packer;
    }
    return of_[index].emplace_back(node.posterior, node.posterior.bits > 0, 2 * node.ordinal,
                                   layout);
}

std::unique_ptr<ConvKernel> make_conv(const ConvSpec& spec, const Geometry& geometry,
                                      Engine engine) {
    if (engine != Engine::portable) {
        if (auto kernel = make_onednn_conv(spec, geometry)) return kernel;
    }
    if (is_real(spec.src)) {
        throw std::invalid_argument("a layer has no optimized float kernel on this CPU");
    }
    return make_portable_conv(spec, geometry);
}

std::size_t Plan::activation_size(const Network& network, int activation) const {
    const Activation& a = network.at(activation);
    return static_cast<std::size_t>(batch_ * a.image.size()) * type_bytes(a.type());
}

// How the input reaches the first layer; the bytes of its folded copy, 0 if there is none.
std::size_t Plan::plan_input(const Network& network, Engine engine) {
    for (const Node& node : network.nodes) {
        const auto* conv = std::get_if<ConvNode>(&node);
        if (engine == Engine::portable || conv == nullptr || conv->input != network.input) continue;
        input_.folding = input_folding(network, *conv);
    }
    const Folding& folding = input_.folding;
    if (folding.columns == 0) return 0;
    row_words_ = folding.row_bytes() / 4 + 1;
    return static_cast<std::size_t>(batch_ * folding.image.height * folding.out_width *
                                    folding.folded);
}

Plan::Plan(const Network& network, Packers& packers, Engine engine, std::int64_t batch)
    : batch_(batch) {
    std::vector<std::size_t> sizes;
    for (std::size_t a = 0; a < network.activations.size(); ++a) {
        sizes.push_back(activation_size(network, static_cast<int>(a)));
    }
    const auto input = static_cast<std::size_t>(network.input);
    const auto image_numbers = static_cast<std::size_t>(network.at(network.input).image.size());
    const std::size_t folded_bytes = plan_input(network, engine);
    const Placement placement = place(network, sizes, network.real() ? 0 : image_numbers,
                                      folded_bytes);
    arena_bytes_ = placement.bytes;
    input_.planes = placement.planes;
    input_.dst = placement.offset[input];
    if (folded_bytes > 0) input_.folded = placement.folded;
    // float32 read and numbers written; integers by way of planes if there are several channels;
    // then read and written once more if they are folded.
    const bool planes = network.at(network.input).image.channels > 1 && !network.real();
    activation_bytes_ = static_cast<std::size_t>(batch) * image_numbers * sizeof(float) +
                        (planes ? 3 : 1) * sizes[input] +
                        (folded_bytes > 0 ? sizes[input] + folded_bytes : 0);
    for (std::size_t k = 0; k < network.nodes.size(); ++k) {
        const Node& node = network.nodes[k];
        const bool folds = input_.folded && node_input(node) == network.input;
        const auto in = static_cast<std::size_t>(node_input(node));
        const auto out = static_cast<std::size_t>(node_output(node));
        activation_bytes_ += (folds ? folded_bytes : sizes[in]) + sizes[out];
        if (const auto* conv = std::get_if<ConvNode>(&node)) {
            add_conv(network, packers, engine, k);
            auto& step = std::get<ConvStep>(steps_.back());
            step.src = folds ? *input_.folded : placement.offset[in];
            step.dst = placement.offset[out];
            step.logits = conv->output == network.output;
            if (conv->residual < 0) continue;
            const auto from = static_cast<std::size_t>(conv->residual);
            activation_bytes_ += sizes[from];
            if (placement.in_place[k]) continue;
            step.residual = placement.offset[from];
            activation_bytes_ += 2 * sizes[from];
        } else {
            const PoolSpec spec = pool_spec(network, std::get<PoolNode>(node));
            row_words_ = std::max(row_words_, spec.row_words());
            steps_.emplace_back(PoolStep{spec, placement.offset[in], placement.offset[out]});
        }
    }
}

void Plan::add_conv(const Network& network, Packers& packers, Engine engine, std::size_t index) {
    const auto& node = std::get<ConvNode>(network.nodes[index]);
    ConvSpec spec = conv_spec(network, node, batch_);
    if (node.input == network.input && input_.folding.columns > 0) {
        spec = folded_spec(spec, input_.folding);
    }
    ConvStep step;
    step.node = index;
    step.kernel = make_conv(spec, node.posterior.geometry, engine);
    step.packer = &packers.get(node, index, step.kernel->layout());
    if (node.normal_bias != nullptr) step.bias.emplace();
    if (!node.bias_step.empty()) {
        step.bias = make_bias_stream(spec.out_channels, 2 * node.ordinal + 1);
    }
    weight_bytes_ = std::max(weight_bytes_, step.packer->bytes());
    scratch_bytes_ = std::max(scratch_bytes_, step.packer->scratch_bytes());
    scratchpad_bytes_ = std::max(scratchpad_bytes_, step.kernel->scratchpad_bytes());
    bias_channels_ = std::max(bias_channels_, static_cast<std::size_t>(spec.out_channels));
    steps_.emplace_back(std::move(step));
}

}  // namespace sigmabench
