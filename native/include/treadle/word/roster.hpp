// word/roster.hpp: what each worker of a pool is at, and which waiting tasks are not wanted any more.
//
// Promise: between threads and processes, lock-free. A seat has one worker at a time; what it is at is one 64-bit word,
// so a worker that dies leaves the task that it had begun and nothing else to recover: whoever sees it off reads the seat
// and vacates it. Tasks have numbers, which are never used twice.
//
// A seat's word, bits:  63 STOPPED | 62..0 task (0: none)
//
//   word       state     leaves it by
//   0          idle      begin(n) -> n, by the worker
//   n          at n      finish() -> idle, by the worker;  stop(n) -> n + STOPPED, by the pool
//   n+STOPPED  stopped   vacate() -> idle, by the pool when the worker has ended
//
// Invariants: 1. stop(n) succeeds only while the seat is at n, and from then on the worker begins nothing more: finish()
// tells it so. So whoever has stopped n may kill the worker, however late the kill comes, and hits no other task.
// 2. A task is withdrawn (the pool marks it, then looks at the seats) or begun (the worker notes it, then looks at the
// marks), and where both happen at once at least one of them sees the other (the order of Dekker's algorithm, hence seq_cst).
// 3. The marks are a filter: kMarks bits, shared by tasks whose numbers are equal modulo kMarks. A worker that finds one
// hands the task back unrun; the pool knows which tasks it meant. So false positives cost a detour, and the filter no memory.
//
// Not here: waiting. Who waits for tasks or results waits for the queues that carry them.
#pragma once

#include <atomic>
#include <cstdint>

namespace treadle::word {

template <class World>
class Seat {
public:
    static constexpr std::uint64_t kStopped = std::uint64_t{1} << 63;

    void begin(std::uint64_t task, std::uint64_t now) noexcept {
        since_.store(now, std::memory_order_relaxed);
        step_.store(0, std::memory_order_relaxed);
        // SYNC begin→read: since and step. seq_cst: before the look at the marks (invariant 2)
        word_.store(task, std::memory_order_seq_cst);
    }
    // The worker has got to this step of its task.
    void step(std::uint32_t step, std::uint64_t now) noexcept {
        since_.store(now, std::memory_order_relaxed);
        step_.store(step, std::memory_order_relaxed);
    }
    // Whether the worker may go on to another task.
    bool finish() noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        return (word & kStopped) == 0 && word_.compare_exchange_strong(word, 0, std::memory_order_release,
                                                                       std::memory_order_relaxed);
    }
    bool stop(std::uint64_t task) noexcept {
        return word_.compare_exchange_strong(task, task | kStopped, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    void vacate() noexcept { word_.store(0, std::memory_order_release); }

    std::uint64_t task() const noexcept {
        return word_.load(std::memory_order_seq_cst) & ~kStopped;  // SYNC begin→read; seq_cst: after the mark (invariant 2)
    }
    std::uint64_t since() const noexcept { return since_.load(std::memory_order_relaxed); }
    std::uint32_t step() const noexcept { return step_.load(std::memory_order_relaxed); }

private:
    typename World::template Atom<std::uint64_t> word_;
    typename World::template Atom<std::uint64_t> since_;  // when the step began, in nanoseconds of the caller's clock
    typename World::template Atom<std::uint32_t> step_;
};

template <class World>
class Marks {
public:
    static constexpr std::uint32_t kMarks = 4096;

    void set(std::uint64_t task) noexcept {
        words_[index(task)].fetch_or(bit(task), std::memory_order_seq_cst);  // seq_cst: before the look at the seats
    }
    void clear(std::uint64_t task) noexcept { words_[index(task)].fetch_and(~bit(task), std::memory_order_relaxed); }
    bool has(std::uint64_t task) const noexcept {
        return (words_[index(task)].load(std::memory_order_seq_cst) & bit(task)) != 0;  // seq_cst: after Seat::begin
    }

private:
    static constexpr std::uint32_t index(std::uint64_t task) noexcept { return task % kMarks / 64; }
    static constexpr std::uint64_t bit(std::uint64_t task) noexcept { return std::uint64_t{1} << (task % 64); }

    typename World::template Atom<std::uint64_t> words_[kMarks / 64];
};

}  // namespace treadle::word
