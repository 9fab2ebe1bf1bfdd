// Threads that work on a pass together, and their memory.
#pragma once

#include <atomic>

#include "plan.hpp"

namespace sigmabench {

// What the draws of a pass depend on.
struct Draw {
    SamplerPath path;
    const AliasTables& tables;
    const KeySchedule& keys;
    std::uint32_t mc;
    std::atomic<std::uint64_t>& count;  // of weights
};

// Scratch for drawing, and the drawing of one step.
class Drawer {
 public:
    Drawer(const Network& network, const Plan& plan);
    void weights(const ConvStep& step, const Draw& draw, std::int8_t* out);
    // What member `part` of a team has to draw.
    void share(const ConvStep& step, const Draw& draw, std::size_t part, std::int8_t* out);
    void bias(const ConvStep& step, const Draw& draw, float* out);
    std::size_t bytes() const { return scratch_.size() + noise_.size(); }

 private:
    const Network& network_;
    AlignedBuffer<std::int8_t> scratch_, noise_;
};

// Nanoseconds of one thread.
struct StepTime {
    std::int64_t sampling = 0, compute = 0, rest = 0, waiting = 0;
};
using Profile = std::vector<StepTime>;  // by step; last, the input

// Every member waits until all have come. Spins, for what lies between two of them is short, and
// yields where a core is missing.
class Barrier {
 public:
    explicit Barrier(std::size_t members) : members_(members) {}
    void wait();
    void fail() { failed_.store(true, std::memory_order_release); }  // the others throw

 private:
    const std::size_t members_;
    std::atomic<std::size_t> come_{0};
    std::atomic<std::uint64_t> phase_{0};
    std::atomic<bool> failed_{false};
};

// Memory of a team, in bytes.
struct TeamMemory {
    std::size_t activations = 0, weights = 0, scratch = 0;
};

class Team {
 public:
    Team(const Network& network, const Plan& plan);

    // One pass over plan.batch() images, float32 NCHW, called by every member; logits
    // [batch][classes]. A profile is added to.
    void run(std::size_t member, const float* x, const Draw& draw, float* logits, Profile* profile);
    // What a pass draws, and nothing else.
    void draw(std::size_t member, const Draw& draw);
    // Only in step do members go from one pass to the next; one that throws has to `fail`.
    Barrier& barrier() { return barrier_; }
    std::int64_t pass = 0;  // that the first member chose for all

    TeamMemory memory() const;

 private:
    // A member's own.
    struct Member {
        Member(const Network& network, const Plan& plan);
        Drawer drawer;
        AlignedBuffer<std::uint8_t> scratchpad, row;
        std::vector<std::unique_ptr<BoundConv>> bound;  // by step
    };
    class Clock;

    void prefix(std::size_t member, const float* x, const Draw& draw, Clock& clock,
                Profile* profile);
    void input(std::size_t member, const float* x);
    void draw(std::size_t member, std::size_t index, const Draw& draw);
    // `out`: the caller's logits, or where in the arena the output of the prefix goes, if not where
    // the plan says.
    void step(std::size_t member, std::size_t index, std::uint8_t* out);
    void conv(std::size_t member, std::size_t index, std::uint8_t* out);
    void meet() {
        if (members_.size() > 1) barrier_.wait();
    }

    const Network& network_;
    const Plan& plan_;
    Barrier barrier_;
    AlignedBuffer<std::uint8_t> arena_;
    // Two, where a member may draw for the next layer while another computes this one.
    std::vector<AlignedBuffer<std::int8_t>> weights_;
    std::vector<AlignedBuffer<float>> biases_;
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<std::size_t> side_;  // by step: which of the two
};

}  // namespace sigmabench
