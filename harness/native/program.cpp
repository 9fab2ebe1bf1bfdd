#include "program.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>

namespace sigmabench {
namespace {

constexpr std::size_t kPlans = 8;              // batch sizes kept ready
constexpr std::int64_t kMostImages = 1 << 24;  // so that no count of bytes overflows
constexpr int kPoison = 99;                    // what a buffer holds that others have used
constexpr int kTrialRounds = 5;  // of a size of teams that is measured, more if they are short
constexpr double kTrialLeast = 0.03, kTrialMost = 0.3;  // seconds
constexpr double kTrialLong = 1e-3;  // seconds beside which waking the threads is little
constexpr double kClearly = 0.95;    // of the time of a smaller team, to be preferred to it

using Clock = std::chrono::steady_clock;

const char* path_of(WeightPath path) {
    switch (path) {
        case WeightPath::direct:
            return "direct";
        case WeightPath::gather:
            return "gather";
        default:
            return "reorder";
    }
}

// Bytes that the process's limit (`ulimit -v`) leaves it.
std::size_t free_addresses() {
    rlimit limit{};
    std::size_t pages = 0;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        !(std::ifstream("/proc/self/statm") >> pages)) {
        return std::numeric_limits<std::size_t>::max();
    }
    const std::size_t used = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

// Bytes the system would give, or as many as there can be where it does not say.
std::size_t free_memory() {
    std::ifstream told("/proc/meminfo");
    std::string word;
    for (std::size_t kibibytes = 0; told >> word;) {
        if (word == "MemAvailable:" && told >> kibibytes) {
            return std::min(kibibytes * 1024, free_addresses());
        }
    }
    return free_addresses();
}

std::size_t wanted_memory(const Plan& plan, std::int64_t teams) {
    return plan.team_bytes() * static_cast<std::size_t>(teams);
}

// The posteriors of the nodes as they will be read; the network keeps their shapes alone.
std::vector<std::shared_ptr<const Store>> take_posteriors(Network& network) {
    std::vector<const Posterior*> posteriors;
    for (const Node& node : network.nodes) {
        const auto* conv = std::get_if<ConvNode>(&node);
        if (conv != nullptr && conv->normal == nullptr) posteriors.push_back(&conv->posterior);
    }
    const auto made = make_stores(posteriors);
    std::vector<std::shared_ptr<const Store>> by_node;
    auto next = made.begin();
    for (Node& node : network.nodes) {
        auto* conv = std::get_if<ConvNode>(&node);
        const bool integers = conv != nullptr && conv->normal == nullptr;
        by_node.push_back(integers ? *next++ : nullptr);
        if (!integers) continue;
        Posterior bare;
        bare.geometry = conv->posterior.geometry;
        bare.bits = conv->posterior.bits;
        conv->posterior = std::move(bare);
    }
    return by_node;
}

}  // namespace

Program::Program(Network network, const AliasTables& tables, Engine engine, SamplerPath path,
                 int threads, int team)
    : network_(std::move(network)),
      tables_(tables),
      engine_(engine),
      path_(path),
      threads_(threads),
      team_(team) {
    network_.check();
    if (!supported(path_)) {
        throw std::invalid_argument(std::string("this CPU has not what the sampler's path ") +
                                    path_name(path_) + " needs");
    }
    if (network_.real() && engine_ == Engine::portable) {
        throw std::invalid_argument("the portable engine computes int8 alone");
    }
    if (!network_.real() && engine_ == Engine::onednn && !onednn_exact()) {
        throw std::invalid_argument(
            "oneDNN's int8 sums saturate on this CPU, which has no VNNI; use the portable engine");
    }
    if (team_ < 0 || team_ > threads_ || (team_ > 0 && threads_ % team_ != 0)) {
        throw std::invalid_argument("a pass can be shared by a number of threads that divides " +
                                    std::to_string(threads_) + ", not by " + std::to_string(team_));
    }
    stores_ = take_posteriors(network_);
    state_ = new State(*this);
}

// A forked child leaves its parent's state as it is: there are no threads to join, and what another
// thread was changing stays half changed.
Program::~Program() {
    State* const mine = state_.load();
    if (mine->process == getpid()) delete mine;
}

Program::State::State(const Program& program)
    : process(getpid()), packers(program.stores_), workers(program.threads_) {}

Program::State& Program::state() {
    State* mine = state_.load();
    if (mine->process == getpid()) return *mine;
    auto fresh = std::make_unique<State>(*this);
    if (state_.compare_exchange_strong(mine, fresh.get())) mine = fresh.release();
    return *mine;
}

Program::Prepared& Program::prepare(State& state, Size size) const {
    auto& prepared = state.prepared;
    auto found = prepared.find(size);
    if (found == prepared.end()) {
        if (prepared.size() >= kPlans) {
            prepared.erase(std::min_element(
                prepared.begin(), prepared.end(),
                [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
        }
        found = prepared.try_emplace(size, network_, state.packers, engine_, size, threads_).first;
    }
    found->second.used = ++state.clock;
    return found->second;
}

void Program::logits(const float* x, std::int64_t batch, std::uint64_t seed, std::uint32_t first,
                     std::int64_t count, float* out) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const KeySchedule keys(seed);
    run(mine, {x, batch, keys, first, count, out, draws_, nullptr});
}

ProfileReport Program::profile(const float* x, std::int64_t batch, std::uint64_t seed,
                               std::uint32_t first, std::int64_t count, float* out) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const KeySchedule keys(seed);
    const std::size_t steps = network_.nodes.size() + 1;
    std::vector<Profile> profiles(static_cast<std::size_t>(threads_), Profile(steps));
    const Task task{x, batch, keys, first, count, out, draws_, &profiles};
    schedule(mine, task);  // measured before the clock starts
    ProfileReport report;
    const auto start = Clock::now();
    run(mine, task);
    report.wall =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
    report.steps.resize(steps);
    for (const Profile& profile : profiles) {
        for (std::size_t k = 0; k < steps; ++k) {
            report.steps[k].sampling += profile[k].sampling;
            report.steps[k].compute += profile[k].compute;
            report.steps[k].rest += profile[k].rest;
            report.steps[k].waiting += profile[k].waiting;
        }
    }
    return report;
}

void Program::draw(std::uint64_t seed, std::uint32_t first, std::int64_t count) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const KeySchedule keys(seed);
    const Task task{nullptr, 1, keys, first, count, nullptr, draws_, nullptr, false};
    run(mine, task, team_ > 0 ? team_ : threads_);
}

int Program::team(const float* x, std::int64_t batch, std::int64_t count) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const KeySchedule keys(0);
    return schedule(mine, {x, batch, keys, 0, count, nullptr, draws_, nullptr}).front().first;
}

