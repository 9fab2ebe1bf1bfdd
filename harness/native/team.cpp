#include "team.hpp"

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "real.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sigmabench {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr int kSpins = 20;  // each takes long, and may be all that a single core does
#else
constexpr int kSpins = 20000;  // about a third of a millisecond, then other processes get the core
#endif

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

}  // namespace

void Barrier::wait() {
    const std::uint64_t phase = phase_.load(std::memory_order_acquire);
    if (come_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
        come_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
        if (failed_.load(std::memory_order_acquire)) {
            throw std::runtime_error("another thread of this pass failed");
        }
        if (spins < kSpins) {
            relax();
        } else {
            std::this_thread::yield();
        }
    }
}

Drawer::Drawer(const Network& network, const Plan& plan)
    : network_(network),
      scratch_(plan.scratch_bytes()),
      noise_(round_up(plan.bias_channels(), kLanes) * sizeof(float)) {}

void Drawer::weights(const ConvStep& step, const Draw& draw, std::int8_t* out) {
    const auto& node = std::get<ConvNode>(network_.nodes[step.node]);
    step.source->sample(draw.path, draw.tables, draw.keys, draw.mc, scratch_.data(), out);
    draw.count.fetch_add(static_cast<std::uint64_t>(node.posterior.geometry.weights()),
                         std::memory_order_relaxed);
}

