// The runtime, built by test_native_sanitize.py under sanitizers with and without oneDNN: every
// sampler path on shapes around the edges of blocks, then passes of small networks on several threads.
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>

#include "program.hpp"

#if !defined(SIGMABENCH_ONEDNN)
namespace sigmabench {

// Plain loops, except that one call may be told to fail.
std::atomic<int> calls_before_failure{-1};  // below 0: none fails

class FailingBound final : public BoundConv {
public:
    explicit FailingBound(std::unique_ptr<BoundConv> inner) : inner_(std::move(inner)) {}
    void run(const void* weights, const float* bias, void* dst) override {
        if (calls_before_failure.load() >= 0 && calls_before_failure.fetch_sub(1) == 0) {
            throw std::runtime_error("this kernel fails");
        }
        inner_->run(weights, bias, dst);
    }

private:
    std::unique_ptr<BoundConv> inner_;
};

class FailingConv final : public ConvKernel {
public:
    explicit FailingConv(std::unique_ptr<ConvKernel> inner) : inner_(std::move(inner)) {}
    std::string layout_key() const override { return inner_->layout_key(); }
    WeightLayout layout() const override { return inner_->layout(); }
    std::string implementation() const override { return inner_->implementation(); }
    std::unique_ptr<ConvKernel> again(const ConvSpec& spec, const Geometry& g) const override {
        return std::make_unique<FailingConv>(inner_->again(spec, g));
    }
    std::size_t scratchpad_bytes() const override { return inner_->scratchpad_bytes(); }
    std::int64_t multiply_adds() const override { return inner_->multiply_adds(); }
    std::unique_ptr<BoundConv> bind(void* src, void* scratchpad) const override {
        return std::make_unique<FailingBound>(inner_->bind(src, scratchpad));
    }

private:
    std::unique_ptr<ConvKernel> inner_;
};

std::unique_ptr<ConvKernel> make_onednn_conv(const ConvSpec& spec, const Geometry& geometry) {
    return std::make_unique<FailingConv>(make_portable_conv(spec, geometry));
}
bool onednn_exact() { return false; }
std::string onednn_isa() { return "none"; }

}  // namespace sigmabench
#endif

using namespace sigmabench;

namespace {

std::mt19937 rng(1);
int uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

void require(bool condition, const char* what) {
    if (!condition) throw std::runtime_error(what);
}

AliasTables some_tables() {
    AliasTables tables;
    for (int k = 0; k < 128; ++k) {
        tables.threshold[k] = static_cast<std::uint8_t>(uniform(0, 255));
        tables.alias[k] = static_cast<std::uint8_t>(uniform(0, 127));
    }
    return tables;
}

Posterior some_posterior(const Geometry& geometry, int bits) {
    Posterior p;
    p.geometry = geometry;
    p.bits = bits;
    for (std::int64_t k = 0; k < geometry.weights(); ++k) {
        p.mean.push_back(static_cast<std::int8_t>(uniform(-127, 127)));
        p.sigma.push_back(static_cast<std::uint8_t>(uniform(0, (1 << bits) - 1)));
    }
    for (std::int64_t c = 0; c < geometry.outputs; ++c) {
        p.multiplier.push_back(static_cast<std::int16_t>(uniform(0, 32767)));
        p.offset.push_back(static_cast<std::int16_t>(uniform(0, 32767)));
        p.shift.push_back(static_cast<std::uint8_t>(uniform(0, 8)));
    }
    return p;
}

// Whole blocks in another order, with chunks of padding between them.
Origin shuffled(const Geometry& geometry) {
    const Origin straight = canonical_origin(geometry);
    std::vector<std::int64_t> blocks;
    for (std::int64_t b = 0; b < geometry.blocks(); ++b) blocks.insert(blocks.end(), {b, -1});
    std::shuffle(blocks.begin(), blocks.end(), rng);
    Origin origin;
    for (const std::int64_t block : blocks) {
        for (int lane = 0; lane < kLanes; ++lane) {
            const std::int64_t at = std::max<std::int64_t>(block, 0) * kLanes + lane;
            origin.push_back(block < 0 ? -1 : straight[static_cast<std::size_t>(at)]);
        }
    }
    return origin;
}

void check_sampler() {
    for (int round = 0; round < 120; ++round) {
        const Geometry geometry = {uniform(1, 70), uniform(1, 9), uniform(1, 3), uniform(1, 3)};
        const Posterior posterior = some_posterior(geometry, round % 8 + 1);
        const AliasTables tables = some_tables();
        const KeySchedule keys(rng());
        const auto mc = static_cast<std::uint32_t>(rng());
        const Origin origin = round % 2 == 0 ? canonical_origin(geometry) : shuffled(geometry);
        const Stream stream = make_stream(make_store(posterior), 7, origin);
        // Exactly as large as it must be, so that a write past the end is caught.
        std::vector<std::int8_t> expected(origin.size()), drawn(origin.size());
        sample(SamplerPath::portable, stream, tables, keys, mc, expected.data());
        for (const auto path :
             {SamplerPath::avx2, SamplerPath::avx512, SamplerPath::avx512_vbmi}) {
            if (!supported(path)) continue;
            std::fill(drawn.begin(), drawn.end(), std::int8_t{99});
            sample(path, stream, tables, keys, mc, drawn.data());
            require(drawn == expected, path_name(path));
        }
        // Threads that share a tensor leave what one of them would.
        std::fill(drawn.begin(), drawn.end(), std::int8_t{99});
        const std::size_t parts = static_cast<std::size_t>(uniform(2, 5));
        for (std::size_t part = 0; part < parts; ++part) {
            sample(best_path(), share(stream, part, parts), tables, keys, mc, drawn.data());
        }
        require(drawn == expected, "the shares of a stream are not the stream");
    }
}

// A block whose lanes lie in two chunks: sampling either would write zeros over the other's lanes.
void check_split_block() {
    const Geometry geometry = {16, 4, 1, 1};
    const Origin whole = canonical_origin(geometry);
    Origin split(2 * kLanes, -1);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        split[lane + (lane < 32 ? 0 : kLanes)] = whole[lane];
    }
    require(blockwise(whole), "a whole block is none");
    require(!blockwise(split), "a split block is whole");
}