// Sizes of teams that can share a batch: all threads belong to one, and each has images to do, or
// rows of the only one.
std::vector<int> Program::teams(std::int64_t batch) const {
    if (batch < 1 || batch > kMostImages) {
        throw std::invalid_argument("a batch holds from 1 to " + std::to_string(kMostImages) +
                                    " images");
    }
    if (team_ > 0) return {batch == 1 || team_ <= batch ? team_ : 1};
    std::vector<int> sizes;
    for (int size = 1; size <= threads_; ++size) {
        if (threads_ % size == 0 && (batch == 1 || size <= batch)) sizes.push_back(size);
    }
    return sizes;
}

// Seconds of a round, in which every team does one pass, among many, by size of the teams; of a
// call for a single pass, by that size negated. Other sizes' plans are dropped: what a call will
// use is made then. Sizes whose teams do not fit into memory side by side are left out.
const std::map<int, double>& Program::measured(State& state, const Task& task) {
    const auto known = state.rounds.find(task.batch);
    if (known != state.rounds.end()) return known->second;
    const auto size =
        static_cast<std::size_t>(task.batch * network_.at(network_.output).image.size());
    std::atomic<std::uint64_t> draws{0};
    std::map<int, double> seconds;
    const auto best = [&](int team, std::int64_t passes) {
        std::vector<float> logits(static_cast<std::size_t>(passes) * size);
        const Task trial{task.x, task.batch,    task.keys, task.first,
                         passes, logits.data(), draws,     nullptr};
        double least = 0, spent = 0;
        const auto more = [&](int round) {
            return (round <= kTrialRounds || spent < kTrialLeast) && spent < kTrialMost;
        };
        for (int round = 0; more(round); ++round) {
            const auto start = Clock::now();
            run(state, trial, team);
            const double taken = std::chrono::duration<double>(Clock::now() - start).count();
            if (round == 0) continue;  // plans and buffers are made
            spent += taken;
            least = round == 1 ? taken : std::min(least, taken);
        }
        return least;
    };
    const std::vector<int> sizes = teams(task.batch);
    for (const int team : sizes) {
        state.prepared.clear();  // and its memory: a size is measured as if it were alone
        // Smaller teams are more, and each has memory of its own; the largest says what is missing.
        const Plan& plan = prepare(state, {task.batch, team}).plan;
        const bool fits = wanted_memory(plan, threads_ / team) <= free_memory();
        if (!fits && team != sizes.back()) continue;
        const double once = best(team, 1);
        const auto rounds = static_cast<std::int64_t>(std::clamp(kTrialLong / once, 1., 32.));
        seconds[-team] = once;
        seconds[team] = best(team, rounds * (threads_ / team)) / static_cast<double>(rounds);
    }
    state.prepared.clear();
    return state.rounds[task.batch] = seconds;
}

