// Python's view of the runtime. Arrays are checked here; nothing below trusts a shape twice.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "arrays.hpp"
#include "normal.hpp"
#include "program.hpp"

namespace sigmabench {
namespace {

std::uint32_t mc_index(std::int64_t mc) {
    if (mc < 0 || mc >= (std::int64_t{1} << 32)) {
        throw nb::value_error("an MC index must be at least 0 and less than 2^32");
    }
    return static_cast<std::uint32_t>(mc);
}

using Pair = std::vector<std::int64_t>;
constexpr std::int64_t kLargest = 1 << 20;  // of what a kernel's geometry may name
constexpr int kMostThreads = 1024;

void assign(std::int64_t (&to)[2], const Pair& from) {
    if (from.size() != 2) throw nb::value_error("a stride or padding is a pair");
    for (const std::int64_t value : from) {
        if (value < 0 || value > kLargest) {
            throw nb::value_error("a kernel, stride, padding or dilation is out of range");
        }
    }
    to[0] = from[0];
    to[1] = from[1];
}

// Collects a network node by node, then becomes a Program.
class Builder {
public:
    explicit Builder(const std::string& number) {
        if (number == "fp32") {
            network_.number = Type::f32;
        } else if (number == "bf16") {
            network_.number = Type::bf16;
        } else if (number != "int8") {
            throw nb::value_error("number must be int8, fp32 or bf16");
        }
    }

    int activation(const std::string& name, const Pair& shape, float scale, bool is_signed) {
        if (shape.size() != 3) {
            throw nb::value_error((name + ": an activation's shape is (C, H, W)").c_str());
        }
        std::int64_t size = 1;
        for (const std::int64_t length : shape) {
            if (length < 1 || length > std::numeric_limits<std::int32_t>::max() / size) {
                throw nb::value_error(
                    (name + ": it must hold at least one number and fewer than 2^31").c_str());
            }
            size *= length;
        }
        if (!(scale >= 0)) throw nb::value_error((name + ": a scale is not negative").c_str());
        network_.activations.push_back({name, {shape[0], shape[1], shape[2]}, scale, is_signed,
                                        network_.real() ? network_.number : Type::f32});
        return static_cast<int>(network_.activations.size()) - 1;
    }

    void conv(int input, int output, int residual, const Pair& shape, const Pair& stride,
              const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
              const AnyArray& mean, const AnyArray& weight_scale, const AnyArray& bias) {
        if (network_.real()) throw nb::value_error("conv adds int8 weights; use normal_conv");
        ConvNode& node = add(input, output, residual, shape, stride, padding, dilation, groups,
                             relu, bias);
        node.posterior.mean =
            copied<std::int8_t>(mean, node.posterior.geometry.weights(), "mean", "int8");
        node.weight_scale = copied<float>(weight_scale, shape[0], "weight_scale", "float32");
    }

    // A layer of a float network; std or bias_std null: not sampled.
    void normal_conv(int input, int output, int residual, const Pair& shape, const Pair& stride,
                     const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                     const AnyArray& mean, const std::optional<AnyArray>& spread,
                     const AnyArray& bias, const std::optional<AnyArray>& bias_std) {
        if (!network_.real()) throw nb::value_error("normal_conv adds float weights; use conv");
        ConvNode& node = add(input, output, residual, shape, stride, padding, dilation, groups,
                             relu, bias);
        const Geometry& g = node.posterior.geometry;
        const Pair dims = {g.outputs, g.inputs, g.height, g.width};
        const float* deviation =
            spread ? contiguous<float>(*spread, dims, "std", "float32") : nullptr;
        node.normal = std::make_shared<const NormalPosterior>(
            g, contiguous<float>(mean, dims, "mean", "float32"), deviation, network_.number,
            2 * node.ordinal);
        if (!bias_std) return;
        node.normal_bias = std::make_shared<const NormalPosterior>(
            Geometry{shape[0], 1, 1, 1}, node.bias.data(),
            contiguous<float>(*bias_std, {shape[0]}, "bias_std", "float32"), Type::f32,
            2 * node.ordinal + 1);
    }

