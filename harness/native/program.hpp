// A loaded network: passes on batches, and a look at what computes them.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <set>

#include "plan.hpp"
#include "workers.hpp"

namespace sigmabench {

struct LayerReport {
    std::string name, implementation, path;
    std::size_t weight_bytes;  // of the buffer its kernel reads
    bool folded;               // computed on an input whose kernel columns are channels
};

struct TrafficReport {
    std::size_t mean = 0, sigma = 0, sampled = 0, activations = 0;
};

class Program {
public:
    Program(Network network, const AliasTables& tables, Engine engine, SamplerPath path,
            int threads);

    const Network& network() const { return network_; }
    int threads() const { return workers_.threads(); }
    SamplerPath path() const { return path_; }
    std::uint64_t draws() const { return draws_.load(); }

    // Passes first ... first + count - 1 on float32 NCHW images: logits [count][batch][classes].
    void logits(const float* x, std::int64_t batch, std::uint64_t seed, std::uint32_t first,
                std::int64_t count, float* out);

    // What pass `mc` finds in the weight buffer of a layer, in logical order, and its bias.
    std::vector<std::int8_t> sample(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    std::vector<float> sample_bias(std::size_t node, std::uint64_t seed, std::uint32_t mc);
    // Bare int32 sums, NHWC, of a layer on integer NCHW images with given weights.
    std::vector<std::int32_t> accumulators(std::size_t node, std::int64_t batch,
                                           const std::uint8_t* x, const std::int8_t* weights);

    std::vector<LayerReport> describe(std::int64_t batch);
    // Images a kernel computed at once in the latest pass (a part of the batch if it was split), or
    // in the first plan if there was none; and every implementation that was ever planned.
    std::int64_t latest_batch();
    std::vector<std::string> implementations();
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

    Prepared& prepare(std::int64_t batch);
    const ConvStep& step_of(const Plan& plan, std::size_t node) const;
    void whole_batches(Prepared& prepared, const float* x, const KeySchedule& keys,
                       std::uint32_t first, std::int64_t count, float* out);
    void slices(Prepared& prepared, std::int64_t batch, const float* x, const KeySchedule& keys,
                std::uint32_t first, std::int64_t count, float* out);
    void draw_ahead(Prepared& prepared, const KeySchedule& keys, std::uint32_t first,
                    std::int64_t count);

    Network network_;
    AliasTables tables_;
    Engine engine_;
    SamplerPath path_;
    std::mutex mutex_;
    Workers workers_;
    Packers packers_;
    std::map<std::int64_t, Prepared> prepared_;
    std::uint64_t clock_ = 0;
    std::int64_t latest_ = 1;
    std::set<std::string> implementations_;
    std::atomic<std::uint64_t> draws_{0};
};

}  // namespace sigmabench