// Teams and how many passes they do, in order: full rounds of the teams with the highest
// throughput, then whatever finishes the rest first.
std::vector<std::pair<int, std::int64_t>> Program::schedule(State& state, const Task& task) {
    const std::vector<int> all = teams(task.batch);
    if (all.size() == 1) return {{all.front(), task.count}};
    const auto& seconds = measured(state, task);
    std::vector<int> sizes;
    for (const auto& [team, taken] : seconds) {
        if (team > 0) sizes.push_back(team);
    }
    const auto time = [&](int team, std::int64_t count) {
        const std::int64_t side_by_side = threads_ / team;
        if (count == 1) return seconds.at(-team);
        return seconds.at(team) * static_cast<double>((count + side_by_side - 1) / side_by_side);
    };
    // Smaller teams wait less for each other when other processes want the cores.
    const auto fastest = [&](std::int64_t count) {
        int best = sizes.front();
        for (const int size : sizes) {
            if (time(size, count) < kClearly * time(best, count)) best = size;
        }
        return best;
    };
    const int main = fastest(static_cast<std::int64_t>(threads_) * 1000);
    const std::int64_t rest = task.count % (threads_ / main);
    if (rest == 0) return {{main, task.count}};
    const int last = fastest(rest);
    if (rest == task.count) return {{last, rest}};
    if (last == main) return {{main, task.count}};
    return {{main, task.count - rest}, {last, rest}};
}

void Program::run(State& state, const Task& task) {
    Task part = task;
    for (const auto& [team, count] : schedule(state, task)) {
        part.count = count;
        state.latest = {task.batch, team};
        run(state, part, team);
        part.first += static_cast<std::uint32_t>(count);
        part.out += count * task.batch * network_.at(network_.output).image.size();
    }
}

// Before anything is allocated or computed.
void Program::check_memory(const Plan& plan, std::int64_t teams) const {
    const std::size_t wanted = wanted_memory(plan, teams);
    const std::size_t free = free_memory();
    if (wanted <= free) return;
    const auto gibibytes = [](std::size_t bytes) {
        return std::to_string((bytes >> 20) / 1024) + "." +
               std::to_string((bytes >> 20) % 1024 / 103) + " GiB";
    };
    throw std::invalid_argument(std::to_string(teams) + " passes of " +
                                std::to_string(plan.batch()) + " images side by side need " +
                                gibibytes(wanted) + " and " + gibibytes(free) +
                                " are free; use fewer threads or a smaller batch");
}

void Program::run(State& state, const Task& task, int size) {
    Prepared& prepared = prepare(state, {task.batch, size});
    const std::int64_t step = task.batch * network_.at(network_.output).image.size();
    const std::int64_t side_by_side = std::min<std::int64_t>(threads_ / size, task.count);
    std::int64_t missing = 0;
    for (std::int64_t k = 0; k < side_by_side; ++k) {
        missing += prepared.teams[static_cast<std::size_t>(k)] == nullptr ? 1 : 0;
    }
    if (missing > 0) check_memory(prepared.plan, missing);
    for (std::int64_t k = 0; k < side_by_side; ++k) {
        auto& team = prepared.teams[static_cast<std::size_t>(k)];
        if (!team) team = std::make_unique<Team>(network_, prepared.plan);
    }
    std::atomic<std::int64_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;  // the first: others may be those of threads that waited for it
    const auto work = [&](std::int64_t seat, int worker) {
        Team& team = *prepared.teams[static_cast<std::size_t>(seat / size)];
        const auto member = static_cast<std::size_t>(seat % size);
        Profile* profile =
            task.profiles ? &(*task.profiles)[static_cast<std::size_t>(worker)] : nullptr;
        try {
            for (;;) {
                if (member == 0) team.pass = next.fetch_add(1);
                if (size > 1) team.barrier().wait();
                const std::int64_t pass = team.pass;
                if (pass >= task.count) return;
                const Draw draw{path_, tables_, task.keys,
                                task.first + static_cast<std::uint32_t>(pass), task.draws};
                if (task.computes) {
                    team.run(member, task.x, draw, task.out + pass * step, profile);
                } else {
                    team.draw(member, draw);
                }
            }
        } catch (...) {
            {
                const std::lock_guard<std::mutex> lock(mutex);
                if (!failure) failure = std::current_exception();
            }
            // All teams': a seat that nobody has taken yet is now left empty, whoever waits for it.
            for (const auto& any : prepared.teams) {
                if (any) any->barrier().fail();
            }
            throw;
        }
    };
    try {
        state.workers.run(side_by_side * size, work);
    } catch (...) {
        state.prepared.erase({task.batch, size});  // its teams are out of step
        std::rethrow_exception(failure ? failure : std::current_exception());
    }
}

