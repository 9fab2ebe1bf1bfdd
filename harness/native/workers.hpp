// A few threads that sleep until there is work. They are the only parallelism: oneDNN runs each
// primitive on the thread that calls it, so no second pool competes for the cores.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sigmabench {

// oneDNN asks OpenMP how many threads the calling thread may use; while one of these lives, one.
class SingleThreaded {
 public:
    SingleThreaded();
    ~SingleThreaded();
    SingleThreaded(const SingleThreaded&) = delete;
    SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
    int before_;
};

// Belongs to the process that made it: a forked child has its memory and none of its threads, and
// must neither use nor destroy it.
class Workers {
 public:
    explicit Workers(int threads);  // throws std::runtime_error if the system has not as many
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    int threads() const { return threads_; }

    // Run task(index, worker) for every index in [0, count), worker in [0, threads), the calling
    // thread being worker 0. Returns when all are done; rethrows what a task threw first.
    void run(std::int64_t count, const std::function<void(std::int64_t, int)>& task);

 private:
    struct Batch;
    void work(int worker);
    void stop();
    static void take(Batch& batch, int worker);

    int threads_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    Batch* batch_ = nullptr;
    std::uint64_t generation_ = 0;
    int busy_ = 0;
    bool stop_ = false;
    std::vector<std::thread> pool_;
};

}  // namespace sigmabench
