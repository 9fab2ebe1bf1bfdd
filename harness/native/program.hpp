// A loaded network: passes on batches, and a look at what computes them.
#pragma once

#include <map>
#include <mutex>

#include "plan.hpp"
#include "workers.hpp"

namespace sigmabench {

struct LayerReport {
    std::string name, implementation, path;
};

// A kernel's buffer, and the weight in logical order that each byte holds, -1 where none.
struct PackedWeights {
    std::vector<std::int8_t> bytes;
    std::vector<std::int32_t> weight;
};

// Bytes of one pass; `sampled` counts the kernel's buffer written and read, and where weights do not
// go straight there, the scratch written and read and the index of the gather.
struct TrafficReport {
    std::size_t mean = 0, sigma = 0, sampled = 0, activations = 0;
};

class Program {
public:
    Program(Network network, const AliasTables& tables, Engine engine, SamplerPath path,
            int threads);
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    const Network& network() const { return network_; }
    int threads() const { return threads_; }
    SamplerPath path() const { return path_; }
    std::uint64_t draws() const { return draws_.load(); }

    // Passes first ... first + count - 1 on float32 NCHW images: logits [count][batch][classes].
    void logits(const float* x, std::int64_t batch, std::uint64_t seed, std::uint32_t first,
                std::int64_t count, float* out);

    // What pass `mc` finds in the weight buffer of a layer, in logical order, and its bias.
    std::vector<std::int8_t> sample(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    // The same of a float network.
    std::vector<float> sample_real(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    // That buffer itself, drawn where another layer's weights were.
    PackedWeights packed(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    std::vector<float> sample_bias(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    // Bare int32 sums, NHWC, of a layer on integer NCHW images with given weights.
    std::vector<std::int32_t> accumulators(std::size_t node, std::int64_t batch,
                                           const std::uint8_t* x, const std::int8_t* weights);

    std::vector<LayerReport> describe(std::int64_t batch);
    // Images a kernel computed at once in the latest call of logits (a part of the batch if it was
    // split), 1 if there was none. `sample` looks into the buffers of that plan.
    std::int64_t latest_batch();
    TrafficReport traffic(std::int64_t batch);
    std::size_t node_of(const std::string& name) const;  // throws std::out_of_range
    const ConvNode& conv(std::size_t node) const;

private:
    struct Prepared {  // a plan, and an executor for each worker that has needed one
        Prepared(const Network& network, Packers& packers, Engine engine, std::int64_t batch,
                 int threads)
            : plan(network, packers, engine, batch),
              executors(static_cast<std::size_t>(threads)) {}
        Executor& executor(const Network& network, int worker);

        Plan plan;
        std::vector<std::unique_ptr<Executor>> executors;
        std::vector<DrawnPass> drawn;  // for as many passes as were ever drawn ahead together
        std::uint64_t used = 0;
    };

    // All that calls change, and what they wait for.
    struct State {
        State(const Network& network, int threads);

        long process;
        std::mutex mutex;
        Packers packers;
        std::map<std::int64_t, Prepared> prepared;
        std::uint64_t clock = 0;
        std::int64_t latest = 1;
        Workers workers;
    };

    State& state();
    Prepared& prepare(State& state, std::int64_t batch) const;
    const ConvStep& step_of(const Plan& plan, std::size_t node) const;
    void whole_batches(State& state, Prepared& prepared, const float* x, const KeySchedule& keys,
                       std::uint32_t first, std::int64_t count, float* out);
    void slices(State& state, Prepared& prepared, std::int64_t batch, const float* x,
                const KeySchedule& keys, std::uint32_t first, std::int64_t count, float* out);
    void draw_ahead(State& state, Prepared& prepared, const KeySchedule& keys,
                    std::uint32_t first, std::int64_t count);

    const Network network_;
    const AliasTables tables_;
    const Engine engine_;
    const SamplerPath path_;
    const int threads_;
    std::atomic<State*> state_{nullptr};
    std::atomic<std::uint64_t> draws_{0};
};

}  // namespace sigmabench