const ConvNode& Program::conv(std::size_t node) const {
    return std::get<ConvNode>(network_.nodes[node]);
}

std::size_t Program::node_of(const std::string& name) const {
    for (std::size_t k = 0; k < network_.nodes.size(); ++k) {
        const Node& node = network_.nodes[k];
        if (std::holds_alternative<ConvNode>(node) && network_.at(node_output(node)).name == name) {
            return k;
        }
    }
    throw std::out_of_range("there is no layer named " + name);
}

const ConvStep& Program::step_of(const Plan& plan, std::size_t node) const {
    return std::get<ConvStep>(plan.steps()[node]);  // a step for every node, in order
}

std::vector<std::int8_t> Program::sample(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    const PackedWeights packed = this->packed(node, seed, mc);
    const Geometry& geometry = conv(node).posterior.geometry;
    std::vector<std::int8_t> weights(static_cast<std::size_t>(geometry.weights()));
    for (std::size_t at = 0; at < packed.weight.size(); ++at) {
        const std::int32_t weight = packed.weight[at];
        if (weight >= 0) weights[static_cast<std::size_t>(weight)] = packed.bytes[at];
    }
    return weights;
}

std::vector<float> Program::sample_real(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const ConvStep& step = step_of(prepare(mine, mine.latest).plan, node);
    const auto& source = dynamic_cast<const FloatSource&>(*step.source);
    if (!source.sampled()) return source.logical(source.fixed());
    AlignedBuffer<std::int8_t> scratch(source.scratch_bytes()), buffer(source.bytes());
    std::memset(scratch.data(), kPoison, scratch.size());
    std::memset(buffer.data(), kPoison, buffer.size());
    source.sample(path_, tables_, KeySchedule(seed), mc, scratch.data(), buffer.data());
    return source.logical(buffer.data());
}

PackedWeights Program::packed(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const auto* source =
        dynamic_cast<const Packer*>(step_of(prepare(mine, mine.latest).plan, node).source);
    if (source == nullptr) throw std::invalid_argument("a float network has no integer weights");
    const Packer& packer = *source;
    PackedWeights packed;
    packed.weight = packer.weight_of_byte();
    AlignedBuffer<std::int8_t> scratch(packer.scratch_bytes()), buffer(packer.bytes());
    std::memset(scratch.data(), kPoison, scratch.size());
    std::memset(buffer.data(), kPoison, buffer.size());
    const std::int8_t* bytes = packer.fixed();
    if (packer.sampled()) {
        packer.sample(path_, tables_, KeySchedule(seed), mc, scratch.data(), buffer.data());
        bytes = buffer.data();
    }
    packed.bytes.assign(bytes, bytes + packed.weight.size());
    return packed;
}

std::vector<float> Program::sample_bias(std::size_t node, std::uint64_t seed, std::uint32_t mc) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const Plan& plan = prepare(mine, mine.latest).plan;
    const ConvStep& step = step_of(plan, node);
    std::vector<float> bias = conv(node).bias;
    if (!step.bias) return bias;
    const KeySchedule keys(seed);
    const Draw draw{path_, tables_, keys, mc, draws_};
    Drawer(network_, plan).bias(step, draw, bias.data());
    return bias;
}