    // The last conv's weights are sampled.
    void sigma(int bits, const AnyArray& sigma, const AnyArray& multiplier, const AnyArray& offset,
               const AnyArray& shift) {
        Posterior& p = last().posterior;
        const std::int64_t channels = p.geometry.outputs;
        p.bits = bits;
        p.sigma = copied<std::uint8_t>(sigma, p.geometry.weights(), "sigma_q", "uint8");
        p.multiplier = copied<std::int16_t>(multiplier, channels, "multiplier", "int16");
        p.offset = copied<std::int16_t>(offset, channels, "offset", "int16");
        p.shift = copied<std::uint8_t>(shift, channels, "shift", "uint8");
    }

    // The last conv's bias is sampled; step is sigma_b * s_eps.
    void bias_step(const AnyArray& step) {
        last().bias_step =
            copied<float>(step, last().posterior.geometry.outputs, "bias_step", "float32");
    }

    void pool(int input, int output, bool maximum, const Pair& kernel, const Pair& stride,
              const Pair& padding) {
        PoolNode node;
        node.input = input;
        node.output = output;
        node.maximum = maximum;
        assign(node.kernel, kernel);
        assign(node.stride, stride);
        assign(node.padding, padding);
        network_.nodes.emplace_back(node);
    }

    std::unique_ptr<Program> build(int input, int output, const AnyArray& threshold,
                                   const AnyArray& alias, const std::string& engine,
                                   const std::string& isa, int threads, int team) {
        network_.input = input;
        network_.output = output;
        if (output >= 0 && output < static_cast<int>(network_.activations.size())) {
            network_.activations[static_cast<std::size_t>(output)].real = Type::f32;
        }
        AliasTables tables;
        const auto* slots = contiguous<std::uint8_t>(threshold, {128}, "threshold", "uint8");
        const auto* others = contiguous<std::uint8_t>(alias, {128}, "alias", "uint8");
        std::copy(slots, slots + 128, tables.threshold);
        std::copy(others, others + 128, tables.alias);
        for (const std::uint8_t column : tables.alias) {
            if (column > 127) throw nb::value_error("alias must name columns 0 to 127");
        }
        if (threads < 1 || threads > kMostThreads) {
            throw nb::value_error(
                ("threads must be from 1 to " + std::to_string(kMostThreads)).c_str());
        }
        return std::make_unique<Program>(std::move(network_), tables, engine_named(engine),
                                         path_named(isa), threads, team);
    }

private:
    ConvNode& add(int input, int output, int residual, const Pair& shape, const Pair& stride,
                  const Pair& padding, const Pair& dilation, std::int64_t groups, bool relu,
                  const AnyArray& bias) {
        if (shape.size() != 4) throw nb::value_error("a weight's shape is (O, I, KH, KW)");
        const Geometry geometry = {shape[0], shape[1], shape[2], shape[3]};
        if (output < 0 || output >= static_cast<int>(network_.activations.size())) {
            throw nb::value_error("a conv's output is no activation");
        }
        check_weight_shape(network_.at(output).name, geometry, network_.real());
        ConvNode node;
        node.input = input;
        node.output = output;
        node.residual = residual;
        node.groups = groups;
        node.relu = relu;
        node.ordinal = layers_++;
        assign(node.stride, stride);
        assign(node.padding, padding);
        assign(node.dilation, dilation);
        node.posterior.geometry = geometry;
        node.bias = copied<float>(bias, shape[0], "bias", "float32");
        return std::get<ConvNode>(network_.nodes.emplace_back(std::move(node)));
    }

    ConvNode& last() {
        auto* node =
            network_.nodes.empty() ? nullptr : std::get_if<ConvNode>(&network_.nodes.back());
        if (node == nullptr) throw nb::value_error("there is no conv before this");
        return *node;
    }

