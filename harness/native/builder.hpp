// Collects a network node by node as Python describes it, then becomes a Program.
#pragma once

#include <optional>

#include "arrays.hpp"
#include "program.hpp"

namespace sigmabench {

using Pair = std::vector<std::int64_t>;
inline constexpr int kMostThreads = 1024;
void check_threads(int threads);  // throws ValueError beyond 1 to kMostThreads

class Builder {
 public:
    // Layers are numbered from `first_layer` on: the network may be a part of another.
    explicit Builder(const std::string& number, std::int64_t first_layer);

    int activation(const std::string& name, const Pair& shape, float scale, bool is_signed);
    void conv(int input, int output, int residual, const Pair& shape, const Pair& stride,
              const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
              const AnyArray& mean, const AnyArray& weight_scale, const AnyArray& bias);
    // A layer of a float network; std or bias_std null: not sampled.
    void normal_conv(int input, int output, int residual, const Pair& shape, const Pair& stride,
                     const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                     const AnyArray& mean, const std::optional<AnyArray>& spread,
                     const AnyArray& bias, const std::optional<AnyArray>& bias_std,
                     std::optional<float> ceiling);
    // The last conv's weights are sampled.
    void sigma(int bits, const AnyArray& sigma, const AnyArray& multiplier, const AnyArray& offset,
               const AnyArray& shift);
    // The last conv's bias is sampled; step is sigma_b * s_eps.
    void bias_step(const AnyArray& step);
    void pool(int input, int output, bool maximum, const Pair& kernel, const Pair& stride,
              const Pair& padding, const Pair& dilation, bool adaptive);
    // In an int8 network.
    void group_norm(int input, int output, std::int64_t groups, double eps);
    // In an int8 network: a table for each input, uint8 [inputs, 256].
    void join(const std::vector<int>& inputs, int output, const AnyArray& tables);
    // In a float network: values end at low and high.
    void clipped_join(const std::vector<int>& inputs, int output, float low, float high);
    std::unique_ptr<Program> build(int input, int output, const AnyArray& threshold,
                                   const AnyArray& alias, const std::string& engine,
                                   const std::string& isa, int threads, int team);

 private:
    ConvNode& add(int input, int output, int residual, const Pair& shape, const Pair& stride,
                  const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                  const AnyArray& bias);
    ConvNode& last();

    Network network_;
    std::uint32_t layers_ = 0;
};

}  // namespace sigmabench