ConvNode layer(int input, int output, const Geometry& geometry, std::uint32_t ordinal) {
    ConvNode node;
    node.input = input;
    node.output = output;
    node.ordinal = ordinal;
    node.relu = true;
    node.posterior = some_posterior(geometry, 4);
    const auto channels = static_cast<std::size_t>(geometry.outputs);
    node.weight_scale.assign(channels, 0.01f);
    node.bias.assign(channels, 0.1f);
    node.bias_step.assign(channels, 0.01f);
    return node;
}

Network small_network() {
    Network network;
    network.activations = {{"x", {3, 9, 9}, 0.02f, true},    {"a", {10, 9, 9}, 0.3f, false},
                           {"b", {10, 9, 9}, 0.5f, false},   {"max", {10, 5, 5}, 0.5f, false},
                           {"mean", {10, 3, 3}, 0.5f, false}, {"y", {6, 1, 1}, 0.f, true}};
    ConvNode first = layer(0, 1, {10, 3, 3, 3}, 0), second = layer(1, 2, {10, 10, 3, 3}, 1);
    first.padding[0] = first.padding[1] = second.padding[0] = second.padding[1] = 1;
    second.residual = 1;
    network.nodes = {first,
                     second,
                     PoolNode{2, 3, true, {3, 3}, {2, 2}, {1, 1}},
                     PoolNode{3, 4, false, {2, 2}, {2, 2}, {1, 1}},
                     layer(4, 5, {6, 10, 3, 3}, 2)};
    network.output = 5;
    return network;
}

// One signed convolution whose output is (8, 1, 1): a folded first layer's edge.
Network one_pixel_network() {
    Network network;
    network.activations = {{"x", {3, 5, 3}, 0.02f, true}, {"a", {8, 1, 1}, 0.3f, false},
                           {"y", {6, 1, 1}, 0.f, true}};
    ConvNode first = layer(0, 1, {8, 3, 5, 5}, 0);
    first.padding[1] = 1;
    network.nodes = {first, layer(1, 2, {6, 8, 1, 1}, 1)};
    network.output = 2;
    return network;
}

