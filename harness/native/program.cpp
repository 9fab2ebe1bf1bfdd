#include "program.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sigmabench {
namespace {

constexpr std::size_t kPlans = 8;  // batch sizes kept ready
constexpr int kPoison = 99;        // what a buffer holds that others have used

const char* path_of(WeightPath path) {
    switch (path) {
        case WeightPath::direct: return "direct";
        case WeightPath::gather: return "gather";
        default: return "reorder";
    }
}

}  // namespace

Program::Program(Network network, const AliasTables& tables, Engine engine, SamplerPath path,
                 int threads)
    : network_(std::move(network)),
      tables_(tables),
      engine_(engine),
      path_(path),
      threads_(threads) {
    network_.check();
    if (!supported(path_)) {
        throw std::invalid_argument(std::string("this CPU has not what the sampler's path ") +
                                    path_name(path_) + " needs");
    }
    if (network_.real() && engine_ == Engine::portable) {
        throw std::invalid_argument("the portable engine computes int8 alone");
    }
    if (!network_.real() && engine_ == Engine::onednn && !onednn_exact()) {
        throw std::invalid_argument(
            "oneDNN's int8 sums saturate on this CPU, which has no VNNI; use the portable engine");
    }
    state_ = new State(network_, threads_);
}

// A forked child leaves its parent's state as it is: there are no threads to join, and what another
// thread was changing stays half changed.
Program::~Program() {
    State* const mine = state_.load();
    if (mine->process == getpid()) delete mine;
}

Program::State::State(const Network& network, int threads)
    : process(getpid()), packers(network), workers(threads) {}

Program::State& Program::state() {
    State* mine = state_.load();
    if (mine->process == getpid()) return *mine;
    auto fresh = std::make_unique<State>(network_, threads_);
    if (state_.compare_exchange_strong(mine, fresh.get())) mine = fresh.release();
    return *mine;
}

Executor& Program::Prepared::executor(const Network& network, int worker) {
    auto& mine = executors[static_cast<std::size_t>(worker)];
    if (!mine) mine = std::make_unique<Executor>(network, plan);
    return *mine;
}

