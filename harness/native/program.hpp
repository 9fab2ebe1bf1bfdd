// A loaded network: passes on batches, and a look at what computes them.
#pragma once

#include <map>
#include <mutex>

#include "team.hpp"
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

// Bytes of one pass; `sampled` counts the kernel's buffer written and read, and where weights do
// not go straight there, the scratch written and read and the index of the gather.
struct TrafficReport {
    std::size_t mean = 0, sigma = 0, sampled = 0, activations = 0;
};

// What a step of a pass moves and computes, multiply-adds on padding included.
struct StepCount {
    TrafficReport traffic;
    std::int64_t multiply_adds = 0;
};

// Bytes that the program holds, by what they are for.
struct MemoryReport {
    std::size_t mean = 0, sigma = 0, constants = 0;  // of all layers, once
    std::size_t layouts = 0;      // packed means that are not sampled, and where draws go
    std::size_t activations = 0;  // arenas of all teams
    std::size_t weights = 0;      // sampled weights
    std::size_t scratch = 0;
    std::size_t live = 0;     // of a pass's activations, at most at one time
    std::size_t largest = 0;  // buffer of a layer's sampled weights
    std::size_t teams = 0;    // passes computed at the same time
};

// Nanoseconds of all threads together in some passes.
struct ProfileReport {
    Profile steps;  // by node; last, the input
    std::int64_t wall = 0;
};

class Program {
 public:
    // team: threads that work on a pass together, 0 for what measures fastest.
    Program(Network network, const AliasTables& tables, Engine engine, SamplerPath path,
            int threads, int team);
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    const Network& network() const { return network_; }
    int threads() const { return threads_; }
    SamplerPath path() const { return path_; }
    std::uint64_t draws() const { return draws_.load(); }

    // Passes first ... first + count - 1 on float32 NCHW images: logits [count][batch], NHWC where
    // the output is a map.
    void logits(const float* x, std::int64_t batch, std::uint64_t seed, std::uint32_t first,
                std::int64_t count, float* out);
    // The same, and where the time goes.
    ProfileReport profile(const float* x, std::int64_t batch, std::uint64_t seed,
                          std::uint32_t first, std::int64_t count, float* out);
    // Draws the weights of passes as a pass on one image does, and computes nothing.
    void draw(std::uint64_t seed, std::uint32_t first, std::int64_t count);
    // Threads that work on a pass together where `count` passes of a batch are asked for.
    int team(const float* x, std::int64_t batch, std::int64_t count);

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

    // What computes the layers of a batch; batch 0: in the latest call of logits, or on one image.
    std::vector<LayerReport> describe(std::int64_t batch);
    int latest_team();  // threads that shared a pass in the latest call of logits, 1 if none
    TrafficReport traffic(std::int64_t batch);
    // By node, last the input, of the latest call of logits, or of one image if there was none.
    std::vector<StepCount> counts();
    MemoryReport memory();
    std::size_t node_of(const std::string& name) const;  // throws std::out_of_range
    const ConvNode& conv(std::size_t node) const;

 private:
    using Size = std::pair<std::int64_t, int>;  // images of a batch, threads of a team

    struct Prepared {  // a plan, and the teams that have needed one
        Prepared(const Network& network, Packers& packers, Engine engine, Size size, int threads)
            : plan(network, packers, engine, size.first, size.second),
              teams(static_cast<std::size_t>(threads / size.second)) {}

        Plan plan;
        std::vector<std::unique_ptr<Team>> teams;
        std::uint64_t used = 0;
    };

    // All that calls change, and what they wait for.
    struct State {
        State(const Program& program);

        long process;
        std::mutex mutex;
        Packers packers;
        std::map<Size, Prepared> prepared;
        std::map<std::int64_t, std::map<int, double>> rounds;  // by batch, see `measured`
        std::uint64_t clock = 0;
        Size latest = {1, 1};
        Workers workers;
    };

    // Some passes of one call.
    struct Task {
        const float* x;
        std::int64_t batch;
        const KeySchedule& keys;
        std::uint32_t first;
        std::int64_t count;
        float* out;
        std::atomic<std::uint64_t>& draws;
        std::vector<Profile>* profiles;  // by thread
        bool computes = true;            // else it draws alone
    };

    State& state();
    Prepared& prepare(State& state, Size size) const;
    std::vector<int> teams(std::int64_t batch) const;
    const std::map<int, double>& measured(State& state, const Task& task);
    std::vector<std::pair<int, std::int64_t>> schedule(State& state, const Task& task);
    void run(State& state, const Task& task);
    void run(State& state, const Task& task, int team);
    void check_memory(const Plan& plan, std::int64_t teams) const;
    std::vector<StepCount> count(const Plan& plan) const;
    const ConvStep& step_of(const Plan& plan, std::size_t node) const;

    Network network_;
    std::vector<std::shared_ptr<const Store>> stores_;  // by node
    const AliasTables tables_;
    const Engine engine_;
    const SamplerPath path_;
    const int threads_, team_;
    std::atomic<State*> state_{nullptr};
    std::atomic<std::uint64_t> draws_{0};
};

}  // namespace sigmabench
