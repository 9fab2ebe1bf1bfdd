#include "plan.hpp"

#include <algorithm>
#include <stdexcept>

namespace sigmabench {
namespace {

// For a second-level cache of 2 MiB, of which a prefix's maps and weights take most.
constexpr std::size_t kPrefixBytes = 1 << 20, kPrefixWeights = 640 << 10;
constexpr std::int64_t kPrefixPixels = 14 * 14;

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
        for (const int read : node_reads(network.nodes[k])) {
            last[static_cast<std::size_t>(read)] = step;
        }
    }
    return last;
}

// What the nodes [first, end) read and write, but for their result (of all nodes the logits), which
// lies elsewhere. The arena begins with `before` bytes, in use until the first of the nodes runs.
Placement place(const Network& network, const std::vector<std::size_t>& sizes, std::size_t first,
                std::size_t end, std::size_t before) {
    Arena arena;
    Placement placement;
    placement.offset.assign(sizes.size(), 0);
    placement.in_place.assign(network.nodes.size(), false);
    const std::vector<int> last = last_readers(network);
    const auto start = static_cast<std::size_t>(first == 0 ? network.input
                                                           : node_output(network.nodes[first - 1]));
    const int result =
        end < network.nodes.size() ? node_output(network.nodes[end - 1]) : network.output;
    std::vector<bool> live(sizes.size(), false);
    if (before > 0) arena.allocate(before);
    placement.offset[start] = arena.allocate(sizes[start]);
    live[start] = true;
    if (before > 0) arena.release(0);
    for (std::size_t k = first; k < end; ++k) {
        const Node& node = network.nodes[k];
        const bool elsewhere = node_output(node) == result;
        const auto out = static_cast<std::size_t>(node_output(node));
        const auto* conv = std::get_if<ConvNode>(&node);
        const int residual = conv != nullptr ? conv->residual : -1;
        const auto from = static_cast<std::size_t>(std::max(residual, 0));
        const bool free_after = residual >= 0 && last[from] == static_cast<int>(k);
        if (elsewhere) {
            // It has its place.
        } else if (free_after && conv->input != residual && sizes[from] == sizes[out]) {
            placement.offset[out] = placement.offset[from];
            placement.in_place[k] = true;
            live[from] = false;
        } else {
            placement.offset[out] = arena.allocate(sizes[out]);
        }
        live[out] = !elsewhere;
        std::size_t together = 0;
        for (std::size_t a = 0; a < sizes.size(); ++a) together += live[a] ? sizes[a] : 0;
        placement.live = std::max(placement.live, together);
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

// The specification of a piece: images of a batch, or rows of an image.
ConvSpec piece_of(const ConvSpec& whole, const Rows& part, bool images) {
    ConvSpec piece = whole;
    if (images) {
        piece.batch = part.last - part.first;
        return piece;
    }
    const std::int64_t reach = (whole.kernel[0] - 1) * whole.dilation[0] + 1;
    const std::int64_t top = part.first * whole.stride[0] - whole.padding[0];
    const std::int64_t bottom = (part.last - 1) * whole.stride[0] - whole.padding[0] + reach;
    piece.padding[0] = std::max<std::int64_t>(-top, 0);
    piece.in_height = std::min(bottom, whole.in_height) - std::max<std::int64_t>(top, 0);
    piece.out_height = part.last - part.first;
    return piece;
}

// Kernels for the pieces, of the kind that computes the whole and reading the same buffer of
// weights, one for equal pieces; none where there is nothing to do. Where there is no such kernel
// for a piece, the first thread does the whole: results must not depend on who works on a pass.
std::vector<std::shared_ptr<const ConvKernel>> make_kernels(const ConvSpec& whole,
                                                            const Geometry& geometry, Engine engine,
                                                            bool images, std::vector<Rows>& parts) {
    std::vector<std::shared_ptr<const ConvKernel>> kernels(parts.size());
    const std::shared_ptr<const ConvKernel> model = make_conv(whole, geometry, engine);
    const Rows all = {0, images ? whole.batch : whole.out_height};
    if (parts.size() == 1) return {model};
    for (std::size_t part = 0; part < parts.size(); ++part) {
        const Rows rows = parts[part];
        if (rows.first == rows.last) continue;
        const bool equal = images && part > 0 &&
                           rows.last - rows.first == parts[part - 1].last - parts[part - 1].first;
        kernels[part] =
            equal ? kernels[part - 1] : model->again(piece_of(whole, rows, images), geometry);
        if (kernels[part] == nullptr) {
            parts.assign(parts.size(), Rows());
            parts[0] = all;
            kernels.assign(parts.size(), nullptr);
            kernels[0] = model;
            break;
        }
    }
    return kernels;
}

}  // namespace

const WeightSource& Packers::get(const ConvNode& node, std::size_t index,
                                 const ConvKernel& kernel) {
    for (const auto& source : of_[index]) {
        if (source->fits(kernel)) return *source;
    }
    if (node.normal != nullptr) {
        of_[index].push_back(std::make_unique<FloatSource>(node.normal, kernel));
    } else {
        of_[index].push_back(std::make_unique<Packer>(stores_[index], 2 * node.ordinal, kernel));
    }
    return *of_[index].back();
}

std::size_t Packers::index_bytes() const {
    std::size_t bytes = 0;
    for (const auto& sources : of_) {
        for (const auto& source : sources) bytes += source->index_bytes();
    }
    return bytes;
}

std::unique_ptr<ConvKernel> make_conv(const ConvSpec& spec, const Geometry& geometry,
                                      Engine engine) {
    if (engine == Engine::automatic) {
        if (auto kernel = make_amx_conv(spec, geometry)) return kernel;
    }
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

// The longest prefix after which one activation goes on, with maps large enough to fill the kernels
// and weights that stay in the cache beside them.
void Plan::plan_prefix(const Network& network, const std::vector<std::size_t>& sizes) {
    const std::int64_t mine = batch_ / parts_;
    if (batch_ == 1 || batch_ % parts_ != 0) return;
    const std::vector<int> last = last_readers(network);
    std::size_t weights = 0, largest = 0;
    for (std::size_t k = 0; k + 1 < network.nodes.size(); ++k) {
        const Node& node = network.nodes[k];
        const Image& out = network.at(node_output(node)).image;
        const auto size = [&](int a) {
            return sizes[static_cast<std::size_t>(a)] / static_cast<std::size_t>(batch_);
        };
        std::size_t beside = size(node_output(node));
        for (const int read : node_reads(node)) beside += size(read);
        if (const auto* conv = std::get_if<ConvNode>(&node)) {
            weights += static_cast<std::size_t>(conv->posterior.geometry.weights());
        }
        largest = std::max(largest, beside);
        if (weights > kPrefixWeights || out.height * out.width < kPrefixPixels) break;
        bool alone = true;  // no activation made before this one is read after it
        for (std::size_t j = 0; j < k && alone; ++j) {
            const auto made = static_cast<std::size_t>(node_output(network.nodes[j]));
            alone = last[made] <= static_cast<int>(k);
        }
        alone = alone && last[static_cast<std::size_t>(network.input)] <= static_cast<int>(k);
        if (!alone || largest * static_cast<std::size_t>(mine) < 2 * kPrefixBytes) continue;
        std::int64_t images = 1;
        for (std::int64_t n = 1; n <= mine; ++n) {
            const bool fits = largest * static_cast<std::size_t>(n) <= kPrefixBytes;
            if (mine % n == 0 && fits) images = n;
        }
        prefix_ = {k + 1, images, mine / images, size(node_output(node))};
    }
}

// How the input reaches the first layer; its bytes there.
std::size_t Plan::plan_input(const Network& network, Engine engine) {
    const Image& image = network.at(network.input).image;
    for (const Node& node : network.nodes) {
        const auto* conv = std::get_if<ConvNode>(&node);
        if (engine == Engine::portable || conv == nullptr || conv->input != network.input) continue;
        input_.folding = input_folding(network, *conv);
    }
    for (const Rows& part : rows(image.height, prefix_.steps > 0)) {
        input_.pieces.push_back({0, part});
    }
    const Folding& folding = input_.folding;
    const std::int64_t line = image.width * image.channels;
    row_words_ = (folding.columns > 0 ? folding.row_bytes() : 0) / 4 +
                 static_cast<std::size_t>(line) / 4 + 2;
    const std::int64_t size =
        folding.columns == 0 ? image.size() : image.height * folding.out_width * folding.folded;
    return static_cast<std::size_t>(images(prefix_.steps > 0) * size) *
           type_bytes(network.at(network.input).type());
}

std::int64_t Plan::multiply_adds(std::size_t step) const {
    const auto* conv = std::get_if<ConvStep>(&steps_[step]);
    std::int64_t count = 0;
    if (conv == nullptr) return count;
    for (const ConvPiece& piece : conv->pieces) {
        if (piece.kernel != nullptr) count += piece.kernel->multiply_adds();
    }
    return step < prefix_.steps ? count * prefix_.rounds : count;
}

// Each thread's rows of a batch of maps: whole images, or rows of the one image; in the prefix all
// of its own images.
std::vector<Rows> Plan::rows(std::int64_t height, bool in_prefix) const {
    if (in_prefix) return {parts(), Rows{0, prefix_.images * height}};
    const bool one = batch_ == 1;
    const std::int64_t units = one ? height : batch_, rows = one ? 1 : height;
    std::vector<Rows> all;
    for (std::int64_t part = 0; part < parts_; ++part) {
        all.push_back({units * part / parts_ * rows, units * (part + 1) / parts_ * rows});
    }
    return all;
}

Plan::Plan(const Network& network, Packers& packers, Engine engine, std::int64_t batch,
           std::int64_t parts)
    : batch_(batch), parts_(parts) {
    std::vector<std::size_t> sizes;
    for (std::size_t a = 0; a < network.activations.size(); ++a) {
        sizes.push_back(activation_size(network, static_cast<int>(a)));
    }
    const auto input = static_cast<std::size_t>(network.input);
    // float32 read, numbers written.
    input_.bytes = sizes[input] / type_bytes(network.at(network.input).type()) * 4;
    plan_prefix(network, sizes);
    sizes[input] = plan_input(network, engine);
    const bool prefixed = prefix_.steps > 0;
    const auto whole = [&](std::size_t bytes, bool inside) {  // of the batch
        return inside ? bytes / static_cast<std::size_t>(images(true)) *
                            static_cast<std::size_t>(batch_)
                      : bytes;
    };
    input_.bytes += whole(sizes[input], prefixed);
    for (std::size_t k = 0; k + 1 < prefix_.steps; ++k) {
        std::size_t& size = sizes[static_cast<std::size_t>(node_output(network.nodes[k]))];
        size = size / static_cast<std::size_t>(batch_) * static_cast<std::size_t>(images(true));
    }
    const Placement placement = place_all(network, sizes);
    for (std::size_t k = 0; k < this->parts(); ++k) {
        input_.pieces[k].dst = own(prefixed, k) + placement.offset[input];
    }
    for (std::size_t k = 0; k < network.nodes.size(); ++k) {
        const Node& node = network.nodes[k];
        const auto out = static_cast<std::size_t>(node_output(node));
        const bool inside = k < prefix_.steps, last = k + 1 == prefix_.steps;
        std::size_t& moved = activation_bytes_.emplace_back(whole(sizes[out], inside && !last));
        for (const int read : node_reads(node)) {
            moved += whole(sizes[static_cast<std::size_t>(read)], inside);
        }
        if (const auto* conv = std::get_if<ConvNode>(&node)) {
            const auto in = static_cast<std::size_t>(conv->input);
            ConvStep& step = add_conv(network, packers, engine, k);
            step.logits = conv->output == network.output;
            const bool residual = conv->residual >= 0;
            const auto from = static_cast<std::size_t>(std::max(conv->residual, 0));
            const bool copies = residual && !placement.in_place[k];
            if (copies) moved += 2 * whole(sizes[from], inside);
            for (std::size_t part = 0; part < this->parts(); ++part) {
                ConvPiece& piece = step.pieces[part];
                const std::size_t mine = own(inside, part);
                piece.residual = copies ? mine + placement.offset[from] + piece.dst : 0;
                piece.residual_bytes = copies ? piece.residual_bytes : 0;
                piece.src += mine + placement.offset[in];
                if (!step.logits) piece.dst += own(inside && !last, part) + placement.offset[out];
            }
        } else if (const auto* pool = std::get_if<PoolNode>(&node)) {
            const auto in = static_cast<std::size_t>(pool->input);
            PoolStep step{pool_spec(network, *pool), {}};
            row_words_ = std::max(row_words_, step.spec.row_words());
            for (const Rows& part : rows(step.spec.out.height, inside)) {
                const std::size_t k = step.pieces.size();
                step.pieces.push_back({own(inside, k) + placement.offset[in],
                                       own(inside && !last, k) + placement.offset[out], part});
            }
            steps_.emplace_back(std::move(step));
        } else if (const auto* norm = std::get_if<GroupNormNode>(&node)) {
            const auto in = static_cast<std::size_t>(norm->input);
            GroupNormStep step{group_norm_spec(network, *norm), {}};
            row_words_ = std::max(row_words_, step.spec.row_words());
            for (const Rows& part : rows(step.spec.image.height, inside)) {
                const std::size_t k = step.pieces.size();
                step.pieces.push_back({own(inside, k) + placement.offset[in],
                                       own(inside && !last, k) + placement.offset[out], part});
            }
            steps_.emplace_back(std::move(step));
        } else {
            const auto& join = std::get<JoinNode>(node);
            JoinStep step{join_spec(network, join), {}};
            for (const Rows& part : rows(network.at(join.output).image.height, inside)) {
                const std::size_t k = step.pieces.size();
                JoinPiece piece{{}, own(inside && !last, k) + placement.offset[out], part};
                for (const int read : join.inputs) {
                    piece.src.push_back(own(inside, k) +
                                        placement.offset[static_cast<std::size_t>(read)]);
                }
                step.pieces.push_back(std::move(piece));
            }
            steps_.emplace_back(std::move(step));
        }
    }
}

// The prefix's activations for each thread, then those of the whole batch.
Placement Plan::place_all(const Network& network, const std::vector<std::size_t>& sizes) {
    const std::size_t split = prefix_.steps, count = network.nodes.size();
    Placement prefix;
    if (split > 0) {
        prefix = place(network, sizes, 0, split, 0);
        prefix_.own_bytes = prefix.bytes;
    }
    Placement all = place(network, sizes, split, count, parts() * prefix_.own_bytes);
    arena_bytes_ = all.bytes;
    live_bytes_ = all.live;
    if (split == 0) return all;
    const auto crossing = static_cast<std::size_t>(node_output(network.nodes[split - 1]));
    live_bytes_ = std::max(live_bytes_, parts() * prefix.live + sizes[crossing]);
    all.offset[static_cast<std::size_t>(network.input)] =
        prefix.offset[static_cast<std::size_t>(network.input)];
    for (std::size_t k = 0; k < split; ++k) {
        const auto made = static_cast<std::size_t>(node_output(network.nodes[k]));
        if (made != crossing) all.offset[made] = prefix.offset[made];
        all.in_place[k] = prefix.in_place[k];
    }
    return all;
}

// The step with its pieces' offsets from the beginning of its activations.
ConvStep& Plan::add_conv(const Network& network, Packers& packers, Engine engine,
                         std::size_t index) {
    const auto& node = std::get<ConvNode>(network.nodes[index]);
    const bool inside = index < prefix_.steps;
    ConvSpec whole = conv_spec(network, node, images(inside));
    if (node.input == network.input && input_.folding.columns > 0) {
        whole = folded_spec(whole, input_.folding);
    }
    const bool images = batch_ > 1;  // a single one is cut into rows
    const Geometry& geometry = node.posterior.geometry;
    std::vector<Rows> parts = rows(whole.out_height, inside);
    for (Rows& part : parts) {  // a piece counts images, or rows
        if (images) part = {part.first / whole.out_height, part.last / whole.out_height};
    }
    const auto kernels = inside ? std::vector<std::shared_ptr<const ConvKernel>>(
                                      parts.size(), make_conv(whole, geometry, engine))
                                : make_kernels(whole, geometry, engine, images, parts);
    ConvStep step;
    step.node = index;
    const auto src_row =
        static_cast<std::size_t>(whole.in_width * whole.in_channels) * type_bytes(whole.src);
    const auto dst_row =
        static_cast<std::size_t>(whole.out_width * whole.out_channels) * type_bytes(whole.dst);
    for (std::size_t k = 0; k < parts.size(); ++k) {
        ConvPiece piece{kernels[k], 0, 0, 0, 0};
        const std::int64_t first = parts[k].first, count = parts[k].last - first;
        const std::int64_t top =
            images ? first * whole.in_height
                   : std::max<std::int64_t>(first * whole.stride[0] - whole.padding[0], 0);
        piece.src = static_cast<std::size_t>(top) * src_row;
        piece.dst = static_cast<std::size_t>(images ? first * whole.out_height : first) * dst_row;
        piece.residual_bytes =
            static_cast<std::size_t>(images ? count * whole.out_height : count) * dst_row;
        if (piece.kernel != nullptr) {
            if (step.source == nullptr) {
                step.source = &packers.get(node, index, *piece.kernel);
            }
            scratchpad_bytes_ = std::max(scratchpad_bytes_, piece.kernel->scratchpad_bytes());
        }
        step.pieces.push_back(std::move(piece));
    }
    for (std::size_t k = 0; parts_ > 1 && k < parts.size(); ++k) {
        auto share = step.source->share(k, parts.size());
        if (share != nullptr) step.shares.push_back(std::move(share));
    }
    if (node.normal_bias != nullptr) step.bias.emplace();
    if (!node.bias_step.empty()) {
        step.bias = make_bias_stream(whole.out_channels, 2 * node.ordinal + 1);
    }
    const std::size_t drawn = step.source->sampled() ? round_up(step.source->bytes(), kLine) : 0;
    const auto channels = static_cast<std::size_t>(whole.out_channels);
    if (inside) {  // one after the other
        step.weights_at = prefix_weights_;
        step.bias_at = prefix_channels_;
        prefix_weights_ += drawn;
        prefix_channels_ += channels;
    }
    weight_bytes_ = std::max(weight_bytes_, step.weights_at + drawn);
    scratch_bytes_ = std::max(scratch_bytes_, step.source->scratch_bytes());
    bias_channels_ = std::max(bias_channels_, step.bias_at + channels);
    steps_.emplace_back(std::move(step));
    return std::get<ConvStep>(steps_.back());
}

}  // namespace sigmabench