Program::Prepared& Program::prepare(State& state, std::int64_t batch) const {
    if (batch < 1) throw std::invalid_argument("the batch is empty");
    auto& prepared = state.prepared;
    auto found = prepared.find(batch);
    if (found == prepared.end()) {
        if (prepared.size() >= kPlans) {
            prepared.erase(std::min_element(
                prepared.begin(), prepared.end(),
                [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
        }
        found = prepared.try_emplace(batch, network_, state.packers, engine_, batch, threads_)
                    .first;
    }
    found->second.used = ++state.clock;
    return found->second;
}

void Program::logits(const float* x, std::int64_t batch, std::uint64_t seed, std::uint32_t first,
                     std::int64_t count, float* out) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const KeySchedule keys(seed);
    const std::int64_t spare = threads_ / std::max<std::int64_t>(count, 1);
    const std::int64_t parts = std::max<std::int64_t>(std::min(batch, spare), 1);
    const std::int64_t size = (batch + parts - 1) / parts;
    Prepared& prepared = prepare(mine, size);
    mine.latest = size;
    if (parts > 1) {
        slices(mine, prepared, batch, x, keys, first, count, out);
    } else {
        whole_batches(mine, prepared, x, keys, first, count, out);
    }
}

void Program::whole_batches(State& state, Prepared& prepared, const float* x,
                            const KeySchedule& keys, std::uint32_t first, std::int64_t count,
                            float* out) {
    const std::int64_t step = prepared.plan.batch() * network_.at(network_.output).image.size();
    state.workers.run(count, [&](std::int64_t pass, int worker) {
        const Draw draw{path_, tables_, keys, first + static_cast<std::uint32_t>(pass), draws_};
        prepared.executor(network_, worker).run(x, draw, nullptr, out + pass * step);
    });
}

void Program::draw_ahead(State& state, Prepared& prepared, const KeySchedule& keys,
                         std::uint32_t first, std::int64_t count) {
    const auto& steps = prepared.plan.steps();
    const auto layers = static_cast<std::int64_t>(steps.size());
    std::vector<DrawnPass>& passes = prepared.drawn;
    while (static_cast<std::int64_t>(passes.size()) < count) {
        DrawnPass pass;
        for (const auto& any : steps) {
            const auto* step = std::get_if<ConvStep>(&any);
            const bool samples = step != nullptr && step->packer->sampled();
            const bool biased = step != nullptr && step->bias.has_value();
            pass.weights.emplace_back(samples ? step->packer->bytes() : 0);
            pass.biases.emplace_back(biased ? conv(step->node).bias.size() : 0);
        }
        passes.push_back(std::move(pass));  // whole, or not at all
    }
    state.workers.run(count * layers, [&](std::int64_t task, int worker) {
        const auto pass = static_cast<std::size_t>(task / layers);
        const auto index = static_cast<std::size_t>(task % layers);
        const auto* step = std::get_if<ConvStep>(&steps[index]);
        if (step == nullptr) return;
        const Draw draw{path_, tables_, keys, first + static_cast<std::uint32_t>(pass), draws_};
        Drawer& drawer = prepared.executor(network_, worker).drawer();
        if (step->packer->sampled()) {
            drawer.weights(*step, draw, passes[pass].weights[index].data());
        }
        if (step->bias) drawer.bias(*step, draw, passes[pass].biases[index].data());
    });
}

// Fewer passes than threads: every pass is drawn once, then runs on several parts of the batch. All
// parts have the plan's size; the last one begins early and repeats images of the one before.
void Program::slices(State& state, Prepared& prepared, std::int64_t batch, const float* x,
                     const KeySchedule& keys, std::uint32_t first, std::int64_t count,
                     float* out) {
    draw_ahead(state, prepared, keys, first, count);
    const std::int64_t size = prepared.plan.batch();
    const std::int64_t classes = network_.at(network_.output).image.size();
    const std::int64_t pixels = network_.at(network_.input).image.size();
    const std::int64_t used = (batch + size - 1) / size;
    state.workers.run(count * used, [&](std::int64_t task, int worker) {
        const std::int64_t pass = task / used, begin = task % used * size;
        const std::int64_t from = std::min(begin, batch - size);
        const Draw draw{path_, tables_, keys, first + static_cast<std::uint32_t>(pass), draws_};
        Executor& executor = prepared.executor(network_, worker);
        const DrawnPass& drawn = prepared.drawn[static_cast<std::size_t>(pass)];
        float* to = out + (pass * batch + begin) * classes;
        if (from == begin) {
            executor.run(x + from * pixels, draw, &drawn, to);
            return;
        }
        AlignedBuffer<float> part(static_cast<std::size_t>(size * classes));
        executor.run(x + from * pixels, draw, &drawn, part.data());
        std::copy(part.data() + (begin - from) * classes, part.data() + size * classes, to);
    });
}

const ConvNode& Program::conv(std::size_t node) const {
    return std::get<ConvNode>(network_.nodes[node]);
}

std::size_t Program::node_of(const std::string& name) const {
    for (std::size_t k = 0; k < network_.nodes.size(); ++k) {
        const Node& node = network_.nodes[k];
        if (std::holds_alternative<ConvNode>(node) &&
            network_.at(node_output(node)).name == name) {
            return k;
        }
    }
    throw std::out_of_range("there is no layer named " + name);
}

const ConvStep& Program::step_of(const Plan& plan, std::size_t node) const {
    return std::get<ConvStep>(plan.steps()[node]);  // a step for every node, in order
}

std::vector<std::int8_t> Program::sample(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    const PackedWeights packed = this->packed(node, seed, mc);
    const Geometry& geometry = conv(node).posterior.geometry;
    std::vector<std::int8_t> weights(static_cast<std::size_t>(geometry.weights()));
    for (std::size_t at = 0; at < packed.weight.size(); ++at) {
        const std::int32_t weight = packed.weight[at];
        if (weight >= 0) weights[static_cast<std::size_t>(weight)] = packed.bytes[at];
    }
    return weights;
}

std::vector<float> Program::sample_real(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const ConvStep& step = step_of(prepare(mine, mine.latest).plan, node);
    const auto& source = dynamic_cast<const FloatSource&>(*step.packer);
    if (!source.sampled()) return source.logical(source.fixed());
    AlignedBuffer<std::int8_t> scratch(source.scratch_bytes()), buffer(source.bytes());
    std::memset(scratch.data(), kPoison, scratch.size());
    std::memset(buffer.data(), kPoison, buffer.size());
    source.sample(path_, tables_, KeySchedule(seed), mc, scratch.data(), buffer.data());
    return source.logical(buffer.data());
}

PackedWeights Program::packed(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const auto* source =
        dynamic_cast<const Packer*>(step_of(prepare(mine, mine.latest).plan, node).packer);
    if (source == nullptr) throw std::invalid_argument("a float network has no integer weights");
    const Packer& packer = *source;
    PackedWeights packed;
    packed.weight = packer.weight_of_byte();
    AlignedBuffer<std::int8_t> scratch(packer.scratch_bytes()), buffer(packer.bytes());
    std::memset(scratch.data(), kPoison, scratch.size());
    std::memset(buffer.data(), kPoison, buffer.size());
    const std::int8_t* bytes = packer.fixed();
    if (packer.sampled()) {
        packer.sample(path_, tables_, KeySchedule(seed), mc, scratch.data(), buffer.data());
        bytes = buffer.data();
    }
    packed.bytes.assign(bytes, bytes + packed.weight.size());
    return packed;
}

std::vector<float> Program::sample_bias(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const Plan& plan = prepare(mine, mine.latest).plan;
    const ConvStep& step = step_of(plan, node);
    std::vector<float> bias = conv(node).bias;
    if (!step.bias) return bias;
    const KeySchedule keys(seed);
    const Draw draw{path_, tables_, keys, mc, draws_};
    Drawer(network_, plan).bias(step, draw, bias.data());
    return bias;
}

std::vector<std::int32_t> Program::accumulators(std::size_t index, std::int64_t batch,
                                                const std::uint8_t* x,
                                                const std::int8_t* weights) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const ConvNode& node = conv(index);
    if (network_.real()) throw std::invalid_argument("a float network has no integer sums");
    const Image& image = network_.at(node.input).image;
    AlignedBuffer<std::uint8_t> src(static_cast<std::size_t>(batch * image.size()));
    for (std::int64_t n = 0; n < batch; ++n) {
        interleave(x + n * image.size(), image, src.data() + n * image.size());
    }
    ConvSpec spec = conv_spec(network_, node, batch);
    Folding folding;
    if (engine_ != Engine::portable) folding = input_folding(network_, node);
    if (folding.columns > 0) {
        spec = folded_spec(spec, folding);
        AlignedBuffer<std::uint8_t> row(folding.row_bytes());
        AlignedBuffer<std::uint8_t> folded(
            static_cast<std::size_t>(batch * spec.in_height * spec.in_width * spec.in_channels));
        fold_columns(src.data(), batch, folding, row.data(), folded.data());
        src = std::move(folded);
    }
    spec.dst = Type::s32;
    spec.relu = spec.has_residual = false;
    const auto kernel = make_conv(spec, node.posterior.geometry, engine_);
    const Packer packer(node.posterior, false, 0, kernel->layout());
    AlignedBuffer<std::int8_t> scratch(packer.scratch_bytes()), packed(packer.bytes());
    packer.pack(weights, scratch.data(), packed.data());
    AlignedBuffer<std::uint8_t> scratchpad(kernel->scratchpad_bytes());
    std::vector<std::int32_t> sums(static_cast<std::size_t>(
        batch * network_.at(node.output).image.size()));
    kernel->bind(src.data(), scratchpad.data())->run(packed.data(), nullptr, sums.data());
    return sums;
}

std::int64_t Program::latest_batch() {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    return mine.latest;
}

std::vector<LayerReport> Program::describe(std::int64_t batch) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const Plan& plan = prepare(mine, batch).plan;
    std::vector<LayerReport> reports;
    for (const auto& any : plan.steps()) {
        const auto* step = std::get_if<ConvStep>(&any);
        if (step == nullptr) continue;
        reports.push_back({network_.at(conv(step->node).output).name,
                           step->kernel->implementation(), path_of(step->packer->path())});
    }
    return reports;
}

TrafficReport Program::traffic(std::int64_t batch) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const Plan& plan = prepare(mine, batch).plan;
    TrafficReport report;
    report.activations = plan.activation_bytes();
    for (const auto& any : plan.steps()) {
        const auto* step = std::get_if<ConvStep>(&any);
        if (step == nullptr) continue;
        report.mean += step->packer->mean_bytes();
        report.sigma += step->packer->sigma_bytes();
        report.sampled += step->packer->sampled_bytes();
    }
    return report;
}

}  // namespace sigmabench