// Maps so large that a few images at a time go through the first layers, and products of matrices.
Network wide_network() {
    Network network;
    network.activations = {{"x", {3, 40, 40}, 0.02f, true}, {"a", {64, 40, 40}, 0.3f, false},
                           {"b", {64, 40, 40}, 0.5f, false}, {"c", {32, 40, 40}, 0.5f, true},
                           {"mean", {32, 1, 1}, 0.5f, true}, {"y", {6, 1, 1}, 0.f, true}};
    ConvNode second = layer(1, 2, {64, 64, 1, 1}, 1), third = layer(2, 3, {32, 64, 1, 1}, 2);
    second.residual = 1;
    third.relu = false;
    network.nodes = {layer(0, 1, {64, 3, 1, 1}, 0), second, third,
                     PoolNode{3, 4, false, {40, 40}, {40, 40}, {0, 0}},
                     layer(4, 5, {6, 32, 1, 1}, 3)};
    network.output = 5;
    return network;
}

// Large maps of several sizes, so that in a large batch's first layers one thread's part of a map
// must not lie where another's part of an earlier one is.
Network shrinking_network() {
    Network network;
    network.activations = {{"x", {3, 40, 40}, 0.02f, true}, {"a", {48, 40, 40}, 0.3f, false},
                           {"p", {48, 20, 20}, 0.3f, false}, {"b", {16, 20, 20}, 0.5f, false},
                           {"mean", {16, 1, 1}, 0.5f, false}, {"y", {6, 1, 1}, 0.f, true}};
    network.nodes = {layer(0, 1, {48, 3, 1, 1}, 0), PoolNode{1, 2, true, {2, 2}, {2, 2}, {0, 0}},
                     layer(2, 3, {16, 48, 1, 1}, 1),
                     PoolNode{3, 4, false, {20, 20}, {20, 20}, {0, 0}},
                     layer(4, 5, {6, 16, 1, 1}, 2)};
    network.output = 5;
    return network;
}

// Signed and grouped, for which oneDNN needs reorders with compensation.
Network grouped_network() {
    Network network;
    network.activations = {{"x", {32, 6, 6}, 0.02f, true}, {"a", {32, 6, 6}, 0.3f, false},
                           {"y", {6, 1, 1}, 0.f, true}};
    ConvNode first = layer(0, 1, {32, 8, 3, 3}, 0);
    first.groups = 4;
    first.padding[0] = first.padding[1] = 1;
    network.nodes = {first, layer(1, 2, {6, 32, 6, 6}, 1)};
    network.output = 2;
    return network;
}

JoinNode join(const std::vector<int>& inputs, int output) {
    JoinNode node{inputs, output, {}, 0.f, 0.f};
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        node.tables.emplace_back();
        for (int byte = 0; byte < 256; ++byte) {  // the first changes nothing
            node.tables[k][static_cast<std::size_t>(byte)] =
                static_cast<std::uint8_t>(k == 0 ? byte : uniform(0, 255));
        }
    }
    return node;
}

// Joins of the input, of joins and of odd channels, and a pool that rounds up; with maps of 48 rows
// a few images at a time.
Network joined_network(std::int64_t size) {
    const std::int64_t half = size / 2 + 1;
    Network network;
    network.activations = {{"x", {3, size, size}, 0.02f, true}, {"a", {65, size, size}, 0.3f, false},
                           {"b", {71, size, size}, 0.5f, false},
                           {"c", {71, size, size}, 0.5f, true}, {"p", {71, half, half}, 0.5f, true},
                           {"mean", {71, 1, 1}, 0.5f, true}, {"y", {6, 1, 1}, 0.f, true}};
    network.nodes = {layer(0, 1, {65, 3, 1, 1}, 0), join({0, 1, 0}, 2), join({2}, 3),
                     PoolNode{3, 4, true, {3, 3}, {2, 2}, {1, 1}},
                     PoolNode{4, 5, false, {half, half}, {half, half}, {0, 0}},
                     layer(5, 6, {6, 71, 1, 1}, 1)};
    network.output = 6;
    return network;
}

// Group norms of unsigned and signed maps, a dilated and an uneven pool.
Network normed_network(std::int64_t size) {
    const std::int64_t less = size - 3;
    Network network;
    network.activations = {{"x", {3, size, size}, 0.02f, true},
                           {"a", {66, size, size}, 0.3f, false},
                           {"n", {66, size, size}, 0.05f, true},
                           {"m", {66, less, less}, 0.05f, true},
                           {"o", {66, less, less}, 0.03f, true}, {"u", {66, 3, 4}, 0.03f, true},
                           {"y", {6, 1, 1}, 0.f, true}};
    PoolNode most{2, 3, true, {2, 2}, {1, 1}, {1, 1}, {5, 5}}, uneven{4, 5, false};
    uneven.adaptive = true;
    network.nodes = {layer(0, 1, {66, 3, 1, 1}, 0), GroupNormNode{1, 2, 3, 1e-5}, most,
                     GroupNormNode{3, 4, 66, 1e-5}, uneven, layer(5, 6, {6, 66, 3, 4}, 1)};
    network.output = 6;
    return network;
}

