// platform/quick_lock.hpp: a lock for a few instructions among the threads of one process.
//
// Promise: not robust, not reentrant, not fair; below everything else, so that what wakes sleepers may hold it. The word is
// U. Drepper's mutex2 ("Futexes are tricky", 2011):  0 free | 1 held | 2 held, and somebody may sleep.
#pragma once

#include <atomic>
#include <cstdint>

#include "futex.hpp"

namespace treadle::platform {

class QuickLock {
public:
    void acquire() noexcept {
        std::uint32_t seen = 0;
        if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
        while (word_.exchange(2, std::memory_order_acquire) != 0)
            futex_wait(&word_, 2, 100'000'000, ~std::uint32_t{0}, FutexScope::process);
    }
    void release() noexcept {
        if (word_.exchange(0, std::memory_order_release) == 2) futex_wake(&word_, 1, ~std::uint32_t{0}, FutexScope::process);
    }
    // In the child of a fork: whoever held it does not exist.
    void reinitialise() noexcept { word_.store(0, std::memory_order_relaxed); }

private:
    std::atomic<std::uint32_t> word_{0};
};

class QuickGuard {
public:
    explicit QuickGuard(QuickLock& lock) noexcept : lock_(lock) { lock_.acquire(); }
    ~QuickGuard() { lock_.release(); }
    QuickGuard(const QuickGuard&) = delete;
    QuickGuard& operator=(const QuickGuard&) = delete;

private:
    QuickLock& lock_;
};

}  // namespace treadle::platform
