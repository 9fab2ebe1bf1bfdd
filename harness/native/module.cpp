// Python's view of the runtime. Arrays are checked here; nothing below trusts a shape twice.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "buffers.hpp"
#include "builder.hpp"
#include "normal.hpp"
#include "peaks.hpp"

namespace sigmabench {
namespace {

std::uint32_t mc_index(std::int64_t mc) {
    if (mc < 0 || mc >= (std::int64_t{1} << 32)) {
        throw nb::value_error("an MC index must be at least 0 and less than 2^32");
    }
    return static_cast<std::uint32_t>(mc);
}

// The first of some passes.
std::uint32_t first_of(std::int64_t first, std::int64_t count) {
    if (count < 1) throw nb::value_error("there must be at least one pass");
    const std::uint32_t begin = mc_index(first);
    if (count > (std::int64_t{1} << 32) - first) {
        throw nb::value_error("there are too many passes: an MC index must be less than 2^32");
    }
    return begin;
}

const float* images_of(const Program& program, const AnyArray& x) {
    const Network& network = program.network();
    const Image& image = network.at(network.input).image;
    const float* images =
        contiguous<float>(x, {-1, image.channels, image.height, image.width}, "x", "float32");
    if (x.shape(0) < 1) throw nb::value_error("x holds no images");
    return images;
}

// Of images that were refused, the first that is not finite, whichever a thread met first.
std::int64_t first_not_finite(const float* images, std::int64_t batch, std::int64_t size) {
    const float* bad = std::find_if(images, images + batch * size,
                                    [](float x) { return magnitude(x) > kLargestFinite; });
    return (bad - images) / size;
}

// Other Python threads run while this one computes, or waits for the program.
template <class Work>
auto released(Work work) {
    const nb::gil_scoped_release release;
    return work();
}

// Work on images, which are refused by number where one is not finite.
template <class Work>
auto on_images(const Program& program, const float* images, std::int64_t batch, Work work) {
    try {
        return released(work);
    } catch (const NotFinite&) {
        const Network& network = program.network();
        throw NotFinite(first_not_finite(images, batch, network.at(network.input).image.size()));
    }
}

nb::ndarray<nb::numpy, float> logits(Program& program, const AnyArray& x, std::uint64_t seed,
                                     std::int64_t first, std::int64_t count) {
    const Network& network = program.network();
    const float* images = images_of(program, x);
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    const std::uint32_t begin = first_of(first, count);
    const std::int64_t size = network.at(network.output).image.size();
    std::vector<float> out(static_cast<std::size_t>(count * batch * size));
    on_images(program, images, batch,
              [&] { program.logits(images, batch, seed, begin, count, out.data()); });
    return owned(std::move(out), {static_cast<std::size_t>(count), static_cast<std::size_t>(batch),
                                  static_cast<std::size_t>(size)});
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
    const auto* w =
        contiguous<std::int8_t>(weights, {g.outputs, g.inputs, g.height, g.width}, "w_q", "int8");
    const void* images =
        in.type() == Type::s8
            ? static_cast<const void*>(contiguous<std::int8_t>(x, shape, "x_q", "int8"))
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
    const std::uint32_t begin = first_of(first, count);
    const nb::gil_scoped_release release;
    program.draw(seed, begin, count);
}

void copy(Buffers& buffers, std::int64_t times) {
    if (times < 1) throw nb::value_error("there must be at least one copy");
    const nb::gil_scoped_release release;
    buffers.copy(times);
}

std::uint64_t read(Buffers& buffers, std::int64_t times) {
    if (times < 1) throw nb::value_error("there must be at least one reading");
    const nb::gil_scoped_release release;
    return buffers.read(times);
}

const Loop& loop_named(const std::string& name) {
    for (const Loop& loop : loops()) {
        if (name != loop.name()) continue;
        if (!loop.supported()) throw nb::value_error(("this CPU cannot run " + name).c_str());
        return loop;
    }
    throw nb::value_error(("there is no loop named " + name).c_str());
}

nb::dict run_loop(const std::string& name, int threads, std::int64_t steps) {
    const Loop& loop = loop_named(name);
    check_threads(threads);
    if (steps < 1 || steps > kMostSteps) {
        throw nb::value_error(("steps must be from 1 to " + std::to_string(kMostSteps)).c_str());
    }
    const LoopRun found = released([&] { return run(loop, threads, steps); });
    nb::dict told;
    told["seconds"] = found.seconds;
    told["multiply_adds"] = found.multiply_adds;
    told["hertz"] = found.hertz;
    return told;
}

// The activation that a step makes; the last step makes the input.
const std::string& step_name(const Network& network, std::size_t step) {
    const bool input = step == network.nodes.size();
    return network.at(input ? network.input : node_output(network.nodes[step])).name;
}

nb::dict profile(Program& program, const AnyArray& x, std::uint64_t seed, std::int64_t first,
                 std::int64_t count) {
    const Network& network = program.network();
    const float* images = images_of(program, x);
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    const std::uint32_t begin = first_of(first, count);
    std::vector<float> out(
        static_cast<std::size_t>(count * batch * network.at(network.output).image.size()));
    const ProfileReport report = on_images(program, images, batch, [&] {
        return program.profile(images, batch, seed, begin, count, out.data());
    });
    nb::list steps;
    for (std::size_t k = 0; k < report.steps.size(); ++k) {
        nb::dict step;
        step["name"] = step_name(network, k);
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
    first_of(0, count);
    return on_images(program, images, batch, [&] { return program.team(images, batch, count); });
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

nb::dict bytes_of(const TrafficReport& report) {
    nb::dict numbers;
    numbers["mean"] = report.mean;
    numbers["std"] = report.sigma;
    numbers["sampled"] = report.sampled;
    numbers["activations"] = report.activations;
    return numbers;
}

nb::dict traffic(Program& program, std::int64_t batch) {
    return bytes_of(released([&] { return program.traffic(batch); }));
}

nb::list counts(Program& program) {
    const auto found = released([&] { return program.counts(); });
    nb::list steps;
    for (std::size_t k = 0; k < found.size(); ++k) {
        nb::dict step = bytes_of(found[k].traffic);
        step["name"] = step_name(program.network(), k);
        step["multiply_adds"] = found[k].multiply_adds;
        steps.append(step);
    }
    return steps;
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
                                              const std::string& isa, std::uint32_t ordinal) {
    std::int64_t size = 0;
    for (const std::size_t part : sizes) {
        if (part > std::size_t{1} << 34) throw nb::value_error("a tensor is too large");
        size += static_cast<std::int64_t>(part);
    }
    return std::make_unique<NormalTensors>(contiguous<float>(mean, {size}, "mean", "float32"),
                                           contiguous<float>(std, {size}, "std", "float32"), sizes,
                                           normal_path_named(isa), ordinal);
}

using Output = nb::ndarray<nb::device::cpu, nb::c_contig>;

void fill_normal(const NormalTensors& tensors, const Output& out, std::uint64_t seed,
                 std::int64_t first, std::int64_t count, int threads) {
    const std::uint32_t from = first_of(first, count);
    check_threads(threads);
    const auto passes = static_cast<std::size_t>(count);
    if (out.size() != passes * tensors.size()) {
        throw nb::value_error("out must have room for count passes and no more");
    }
    void* data = out.data();
    const bool half = out.dtype() == nb::dtype<std::uint16_t>();
    if (!half && out.dtype() != nb::dtype<float>()) {
        throw nb::type_error("out must be float32, or uint16 for bfloat16");
    }
    const nb::gil_scoped_release release;
    if (half) {
        tensors.fill(static_cast<std::uint16_t*>(data), seed, from, passes, threads);
    } else {
        tensors.fill(static_cast<float*>(data), seed, from, passes, threads);
    }
}

}  // namespace

NB_MODULE(_native, m) {
    nb::exception<NotFinite>(m, "NotFiniteError", PyExc_ValueError);
    m.def("onednn_isa", &onednn_isa, "Widest instruction set oneDNN may use here.");
    m.def(
        "sampler_paths",
        [] {
            std::vector<std::string> names;
            for (const auto path : {SamplerPath::avx512_vbmi, SamplerPath::avx512,
                                    SamplerPath::avx2, SamplerPath::portable}) {
                if (supported(path)) names.emplace_back(path_name(path));
            }
            return names;
        },
        "Sampler paths this CPU can take, the fastest first.");
    m.def(
        "normal_paths",
        [] {
            std::vector<std::string> names;
            for (const auto path : {NormalPath::avx512, NormalPath::avx2, NormalPath::portable}) {
                if (supported(path)) names.emplace_back(path_name(path));
            }
            return names;
        },
        "Paths of NormalTensors this CPU can take, the fastest first.");
    nb::class_<NormalTensors>(m, "NormalTensors")
        .def(nb::new_(&normal_tensors), nb::arg("mean"), nb::arg("std"), nb::arg("sizes"),
             nb::arg("isa") = "auto", nb::arg("ordinal") = 0)
        .def("fill", &fill_normal, nb::arg("out").noconvert(), nb::arg("seed"), nb::arg("first"),
             nb::arg("count"), nb::arg("threads") = 1)
        .def_prop_ro("path",
                     [](const NormalTensors& t) { return std::string(path_name(t.path())); });
    nb::class_<Buffers>(m, "Buffers")
        .def(nb::new_([](std::size_t bytes, int threads) {
                 check_threads(threads);
                 return std::make_unique<Buffers>(bytes, threads);
             }),
             nb::arg("bytes"), nb::arg("threads"))
        .def("copy", &copy, nb::arg("times") = 1)
        .def("read", &read, nb::arg("times") = 1,
             "Reads source and target; the sum of all words of 64 bits, modulo 2^64: each byte is "
             "1.");
    m.def(
        "loops",
        [] {
            nb::list found;
            for (const Loop& loop : loops()) {
                if (!loop.supported()) continue;
                nb::dict told;
                told["name"] = loop.name();
                told["numbers"] = loop.numbers;
                told["isa"] = loop.isa;
                told["multiply_adds"] = loop.multiply_adds;
                found.append(told);
            }
            return found;
        },
        "Loops of multiply-adds in registers that this CPU can run, narrow sets first: their "
        "names, "
        "numbers, instruction sets and multiply-adds of a step.");
    m.def("run_loop", &run_loop, nb::arg("name"), nb::arg("threads"), nb::arg("steps"),
          "Seconds from the first thread's start to the last one's end, multiply-adds as the sums "
          "count them, and the clock by dependent additions right after.");
    nb::class_<Builder>(m, "Builder")
        .def(nb::init<const std::string&, std::int64_t>(), nb::arg("number") = "int8",
             nb::arg("first_layer") = 0)
        .def("activation", &Builder::activation, nb::arg("name"), nb::arg("shape"),
             nb::arg("scale"), nb::arg("signed"))
        .def("conv", &Builder::conv, nb::kw_only(), nb::arg("input"), nb::arg("output"),
             nb::arg("residual"), nb::arg("shape"), nb::arg("stride"), nb::arg("padding"),
             nb::arg("dilation"), nb::arg("groups"), nb::arg("relu"), nb::arg("mean"),
             nb::arg("weight_scale"), nb::arg("bias"))
        .def("normal_conv", &Builder::normal_conv, nb::kw_only(), nb::arg("input"),
             nb::arg("output"), nb::arg("residual"), nb::arg("shape"), nb::arg("stride"),
             nb::arg("padding"), nb::arg("dilation"), nb::arg("groups"), nb::arg("relu"),
             nb::arg("mean"), nb::arg("std").none(), nb::arg("bias"), nb::arg("bias_std").none(),
             nb::arg("ceiling").none() = nb::none())
        .def("sigma", &Builder::sigma, nb::kw_only(), nb::arg("bits"), nb::arg("sigma"),
             nb::arg("multiplier"), nb::arg("offset"), nb::arg("shift"))
        .def("bias_step", &Builder::bias_step, nb::arg("step"))
        .def("pool", &Builder::pool, nb::kw_only(), nb::arg("input"), nb::arg("output"),
             nb::arg("maximum"), nb::arg("kernel"), nb::arg("stride"), nb::arg("padding"),
             nb::arg("dilation") = Pair{1, 1}, nb::arg("adaptive") = false)
        .def("group_norm", &Builder::group_norm, nb::arg("input"), nb::arg("output"),
             nb::arg("groups"), nb::arg("eps"))
        .def("join", &Builder::join, nb::kw_only(), nb::arg("inputs"), nb::arg("output"),
             nb::arg("tables"))
        .def("clipped_join", &Builder::clipped_join, nb::kw_only(), nb::arg("inputs"),
             nb::arg("output"), nb::arg("low"), nb::arg("high"))
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
        .def("counts", &counts,
             "Of each step, the input last, in the latest call of logits, or on one image if there "
             "was none: bytes moved, and multiply-adds executed, those on padding included.")
        .def("profile", &profile, nb::arg("x"), nb::arg("seed"), nb::arg("first"), nb::arg("count"))
        .def("team", &team, nb::arg("x"), nb::arg("count"),
             "Threads that work on a pass together where so many passes of this batch are asked "
             "for.")
        .def("memory", &memory)
        .def("draw", &draw, nb::arg("seed"), nb::arg("first"), nb::arg("count"))
        .def_prop_ro("latest_team",
                     [](Program& p) { return released([&] { return p.latest_team(); }); })
        .def_prop_ro("threads", &Program::threads)
        .def_prop_ro(
            "sampler",
            [](const Program& p) {
                return std::string(p.network().real() ? path_name(normal_path(p.path()))
                                                      : path_name(p.path()));
            },
            "The path that draws: of the sampler, or in a float network of the normals.")
        .def_prop_ro("draws", &Program::draws);
}

}  // namespace sigmabench
