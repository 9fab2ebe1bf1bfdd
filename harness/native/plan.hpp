// A network at one batch size: kernels made once, memory planned once.
#pragma once

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
    explicit Packers(const std::vector<std::shared_ptr<const Store>>& stores)
        : stores_(stores), of_(stores.size()) {}
    const WeightSource& get(const ConvNode& node, std::size_t index, const ConvKernel& kernel);
    std::size_t index_bytes() const;

 private:
    const std::vector<std::shared_ptr<const Store>>& stores_;  // by node
    std::vector<std::list<std::unique_ptr<WeightSource>>> of_;
};

// What one of the threads that work on a pass together computes of a step: some of the images, or,
// of a single image, some of the rows. Offsets are bytes in the arena, or from the first logit; of
// the prefix's last step, in its first round of the first thread.
struct ConvPiece {
    std::shared_ptr<const ConvKernel> kernel;  // null: nothing
    std::size_t src = 0, dst = 0;
    std::size_t residual = 0, residual_bytes = 0;  // to be copied to dst first
};

struct ConvStep {
    std::size_t node = 0;
    const WeightSource* source = nullptr;
    std::vector<ConvPiece> pieces;
    std::vector<std::unique_ptr<Share>> shares;  // what each thread draws; empty: the first all
    bool logits = false;                         // written to the caller, not to the arena
    std::optional<Stream> bias;                  // noise of a sampled bias; empty in float networks
    std::size_t weights_at = 0, bias_at = 0;     // in the buffers of what is drawn

    const ConvKernel& kernel() const {  // of the first piece that has something to do
        std::size_t k = 0;
        while (pieces[k].kernel == nullptr) ++k;
        return *pieces[k].kernel;
    }
};

struct PoolPiece {  // of a group norm, too
    std::size_t src = 0, dst = 0;
    Rows rows;  // of the output
};

struct PoolStep {
    PoolSpec spec;
    std::vector<PoolPiece> pieces;
};

struct JoinPiece {
    std::vector<std::size_t> src;
    std::size_t dst = 0;
    Rows rows;
};

struct JoinStep {
    JoinSpec spec;
    std::vector<JoinPiece> pieces;
};

struct GroupNormStep {
    GroupNormSpec spec;
    std::vector<PoolPiece> pieces;
};

using Step = std::variant<ConvStep, PoolStep, JoinStep, GroupNormStep>;

struct InputPiece {
    std::size_t dst = 0;
    Rows rows;
};

struct InputStep {
    Folding folding;  // columns == 0: none
    std::vector<InputPiece> pieces;
    std::size_t bytes = 0;  // float32 read and numbers written, of a pass
};

// The first layers have large maps and few weights: their weights are drawn together, then a few
// images at a time go through all of them, so that what is between them stays in the cache. Only
// the output of the last is kept for the whole batch. A thread goes through its rounds without
// waiting for the others, so all that lies between the layers is its own.
struct Prefix {
    std::size_t steps = 0;    // 0: there is none
    std::int64_t images = 0;  // at a time, of each thread
    std::int64_t rounds = 0;
    std::size_t out_bytes = 0;  // of the last step's output, an image
    std::size_t own_bytes =
        0;  // of each thread in the arena, one after the other from its beginning
};

// Where every activation lies, and whether a residual lies where its sum will be written.
struct Placement {
    std::vector<std::size_t> offset;
    std::vector<bool> in_place;  // by node
    std::size_t bytes = 0, live = 0;
};

class Plan {
 public:
    // For `parts` threads that work on each pass together.
    Plan(const Network& network, Packers& packers, Engine engine, std::int64_t batch,
         std::int64_t parts);

    std::int64_t batch() const { return batch_; }
    std::size_t parts() const { return static_cast<std::size_t>(parts_); }
    const InputStep& input() const { return input_; }
    const Prefix& prefix() const { return prefix_; }
    // The first image of a thread's round in the prefix.
    std::int64_t first_image(std::size_t part, std::int64_t round) const {
        return (static_cast<std::int64_t>(part) * prefix_.rounds + round) * prefix_.images;
    }
    const std::vector<Step>& steps() const { return steps_; }
    std::size_t arena_bytes() const { return arena_bytes_; }
    // The most that is live at one time: no placement could do with less.
    std::size_t live_bytes() const { return live_bytes_; }
    std::size_t weight_bytes() const { return weight_bytes_; }
    std::size_t scratch_bytes() const { return scratch_bytes_; }
    std::size_t scratchpad_bytes() const { return scratchpad_bytes_; }
    std::size_t row_words() const { return row_words_; }
    std::size_t bias_channels() const { return bias_channels_; }
    // Memory of a team, nearly all of it.
    std::size_t team_bytes() const {
        const std::size_t sides = parts_ > 1 ? 2 : 1;
        return arena_bytes_ + sides * weight_bytes_ +
               parts() * (scratch_bytes_ + scratchpad_bytes_ + 4 * row_words_);
    }
    // Activations that a step writes and reads in a pass, logits and copies included.
    std::size_t activation_bytes(std::size_t step) const { return activation_bytes_[step]; }
    // Of a step in a pass, those on padding included.
    std::int64_t multiply_adds(std::size_t step) const;

 private:
    std::size_t activation_size(const Network& network, int activation) const;
    Placement place_all(const Network& network, const std::vector<std::size_t>& sizes);
    void plan_prefix(const Network& network, const std::vector<std::size_t>& sizes);
    std::size_t plan_input(const Network& network, Engine engine);
    ConvStep& add_conv(const Network& network, Packers& packers, Engine engine, std::size_t index);
    std::vector<Rows> rows(std::int64_t height, bool in_prefix) const;
    // Images that an activation of a step holds; in the prefix each thread has its own.
    std::int64_t images(bool in_prefix) const { return in_prefix ? prefix_.images : batch_; }
    // Where a thread's part of an activation of the prefix lies.
    std::size_t own(bool in_prefix, std::size_t part) const {
        return in_prefix ? part * prefix_.own_bytes : 0;
    }

    std::int64_t batch_, parts_;
    Prefix prefix_;
    std::size_t prefix_weights_ = 0, prefix_channels_ = 0;  // drawn for it so far
    InputStep input_;
    std::vector<Step> steps_;
    std::size_t arena_bytes_ = 0, live_bytes_ = 0, weight_bytes_ = 0, scratch_bytes_ = 0,
                scratchpad_bytes_ = 0, row_words_ = 0, bias_channels_ = 0;
    std::vector<std::size_t> activation_bytes_;  // by step
};

std::unique_ptr<ConvKernel> make_conv(const ConvSpec& spec, const Geometry& geometry,
                                      Engine engine);

}  // namespace sigmabench