// Refused by the number of the image, after all threads have come through.
void check_not_finite(const Network& network, std::int64_t batch, std::vector<float> x) {
    Program program(network, some_tables(), Engine::automatic, best_path(), 2, 0);
    std::vector<float> logits(static_cast<std::size_t>(batch * 6));
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        x[0] = value;
        bool refused = false;
        try {
            program.logits(x.data(), batch, 9, 4, 1, logits.data());
        } catch (const NotFinite&) {
            refused = true;
        }
        require(refused, "an image that is not finite was computed");
    }
}

void check_program(const Network& network, std::int64_t batch, int repeats) {
    const AliasTables tables = some_tables();
    const std::int64_t passes = 3;
    std::vector<float> x(static_cast<std::size_t>(batch * network.at(network.input).image.size()));
    for (float& value : x) value = static_cast<float>(uniform(-3000, 3000)) / 1000.f;
    x[0] = 3e38f;
    x[1] = -3e38f;
    check_not_finite(network, batch, x);
    std::vector<float> expected;
    for (const auto& [threads, team] :
         {std::pair{1, 1}, {2, 1}, {2, 2}, {3, 3}, {4, 2}, {4, 4}, {4, 0}}) {
        Program program(network, tables, Engine::automatic, best_path(), threads, team);
        std::vector<float> logits(static_cast<std::size_t>(passes * batch * 6));
        for (int repeat = 0; repeat < repeats; ++repeat) {
            program.logits(x.data(), batch, 9, 4, passes, logits.data());
            if (expected.empty()) expected = logits;
            require(logits == expected, "logits depend on the number of threads");
        }
        for (std::int64_t pass = 0; pass < passes; ++pass) {
            program.logits(x.data(), batch, 9, static_cast<std::uint32_t>(4 + pass), 1,
                           logits.data() + pass * batch * 6);
        }
        require(logits == expected, "logits depend on the passes computed together");
        const std::int64_t pixels = network.at(network.input).image.size();
        for (std::int64_t n = 0; n < batch; n += batch - 1) {
            std::vector<float> one(6);
            program.logits(x.data() + n * pixels, 1, 9, 4, 1, one.data());
            require(std::equal(one.begin(), one.end(), expected.begin() + n * 6),
                    "logits depend on the other images");
        }
        require(program.sample(0, 9, 4) == program.sample(0, 9, 4), "draws do not repeat");
        program.draw(9, 4, passes);
    }
}

#if !defined(SIGMABENCH_ONEDNN)
// A thread that fails leaves nobody waiting for it, in its team or in another, and is what the caller
// hears of; the next call is as if there had been none.
void check_failure(const Network& network) {
    const AliasTables tables = some_tables();
    std::vector<float> x(static_cast<std::size_t>(network.at(network.input).image.size()), 1.f);
    std::vector<float> expected(8 * 6), logits(8 * 6);
    Program program(network, tables, Engine::automatic, best_path(), 4, 2);
    program.logits(x.data(), 1, 9, 0, 8, expected.data());
    for (int call = 0; call < 24; ++call) {
        alarm(60);  // for one that waits for ever
        calls_before_failure = call % 12;
        std::string told;
        try {
            program.logits(x.data(), 1, 9, 0, 8, logits.data());
        } catch (const std::exception& failure) {
            told = failure.what();
        }
        require(told == "this kernel fails", told.c_str());
        calls_before_failure = -1;
        program.logits(x.data(), 1, 9, 0, 8, logits.data());
        require(logits == expected, "a failure changed what comes after it");
    }
    alarm(0);
}
#endif