    static Engine engine_named(const std::string& name) {
        if (name == "auto") return Engine::automatic;
        if (name == "onednn") return Engine::onednn;
        if (name == "portable") return Engine::portable;
        throw nb::value_error("engine must be auto, onednn or portable");
    }

    static SamplerPath path_named(const std::string& name) {
        if (name == "auto") return best_path();
        for (const auto path :
             {SamplerPath::portable, SamplerPath::avx2, SamplerPath::avx512,
              SamplerPath::avx512_vbmi}) {
            if (name == path_name(path)) return path;
        }
        throw nb::value_error("isa must be auto, portable, avx2, avx512 or avx512_vbmi");
    }

    Network network_;
    std::uint32_t layers_ = 0;
};

const float* images_of(const Program& program, const AnyArray& x) {
    const Network& network = program.network();
    const Image& image = network.at(network.input).image;
    const float* images =
        contiguous<float>(x, {-1, image.channels, image.height, image.width}, "x", "float32");
    if (x.shape(0) < 1) throw nb::value_error("x holds no images");
    return images;
}

nb::ndarray<nb::numpy, float> logits(Program& program, const AnyArray& x, std::uint64_t seed,
                                     std::int64_t first, std::int64_t count) {
    const Network& network = program.network();
    const float* images = images_of(program, x);
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    if (count < 1) throw nb::value_error("there must be at least one pass");
    const std::uint32_t begin = mc_index(first);
    mc_index(first + count - 1);
    const std::int64_t classes = network.at(network.output).image.channels;
    std::vector<float> out(static_cast<std::size_t>(count * batch * classes));
    {
        const nb::gil_scoped_release release;
        program.logits(images, batch, seed, begin, count, out.data());
    }
    return owned(std::move(out), {static_cast<std::size_t>(count), static_cast<std::size_t>(batch),
                                  static_cast<std::size_t>(classes)});
}

// Other Python threads run while this one computes, or waits for the program.
template <class Work>
auto released(Work work) {
    const nb::gil_scoped_release release;
    return work();
}

// [O, I, KH, KW], int8, or float32 of a float network
nb::object sample_weights(Program& program, const std::string& layer, std::uint64_t seed,
                          std::int64_t mc) {
    const std::size_t node = program.node_of(layer);
    const Geometry& g = program.conv(node).posterior.geometry;
    const std::uint32_t pass = mc_index(mc);
    const std::vector<std::size_t> shape = {
        static_cast<std::size_t>(g.outputs), static_cast<std::size_t>(g.inputs),
        static_cast<std::size_t>(g.height), static_cast<std::size_t>(g.width)};
    if (program.network().real()) {
        return nb::cast(
            owned(released([&] { return program.sample_real(node, seed, pass); }), shape));
    }
    return nb::cast(owned(released([&] { return program.sample(node, seed, pass); }), shape));
}

nb::tuple packed_weights(Program& program, const std::string& layer, std::uint64_t seed,
                         std::int64_t mc) {
    const std::size_t node = program.node_of(layer);
    const std::uint32_t pass = mc_index(mc);
    PackedWeights packed = released([&] { return program.packed(node, seed, pass); });
    const std::size_t size = packed.weight.size();
    return nb::make_tuple(owned(std::move(packed.bytes), {size}),
                          owned(std::move(packed.weight), {size}));
}

nb::ndarray<nb::numpy, float> sample_bias(Program& program, const std::string& layer,
                                          std::uint64_t seed, std::int64_t mc) {
    const std::size_t node = program.node_of(layer);
    const std::uint32_t pass = mc_index(mc);
    auto bias = released([&] { return program.sample_bias(node, seed, pass); });
    const std::size_t size = bias.size();
    return owned(std::move(bias), {size});
}

// [N, OH, OW, O]
nb::ndarray<nb::numpy, std::int32_t> accumulators(Program& program, const std::string& layer,
                                                  const AnyArray& x, const AnyArray& weights) {
    const std::size_t index = program.node_of(layer);
    const ConvNode& node = program.conv(index);
    const Activation& in = program.network().at(node.input);
    const Image& out = program.network().at(node.output).image;
    const std::vector<std::int64_t> shape = {-1, in.image.channels, in.image.height,
                                             in.image.width};
    const Geometry& g = node.posterior.geometry;
    const auto* w = contiguous<std::int8_t>(weights, {g.outputs, g.inputs, g.height, g.width},
                                            "w_q", "int8");
    const void* images = in.type() == Type::s8
                             ? static_cast<const void*>(
                                   contiguous<std::int8_t>(x, shape, "x_q", "int8"))
                             : contiguous<std::uint8_t>(x, shape, "x_q", "uint8");
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    if (batch < 1) throw nb::value_error("x_q holds no images");
    auto sums = released([&] {
        return program.accumulators(index, batch, static_cast<const std::uint8_t*>(images), w);
    });
    return owned(std::move(sums),
                 {static_cast<std::size_t>(batch), static_cast<std::size_t>(out.height),
                  static_cast<std::size_t>(out.width), static_cast<std::size_t>(out.channels)});
}

nb::list describe(Program& program, std::int64_t batch) {
    nb::list layers;
    for (const LayerReport& report : released([&] { return program.describe(batch); })) {
        nb::dict layer;
        layer["name"] = report.name;
        layer["implementation"] = report.implementation;
        layer["path"] = report.path;
        layers.append(layer);
    }
    return layers;
}

void draw(Program& program, std::uint64_t seed, std::int64_t first, std::int64_t count) {
    if (count < 1) throw nb::value_error("there must be at least one pass");
    const std::uint32_t begin = mc_index(first);
    mc_index(first + count - 1);
    const nb::gil_scoped_release release;
    program.draw(seed, begin, count);
}

// A plain copy by the runtime's own threads, to hold its bandwidth against.
class Copy {
public:
    Copy(std::size_t bytes, int threads)
        : from_(bytes), to_(bytes), workers_(std::clamp(threads, 1, kMostThreads)) {}
    void run() {
        const nb::gil_scoped_release release;
        const auto parts = static_cast<std::size_t>(workers_.threads());
        workers_.run(workers_.threads(), [&](std::int64_t part, int) {
            const auto k = static_cast<std::size_t>(part);
            const std::size_t begin = from_.size() * k / parts;
            const std::size_t end = from_.size() * (k + 1) / parts;
            std::memcpy(to_.data() + begin, from_.data() + begin, end - begin);
        });
    }

private:
    AlignedBuffer<std::uint8_t> from_, to_;
    Workers workers_;
};

nb::dict profile(Program& program, const AnyArray& x, std::uint64_t seed, std::int64_t first,
                 std::int64_t count) {
    const Network& network = program.network();
    const float* images = images_of(program, x);
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    if (count < 1) throw nb::value_error("there must be at least one pass");
    const std::uint32_t begin = mc_index(first);
    mc_index(first + count - 1);
    std::vector<float> out(
        static_cast<std::size_t>(count * batch * network.at(network.output).image.size()));
    const ProfileReport report = released(
        [&] { return program.profile(images, batch, seed, begin, count, out.data()); });
    nb::list steps;
    for (std::size_t k = 0; k < report.steps.size(); ++k) {
        nb::dict step;
        const bool input = k + 1 == report.steps.size();
        step["name"] =
            network.at(input ? network.input : node_output(network.nodes[k])).name;
        step["sampling_ns"] = report.steps[k].sampling;
        step["compute_ns"] = report.steps[k].compute;
        step["rest_ns"] = report.steps[k].rest;
        step["waiting_ns"] = report.steps[k].waiting;
        steps.append(step);
    }
    nb::dict all;
    all["steps"] = steps;
    all["wall_ns"] = report.wall;
    return all;
}

int team(Program& program, const AnyArray& x, std::int64_t count) {
    const float* images = images_of(program, x);
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    if (count < 1) throw nb::value_error("there must be at least one pass");
    return released([&] { return program.team(images, batch, count); });
}

nb::dict memory(Program& program) {
    const MemoryReport report = released([&] { return program.memory(); });
    nb::dict numbers;
    numbers["mean"] = report.mean;
    numbers["std"] = report.sigma;
    numbers["constants"] = report.constants;
    numbers["layouts"] = report.layouts;
    numbers["activations"] = report.activations;
    numbers["weights"] = report.weights;
    numbers["scratch"] = report.scratch;
    numbers["live"] = report.live;
    numbers["largest"] = report.largest;
    numbers["teams"] = report.teams;
    return numbers;
}

nb::dict traffic(Program& program, std::int64_t batch) {
    const TrafficReport report = released([&] { return program.traffic(batch); });
    nb::dict numbers;
    numbers["mean"] = report.mean;
    numbers["std"] = report.sigma;
    numbers["sampled"] = report.sampled;
    numbers["activations"] = report.activations;
    return numbers;
}

NormalPath normal_path_named(const std::string& name) {
    if (name == "auto") return best_normal_path();
    for (const auto path : {NormalPath::portable, NormalPath::avx2, NormalPath::avx512}) {
        if (name != path_name(path)) continue;
        if (!supported(path)) throw nb::value_error(("this CPU cannot take " + name).c_str());
        return path;
    }
    throw nb::value_error("isa must be auto, portable, avx2 or avx512");
}

std::unique_ptr<NormalTensors> normal_tensors(const AnyArray& mean, const AnyArray& std,
                                              const std::vector<std::size_t>& sizes,
                                              const std::string& isa) {
    std::int64_t size = 0;
    for (const std::size_t part : sizes) {
        if (part > std::size_t{1} << 34) throw nb::value_error("a tensor is too large");
        size += static_cast<std::int64_t>(part);
    }
    return std::make_unique<NormalTensors>(contiguous<float>(mean, {size}, "mean", "float32"),
                                           contiguous<float>(std, {size}, "std", "float32"), sizes,
                                           normal_path_named(isa));
}

using Output = nb::ndarray<nb::device::cpu, nb::c_contig>;

void fill_normal(const NormalTensors& tensors, const Output& out, std::uint64_t seed,
                 std::int64_t first, std::size_t count, int threads) {
    const std::uint32_t from = mc_index(first);
    if (count > (std::uint64_t{1} << 32) - from) throw nb::value_error("too many passes");
    if (threads < 1) throw nb::value_error("threads must be at least 1");
    if (out.size() != count * tensors.size()) {
        throw nb::value_error("out must have room for count passes and no more");
    }
    void* data = out.data();
    const bool half = out.dtype() == nb::dtype<std::uint16_t>();
    if (!half && out.dtype() != nb::dtype<float>()) {
        throw nb::type_error("out must be float32, or uint16 for bfloat16");
    }
    const nb::gil_scoped_release release;
    if (half) {
        tensors.fill(static_cast<std::uint16_t*>(data), seed, from, count, threads);
    } else {
        tensors.fill(static_cast<float*>(data), seed, from, count, threads);
    }
}

}  // namespace

NB_MODULE(_native, m) {
    m.def("onednn_isa", &onednn_isa, "Widest instruction set oneDNN may use here.");
    m.def("sampler_paths", [] {
        std::vector<std::string> names;
        for (const auto path :
             {SamplerPath::avx512_vbmi, SamplerPath::avx512, SamplerPath::avx2,
              SamplerPath::portable}) {
            if (supported(path)) names.emplace_back(path_name(path));
        }
        return names;
    }, "Sampler paths this CPU can take, the fastest first.");
    m.def("normal_paths", [] {
        std::vector<std::string> names;
        for (const auto path : {NormalPath::avx512, NormalPath::avx2, NormalPath::portable}) {
            if (supported(path)) names.emplace_back(path_name(path));
        }
        return names;
    }, "Paths of NormalTensors this CPU can take, the fastest first.");
    nb::class_<NormalTensors>(m, "NormalTensors")
        .def(nb::new_(&normal_tensors), nb::arg("mean"), nb::arg("std"), nb::arg("sizes"),
             nb::arg("isa") = "auto")
        .def("fill", &fill_normal, nb::arg("out").noconvert(), nb::arg("seed"), nb::arg("first"),
             nb::arg("count"), nb::arg("threads") = 1)
        .def_prop_ro("path",
                     [](const NormalTensors& t) { return std::string(path_name(t.path())); });
    nb::class_<Copy>(m, "Copy")
        .def(nb::init<std::size_t, int>(), nb::arg("bytes"), nb::arg("threads"))
        .def("run", &Copy::run);
    nb::class_<Builder>(m, "Builder")
        .def(nb::init<const std::string&>(), nb::arg("number") = "int8")
        .def("activation", &Builder::activation, nb::arg("name"), nb::arg("shape"),
             nb::arg("scale"), nb::arg("signed"))
        .def("conv", &Builder::conv, nb::kw_only(), nb::arg("input"), nb::arg("output"),
             nb::arg("residual"), nb::arg("shape"), nb::arg("stride"), nb::arg("padding"),
             nb::arg("dilation"), nb::arg("groups"), nb::arg("relu"), nb::arg("mean"),
             nb::arg("weight_scale"), nb::arg("bias"))
        .def("normal_conv", &Builder::normal_conv, nb::kw_only(), nb::arg("input"),
             nb::arg("output"), nb::arg("residual"), nb::arg("shape"), nb::arg("stride"),
             nb::arg("padding"), nb::arg("dilation"), nb::arg("groups"), nb::arg("relu"),
             nb::arg("mean"), nb::arg("std").none(), nb::arg("bias"), nb::arg("bias_std").none())
        .def("sigma", &Builder::sigma, nb::kw_only(), nb::arg("bits"), nb::arg("sigma"),
             nb::arg("multiplier"), nb::arg("offset"), nb::arg("shift"))
        .def("bias_step", &Builder::bias_step, nb::arg("step"))
        .def("pool", &Builder::pool, nb::kw_only(), nb::arg("input"), nb::arg("output"),
             nb::arg("maximum"), nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"))
        .def("build", &Builder::build, nb::kw_only(), nb::arg("input"), nb::arg("output"),
             nb::arg("threshold"), nb::arg("alias"), nb::arg("engine"), nb::arg("isa"),
             nb::arg("threads"), nb::arg("team") = 0);
    nb::class_<Program>(m, "Program")
        .def("logits", &logits, nb::arg("x"), nb::arg("seed"), nb::arg("first"), nb::arg("count"))
        .def("sample", &sample_weights, nb::arg("layer"), nb::arg("seed"), nb::arg("mc"))
        .def("packed", &packed_weights, nb::arg("layer"), nb::arg("seed"), nb::arg("mc"),
             "The buffer that the layer's kernel reads, int8 [N], and the weight in logical order "
             "that each byte holds, int32 [N], -1 where it holds none.")
        .def("sample_bias", &sample_bias, nb::arg("layer"), nb::arg("seed"), nb::arg("mc"))
        .def("accumulators", &accumulators, nb::arg("layer"), nb::arg("x_q"), nb::arg("w_q"))
        .def("describe", &describe, nb::arg("batch") = 0)
        .def("traffic", &traffic, nb::arg("batch"))
        .def("profile", &profile, nb::arg("x"), nb::arg("seed"), nb::arg("first"),
             nb::arg("count"))
        .def("team", &team, nb::arg("x"), nb::arg("count"),
             "Threads that work on a pass together where so many passes of this batch are asked for.")
        .def("memory", &memory)
        .def("draw", &draw, nb::arg("seed"), nb::arg("first"), nb::arg("count"))
        .def_prop_ro("latest_team",
                     [](Program& p) { return released([&] { return p.latest_team(); }); })
        .def_prop_ro("threads", &Program::threads)
        .def_prop_ro("sampler", [](const Program& p) { return std::string(path_name(p.path())); })
        .def_prop_ro("draws", &Program::draws);
}

}  // namespace sigmabench