std::vector<std::int32_t> Program::accumulators(std::size_t index, std::int64_t batch,
                                                const std::uint8_t* x, const std::int8_t* weights) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const ConvNode& node = conv(index);
    if (network_.real()) throw std::invalid_argument("a float network has no integer sums");
    const Image& image = network_.at(node.input).image;
    AlignedBuffer<std::uint8_t> src(static_cast<std::size_t>(batch * image.size()));
    for (std::int64_t n = 0; n < batch; ++n) {
        interleave(x + n * image.size(), image, src.data() + n * image.size());
    }
    ConvSpec spec = conv_spec(network_, node, batch);
    Folding folding;
    if (engine_ != Engine::portable) folding = input_folding(network_, node);
    if (folding.columns > 0) {
        spec = folded_spec(spec, folding);
        AlignedBuffer<std::uint8_t> row(folding.row_bytes());
        AlignedBuffer<std::uint8_t> folded(
            static_cast<std::size_t>(batch * spec.in_height * spec.in_width * spec.in_channels));
        fold_columns(src.data(), {0, batch * image.height}, folding, row.data(), folded.data());
        src = std::move(folded);
    }
    spec.dst = Type::s32;
    spec.relu = spec.has_residual = false;
    const auto kernel = make_conv(spec, node.posterior.geometry, engine_);
    Posterior given;
    given.geometry = node.posterior.geometry;
    given.mean.assign(weights, weights + given.geometry.weights());
    const Packer packer(make_store(given), 0, *kernel);
    AlignedBuffer<std::uint8_t> scratchpad(kernel->scratchpad_bytes());
    std::vector<std::int32_t> sums(
        static_cast<std::size_t>(batch * network_.at(node.output).image.size()));
    kernel->bind(src.data(), scratchpad.data())->run(packer.fixed(), nullptr, sums.data());
    return sums;
}

std::vector<LayerReport> Program::describe(std::int64_t batch) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    const Size size = batch == 0 ? mine.latest : Size{batch, teams(batch).front()};
    const Plan& plan = prepare(mine, size).plan;
    std::vector<LayerReport> reports;
    for (const auto& any : plan.steps()) {
        const auto* step = std::get_if<ConvStep>(&any);
        if (step == nullptr) continue;
        reports.push_back({network_.at(conv(step->node).output).name,
                           step->kernel().implementation(), path_of(step->source->path())});
    }
    return reports;
}

int Program::latest_team() {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    return mine.latest.second;
}

TrafficReport Program::traffic(std::int64_t batch) {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    TrafficReport all;
    for (const StepCount& step : count(prepare(mine, {batch, teams(batch).front()}).plan)) {
        all.mean += step.traffic.mean;
        all.sigma += step.traffic.sigma;
        all.sampled += step.traffic.sampled;
        all.activations += step.traffic.activations;
    }
    return all;
}

std::vector<StepCount> Program::counts() {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    const SingleThreaded single;
    return count(prepare(mine, mine.latest).plan);
}

std::vector<StepCount> Program::count(const Plan& plan) const {
    std::vector<StepCount> counts;
    for (std::size_t k = 0; k < plan.steps().size(); ++k) {
        StepCount& step = counts.emplace_back();
        step.traffic.activations = plan.activation_bytes(k);
        step.multiply_adds = plan.multiply_adds(k);
        if (const auto* conv = std::get_if<ConvStep>(&plan.steps()[k])) {
            step.traffic.mean = conv->source->mean_bytes();
            step.traffic.sigma = conv->source->sigma_bytes();
            step.traffic.sampled = conv->source->sampled_bytes();
        }
    }
    counts.emplace_back().traffic.activations = plan.input().bytes;
    return counts;
}

MemoryReport Program::memory() {
    State& mine = state();
    const std::lock_guard<std::mutex> lock(mine.mutex);
    MemoryReport report;
    for (const auto& store : stores_) {
        if (store == nullptr) continue;
        report.mean += store->mean.size();
        report.sigma += store->sigma.size();
        report.constants += store->constants.size() * sizeof(ChannelConstants);
    }
    for (const Node& node : network_.nodes) {
        const auto* conv = std::get_if<ConvNode>(&node);
        if (conv == nullptr || conv->normal == nullptr) continue;
        report.mean += conv->normal->mean_bytes();
        report.sigma += conv->normal->std_bytes();
    }
    report.layouts = mine.packers.index_bytes();
    for (const auto& [size, prepared] : mine.prepared) {
        report.live = std::max(report.live, prepared.plan.live_bytes());
        report.largest = std::max(report.largest, prepared.plan.weight_bytes());
        for (const auto& team : prepared.teams) {
            if (!team) continue;
            const TeamMemory memory = team->memory();
            report.activations += memory.activations;
            report.weights += memory.weights;
            report.scratch += memory.scratch;
            ++report.teams;
        }
    }
    return report;
}

}  // namespace sigmabench