// Lines of whole blocks in another order with padding between them, or elements in any order.
Origin float_origin(const NormalOrder& order, std::size_t line, bool whole) {
    std::vector<std::int64_t> units;
    std::vector<bool> real(static_cast<std::size_t>(order.size()), false);
    order.for_each([&](std::int64_t number) { real[static_cast<std::size_t>(number)] = true; });
    const std::size_t unit = whole ? line : 1;
    for (std::size_t at = 0; at < real.size(); at += unit) {
        units.insert(units.end(), {static_cast<std::int64_t>(at), -1});
    }
    std::shuffle(units.begin(), units.end(), rng);
    Origin origin;
    for (const std::int64_t first : units) {
        for (std::size_t k = 0; k < unit; ++k) {
            const std::int64_t number = first + static_cast<std::int64_t>(k);
            const bool blank = first < 0 || !real[static_cast<std::size_t>(number)];
            origin.push_back(blank ? -1 : static_cast<std::int32_t>(number));
        }
    }
    return origin;
}

// A layout and nothing behind it.
class LayoutOnly final : public ConvKernel {
public:
    explicit LayoutOnly(WeightLayout layout) : layout_(std::move(layout)) {}
    std::string layout_key() const override { return "given"; }
    WeightLayout layout() const override { return layout_; }
    std::string implementation() const override { return "none"; }
    std::unique_ptr<ConvKernel> again(const ConvSpec&, const Geometry&) const override {
        return nullptr;
    }
    std::size_t scratchpad_bytes() const override { return 0; }
    std::int64_t multiply_adds() const override { return 0; }
    std::unique_ptr<BoundConv> bind(void*, void*) const override { return nullptr; }

private:
    WeightLayout layout_;
};

void check_floats() {
    for (int round = 0; round < 60; ++round) {
        const Geometry geometry = {uniform(1, 70), uniform(1, 9), uniform(1, 3), uniform(1, 3)};
        const Type type = round % 2 == 0 ? Type::f32 : Type::bf16;
        const bool whole = round % 4 < 2;
        std::vector<float> mean, std;
        for (std::int64_t k = 0; k < geometry.weights(); ++k) {
            mean.push_back(static_cast<float>(uniform(-100, 100)));
            std.push_back(static_cast<float>(uniform(0, 3)));
        }
        const auto posterior = std::make_shared<const NormalPosterior>(
            geometry, mean.data(), std.data(), type, 6);
        WeightLayout layout;
        layout.packed = float_origin(posterior->order(), kLine / type_bytes(type), whole);
        layout.bytes = layout.packed.size() * type_bytes(type);
        const FloatSource source(posterior, LayoutOnly(layout));
        require(!whole || source.path() == WeightPath::direct, "a layout of lines is gathered");
        const AliasTables tables = some_tables();
        const KeySchedule keys(rng());
        std::vector<float> first;
        for (const auto path :
             {SamplerPath::portable, SamplerPath::avx2, SamplerPath::avx512_vbmi}) {
            AlignedBuffer<std::int8_t> scratch(source.scratch_bytes()), out(source.bytes());
            source.sample(path, tables, keys, 3, scratch.data(), out.data());
            const std::vector<float> drawn = source.logical(out.data());
            if (first.empty()) first = drawn;
            require(drawn == first, "the paths of the normals differ");
        }
    }
}

// Exactly as large as it must be, so that a write past the end is caught.
template <class Value>
void check_normals() {
    const std::vector<std::size_t> sizes = {1, 15, 16, 17, 31, 32, 33, 65};
    std::size_t total = 0;
    for (const std::size_t size : sizes) total += size;
    const std::vector<float> mean(total, 1.f), std(total, 2.f);
    std::vector<Value> first;
    for (const auto path : {NormalPath::portable, NormalPath::avx2, NormalPath::avx512}) {
        if (!supported(path)) continue;
        std::vector<Value> drawn(3 * total);
        NormalTensors(mean.data(), std.data(), sizes, path).fill(drawn.data(), 5, 7, 3, 1);
        if (first.empty()) first = drawn;
        require(drawn == first, "the paths of NormalTensors differ");
    }
}

// A CPU whose AVX-512 has no VAES draws its normals by AVX2, not number by number.
void check_normal_path() {
    const auto without = [](NormalPath path) { return path != NormalPath::avx512; };
    const auto nothing = [](NormalPath path) { return path == NormalPath::portable; };
    const auto all = [](NormalPath) { return true; };
    require(normal_path(SamplerPath::avx512, without) == NormalPath::avx2, "avx512, no VAES");
    require(normal_path(SamplerPath::avx512, all) == NormalPath::avx512, "avx512");
    require(normal_path(SamplerPath::avx2, all) == NormalPath::avx2, "avx2");
    require(normal_path(SamplerPath::avx2, nothing) == NormalPath::portable, "nothing");
    require(normal_path(SamplerPath::portable, all) == NormalPath::portable, "portable");
}