void Drawer::share(const ConvStep& step, const Draw& draw, std::size_t part, std::int8_t* out) {
    if (step.shares.empty()) {
        if (part == 0) weights(step, draw, out);
        return;
    }
    const std::uint64_t count =
        step.shares[part]->sample(draw.path, draw.tables, draw.keys, draw.mc, out);
    draw.count.fetch_add(count, std::memory_order_relaxed);
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

Team::Member::Member(const Network& network, const Plan& plan)
    : drawer(network, plan), scratchpad(plan.scratchpad_bytes()), row(4 * plan.row_words()) {}

Team::Team(const Network& network, const Plan& plan)
    : network_(network), plan_(plan), barrier_(plan.parts()), arena_(plan.arena_bytes()) {
    const std::size_t sides = plan.parts() > 1 ? 2 : 1;
    for (std::size_t side = 0; side < sides; ++side) {
        weights_.emplace_back(plan.weight_bytes());
        biases_.emplace_back(plan.bias_channels());
    }
    for (std::size_t k = 0; k < plan.parts(); ++k) {
        members_.push_back(std::make_unique<Member>(network, plan));
        for (const auto& any : plan.steps()) {
            const auto* step = std::get_if<ConvStep>(&any);
            const ConvPiece* piece = step == nullptr ? nullptr : &step->pieces[k];
            members_[k]->bound.push_back(piece == nullptr || piece->kernel == nullptr
                                             ? nullptr
                                             : piece->kernel->bind(arena_.data() + piece->src,
                                                                   members_[k]->scratchpad.data()));
        }
    }
    std::size_t side = 0;
    for (std::size_t k = 0; k < plan.steps().size(); ++k) {
        if (k > 0 && k == plan.prefix().steps) side = (side + 1) % sides;
        side_.push_back(side);
        const bool draws = std::holds_alternative<ConvStep>(plan.steps()[k]);
        if (draws && k >= plan.prefix().steps) side = (side + 1) % sides;
    }
}

TeamMemory Team::memory() const {
    TeamMemory memory;
    memory.activations = arena_.size();
    for (const auto& buffer : weights_) memory.weights += buffer.size();
    for (const auto& buffer : biases_) memory.scratch += 4 * buffer.size();
    for (const auto& member : members_) {
        memory.scratch += member->drawer.bytes() + member->scratchpad.size() + member->row.size();
    }
    return memory;
}

// Adds the time since it was last asked to a counter, if anyone wants to know.
class Team::Clock {
 public:
    explicit Clock(bool wanted) : wanted_(wanted) {
        if (wanted_) last_ = now();
    }
    void add(std::int64_t StepTime::* part, Profile* profile, std::size_t step) {
        if (!wanted_) return;
        const auto time = now();
        (*profile)[step].*part +=
            std::chrono::duration_cast<std::chrono::nanoseconds>(time - last_).count();
        last_ = time;
    }

 private:
    using Time = std::chrono::steady_clock::time_point;
    static Time now() { return std::chrono::steady_clock::now(); }
    bool wanted_;
    Time last_;
};

void Team::run(std::size_t member, const float* x, const Draw& draw, float* logits,
               Profile* profile) {
    const std::size_t count = plan_.steps().size(), first = plan_.prefix().steps;
    Clock clock(profile != nullptr);
    if (first > 0) {
        prefix(member, x, draw, clock, profile);
    } else {
        input(member, x);
        clock.add(&StepTime::rest, profile, count);
    }
    for (std::size_t k = first; k < count; ++k) {
        const auto* conv = std::get_if<ConvStep>(&plan_.steps()[k]);
        if (conv != nullptr) this->draw(member, k, draw);
        clock.add(&StepTime::sampling, profile, k);
        meet();
        clock.add(&StepTime::waiting, profile, k);
        const bool last = conv != nullptr && conv->logits;
        step(member, k, last ? reinterpret_cast<std::uint8_t*>(logits) : arena_.data());
        clock.add(conv == nullptr ? &StepTime::rest : &StepTime::compute, profile, k);
    }
}

void Team::draw(std::size_t member, const Draw& draw) {
    for (std::size_t k = 0; k < plan_.steps().size(); ++k) {
        if (!std::holds_alternative<ConvStep>(plan_.steps()[k])) continue;
        this->draw(member, k, draw);
        meet();  // the layer after the next is drawn over this one
    }
}

void Team::prefix(std::size_t member, const float* x, const Draw& draw, Clock& clock,
                  Profile* profile) {
    const Prefix& prefix = plan_.prefix();
    for (std::size_t k = 0; k < prefix.steps; ++k) {
        if (std::holds_alternative<ConvStep>(plan_.steps()[k])) this->draw(member, k, draw);
        clock.add(&StepTime::sampling, profile, k);
    }
    meet();
    clock.add(&StepTime::waiting, profile, 0);
    const std::int64_t pixels = network_.at(network_.input).image.size();
    for (std::int64_t round = 0; round < prefix.rounds; ++round) {
        const std::int64_t first = plan_.first_image(member, round);
        input(member, x + first * pixels);
        clock.add(&StepTime::rest, profile, plan_.steps().size());
        for (std::size_t k = 0; k < prefix.steps; ++k) {
            const bool last = k + 1 == prefix.steps;
            const std::size_t behind =
                last ? static_cast<std::size_t>(first) * prefix.out_bytes : 0;
            step(member, k, arena_.data() + behind);
            const bool conv = std::holds_alternative<ConvStep>(plan_.steps()[k]);
            clock.add(conv ? &StepTime::compute : &StepTime::rest, profile, k);
        }
    }
}

void Team::input(std::size_t member, const float* x) {
    const Activation& in = network_.at(network_.input);
    const InputStep& step = plan_.input();
    const Rows rows = step.pieces[member].rows;
    std::uint8_t *row = members_[member]->row.data(),
                 *out = arena_.data() + step.pieces[member].dst;
    std::int32_t largest = 0;
    if (network_.real()) {
        largest = convert_input(x, rows, in.image, in.type(), out);
    } else if (step.folding.columns > 0) {
        largest = fold_input(x, rows, step.folding, in.scale, in.type(), row, out);
    } else {
        largest = quantize_input(x, rows, in.image, in.scale, in.type(), row, out);
    }
    if (largest > kLargestFinite) throw NotFinite(rows.first / in.image.height);
}

void Team::draw(std::size_t member, std::size_t index, const Draw& draw) {
    const auto& step = std::get<ConvStep>(plan_.steps()[index]);
    const std::size_t side = side_[index];
    Drawer& drawer = members_[member]->drawer;
    if (step.source->sampled()) {
        drawer.share(step, draw, member, weights_[side].data() + step.weights_at);
    }
    if (step.bias && member == 0) drawer.bias(step, draw, biases_[side].data() + step.bias_at);
}

void Team::step(std::size_t member, std::size_t index, std::uint8_t* out) {
    const Step& any = plan_.steps()[index];
    if (const auto* step = std::get_if<PoolStep>(&any)) {
        const PoolPiece& piece = step->pieces[member];
        pool(arena_.data() + piece.src, piece.rows, step->spec,
             reinterpret_cast<std::int32_t*>(members_[member]->row.data()), out + piece.dst);
    } else if (const auto* step = std::get_if<GroupNormStep>(&any)) {
        const PoolPiece& piece = step->pieces[member];
        group_norm(arena_.data() + piece.src, piece.rows, step->spec,
                   reinterpret_cast<std::int32_t*>(members_[member]->row.data()), out + piece.dst);
    } else if (const auto* step = std::get_if<JoinStep>(&any)) {
        const JoinPiece& piece = step->pieces[member];
        join(arena_.data(), piece.src, piece.rows, step->spec, out + piece.dst);
    } else {
        conv(member, index, out);
    }
}

void Team::conv(std::size_t member, std::size_t index, std::uint8_t* out) {
    const auto& step = std::get<ConvStep>(plan_.steps()[index]);
    const ConvPiece& piece = step.pieces[member];
    if (piece.kernel == nullptr) return;
    const auto& node = std::get<ConvNode>(network_.nodes[step.node]);
    const std::size_t side = side_[index];
    const std::int8_t* weights =
        step.source->sampled() ? weights_[side].data() + step.weights_at : step.source->fixed();
    const float* bias = step.bias ? biases_[side].data() + step.bias_at : node.bias.data();
    std::uint8_t* dst = out + piece.dst;
    if (piece.residual_bytes > 0) {
        std::memcpy(dst, arena_.data() + piece.residual, piece.residual_bytes);
    }
    members_[member]->bound[index]->run(weights, bias, dst);
}

}  // namespace sigmabench
