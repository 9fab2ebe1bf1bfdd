// A network at one batch size: kernels made once, memory planned once.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <optional>

#include "network.hpp"
#include "packer.hpp"

namespace sigmabench {

enum class Engine { automatic, onednn, portable };

// The packers, or sources of floats, of a network's layers: plans whose kernels agree on a layout
// share one.
class Packers {
public:
    explicit Packers(const Network& network)
        : of_(network.nodes.size()), floats_of_(network.nodes.size()) {}
    const WeightSource& get(const ConvNode& node, std::size_t index, const WeightLayout& layout);

private:
    std::vector<std::list<Packer>> of_;
    std::vector<std::list<FloatSource>> floats_of_;
};

struct ConvStep {
    std::size_t node = 0;
    const WeightSource* packer = nullptr;
    std::unique_ptr<ConvKernel> kernel;
    std::size_t src = 0, dst = 0;         // offsets in the arena
    bool logits = false;                  // written to the caller, not to the arena
    std::optional<std::size_t> residual;  // to be copied to dst first; nothing if it is there
    std::optional<Stream> bias;           // noise of a sampled bias, empty in float networks
};

struct PoolStep {
    PoolSpec spec;
    std::size_t src = 0, dst = 0;
};

struct InputStep {
    std::size_t planes = 0, dst = 0;
    std::optional<std::size_t> folded;
    Folding folding;
};

class Plan {
public:
    Plan(const Network& network, Packers& packers, Engine engine, std::int64_t batch);

    std::int64_t batch() const { return batch_; }
    const InputStep& input() const { return input_; }
    const std::vector<std::variant<ConvStep, PoolStep>>& steps() const { return steps_; }
    std::size_t arena_bytes() const { return arena_bytes_; }
    std::size_t weight_bytes() const { return weight_bytes_; }
    std::size_t scratch_bytes() const { return scratch_bytes_; }
    std::size_t scratchpad_bytes() const { return scratchpad_bytes_; }
    std::size_t row_words() const { return row_words_; }
    std::size_t bias_channels() const { return bias_channels_; }
    // Activations written and read in a pass, float32 input, logits and copies included.
    std::size_t activation_bytes() const { return activation_bytes_; }

private:
    std::size_t activation_size(const Network& network, int activation) const;
    std::size_t plan_input(const Network& network, Engine engine);
    void add_conv(const Network& network, Packers& packers, Engine engine, std::size_t index);

    std::int64_t batch_;
    InputStep input_;
    std::vector<std::variant<ConvStep, PoolStep>> steps_;
    std::size_t arena_bytes_ = 0, weight_bytes_ = 0, scratch_bytes_ = 0, scratchpad_bytes_ = 0,
                row_words_ = 0, bias_channels_ = 0, activation_bytes_ = 0;
};

std::unique_ptr<ConvKernel> make_conv(const ConvSpec& spec, const Geometry& geometry,
                                      Engine engine);

// What the draws of a pass depend on.
struct Draw {
    SamplerPath path;
    const AliasTables& tables;
    const KeySchedule& keys;
    std::uint32_t mc;
    std::atomic<std::uint64_t>& count;  // of weights
};

// All weights of one pass, drawn ahead because several threads will read them.
struct DrawnPass {
    std::vector<AlignedBuffer<std::int8_t>> weights;  // by step; empty where nothing is sampled
    std::vector<AlignedBuffer<float>> biases;
};

// Scratch for drawing, and the drawing of one step.
class Drawer {
public:
    Drawer(const Network& network, const Plan& plan);
    void weights(const ConvStep& step, const Draw& draw, std::int8_t* out);
    void bias(const ConvStep& step, const Draw& draw, float* out);

private:
    const Network& network_;
    AlignedBuffer<std::int8_t> scratch_, noise_;
};

// One thread's memory for a plan, and its kernels bound to it.
class Executor {
public:
    Executor(const Network& network, const Plan& plan);

    // One pass over plan.batch() images, float32 NCHW; logits [batch][classes].
    void run(const float* x, const Draw& draw, const DrawnPass* drawn, float* logits);
    Drawer& drawer() { return drawer_; }

private:
    void input(const float* x);
    void conv(std::size_t step, const Draw& draw, const DrawnPass* drawn, float* logits);

    const Network& network_;
    const Plan& plan_;
    Drawer drawer_;
    AlignedBuffer<std::uint8_t> arena_, scratchpad_, row_;
    AlignedBuffer<std::int8_t> weights_;
    AlignedBuffer<float> bias_;
    std::vector<std::unique_ptr<BoundConv>> bound_;  // by step
};

}  // namespace sigmabench