// Every kind of pool between buffers with hardly a byte to spare.
void check_pools() {
    for (int round = 0; round < 200; ++round) {
        PoolSpec spec;
        spec.maximum = round % 2 == 0;
        spec.type = std::array{Type::u8, Type::s8, Type::f32, Type::bf16}[round / 2 % 4];
        spec.in = {uniform(1, 20), uniform(4, 9), uniform(4, 9)};
        spec.out.channels = spec.in.channels;
        for (int axis = 0; axis < 2; ++axis) {
            const std::int64_t size = axis == 0 ? spec.in.height : spec.in.width;
            spec.kernel[axis] = uniform(1, 4);
            spec.stride[axis] = uniform(1, 3);
            spec.padding[axis] = uniform(0, static_cast<int>(spec.kernel[axis]) / 2);
            if (spec.maximum && size > 7 && spec.kernel[axis] < 4) {
                spec.dilation[axis] = uniform(1, 3);
            }
            const std::int64_t reach = (spec.kernel[axis] - 1) * spec.dilation[axis] + 1;
            (axis == 0 ? spec.out.height : spec.out.width) =
                (size + 2 * spec.padding[axis] - reach) / spec.stride[axis] + 1;
        }
        if (!spec.maximum && round % 3 == 0) {
            spec.adaptive = true;
            spec.out.height = uniform(1, 11);
            spec.out.width = uniform(1, 11);
            for (int axis = 0; axis < 2; ++axis) {
                spec.kernel[axis] = spec.stride[axis] = 1;
                spec.padding[axis] = 0;
            }
        }
        const std::size_t width = type_bytes(spec.type);
        // A float's alignment; of other types up to three bytes remain.
        std::vector<float> x((2 * static_cast<std::size_t>(spec.in.size()) * width + 3) / 4, 1.f);
        std::vector<float> out((2 * static_cast<std::size_t>(spec.out.size()) * width + 3) / 4);
        std::vector<std::int32_t> scratch(spec.row_words());
        pool(reinterpret_cast<const std::uint8_t*>(x.data()), {0, 2 * spec.out.height}, spec,
             scratch.data(), reinterpret_cast<std::uint8_t*>(out.data()));
        const bool ones = out == std::vector<float>(out.size(), 1.f);
        require(spec.type != Type::f32 || ones, "a pool of ones");
    }
}

// Between buffers without a byte to spare.
void check_group_norms() {
    for (int round = 0; round < 60; ++round) {
        GroupNormSpec spec;
        spec.type = round % 2 == 0 ? Type::u8 : Type::s8;
        spec.groups = uniform(1, 3);
        spec.image = {spec.groups * uniform(1, 9), uniform(1, 9), uniform(1, 9)};
        spec.eps = 1e-5;
        spec.scale = round % 5 == 0 ? 1e38f : 0.02f;
        spec.out_scale = round % 5 == 0 ? 1e-38f : 0.05f;
        std::vector<std::uint8_t> x(static_cast<std::size_t>(2 * spec.image.size()));
        for (std::uint8_t& byte : x) {
            byte = static_cast<std::uint8_t>(round % 3 == 0 ? 255 : uniform(0, 255));
        }
        std::vector<std::uint8_t> out(x.size(), 1);
        AlignedBuffer<std::int32_t> scratch(spec.row_words());
        group_norm(x.data(), {0, 2 * spec.image.height}, spec, scratch.data(), out.data());
        const bool zeros = out == std::vector<std::uint8_t>(out.size(), 0);
        require(round % 3 != 0 || zeros, "a group norm of what is everywhere the same");
    }
}

}  // namespace

int main() {
    try {
        check_sampler();
        check_floats();
        check_normals<float>();
        check_normals<std::uint16_t>();
        check_normal_path();
        check_pools();
        check_group_norms();
        check_split_block();
        for (const Network& network :
             {small_network(), one_pixel_network(), grouped_network(), joined_network(8),
              normed_network(8)}) {
            check_program(network, 5, 10);
        }
        check_program(wide_network(), 12, 1);
        check_program(joined_network(48), 12, 1);
        check_program(normed_network(48), 12, 1);
        check_program(shrinking_network(), 96, 1);
#if !defined(SIGMABENCH_ONEDNN)
        check_failure(small_network());
#endif
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
        return 1;
    }
    return 0;
}
