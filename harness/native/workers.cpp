#include "workers.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>

#include "openmp.hpp"

namespace sigmabench {

SingleThreaded::SingleThreaded() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SingleThreaded::~SingleThreaded() { omp_set_num_threads(before_); }

struct Workers::Batch {
    const std::function<void(std::int64_t, int)>& task;
    std::int64_t count;
    std::atomic<std::int64_t> next{0};
    std::mutex mutex{};
    std::exception_ptr failure{};
};

Workers::Workers(int threads) : threads_(std::max(threads, 1)) {
    try {
        for (int worker = 1; worker < threads_; ++worker) {
            pool_.emplace_back([this, worker] { work(worker); });
        }
    } catch (const std::system_error& failure) {
        stop();
        throw std::runtime_error("the system has not " + std::to_string(threads_) +
                                 " threads for this process (" + failure.what() + ")");
    } catch (...) {
        stop();
        throw;
    }
}

Workers::~Workers() { stop(); }

void Workers::stop() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : pool_) thread.join();
}

void Workers::take(Batch& batch, int worker) {
    for (;;) {
        const std::int64_t index = batch.next.fetch_add(1);
        if (index >= batch.count) return;
        try {
            batch.task(index, worker);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(batch.mutex);
            if (!batch.failure) batch.failure = std::current_exception();
            batch.next.store(batch.count);
        }
    }
}

void Workers::work(int worker) {
    const SingleThreaded single;
    std::uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stop_ || (batch_ != nullptr && generation_ != seen); });
        if (stop_) return;
        seen = generation_;
        Batch& batch = *batch_;
        ++busy_;
        lock.unlock();
        take(batch, worker);
        lock.lock();
        if (--busy_ == 0) done_.notify_one();
    }
}

void Workers::run(std::int64_t count, const std::function<void(std::int64_t, int)>& task) {
    const SingleThreaded single;
    Batch batch{task, count};
    const bool alone = count < 2 || pool_.empty();
    if (!alone) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            batch_ = &batch;
            ++generation_;
        }
        wake_.notify_all();
    }
    take(batch, 0);
    if (!alone) {
        std::unique_lock<std::mutex> lock(mutex_);
        batch_ = nullptr;  // a thread that wakes only now finds nothing
        done_.wait(lock, [&] { return busy_ == 0; });
    }
    if (batch.failure) std::rethrow_exception(batch.failure);
}

}  // namespace sigmabench
