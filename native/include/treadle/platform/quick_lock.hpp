// platform/quick_lock.hpp: a lock for a few instructions among the threads of one process.
//
// Promise: not robust, not reentrant, not fair; below everything else, so that what wakes sleepers may hold it: it wakes
// threads alone. The word is U. Drepper's mutex2 ("Futexes are tricky", 2011):
//
//   0 free | 1 held | 2 held, and somebody may sleep
#pragma once

#include <atomic>
#include <cstdint>

namespace treadle::platform {

template <class World>
class QuickLock {
public:
    void acquire() noexcept {
        std::uint32_t seen = 0;
        if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire, std::memory_order_relaxed)) return;
        while (word_.exchange(2, std::memory_order_acquire) != 0) World::wait(&word_, 2, 100'000'000);
    }
    void release() noexcept {
        if (word_.exchange(0, std::memory_order_release) == 2) World::wake_threads(&word_, 1);
    }
    // In the child of a fork: whoever held it does not exist.
    void reinitialise() noexcept { word_.store(0, std::memory_order_relaxed); }

private:
    typename World::template Atom<std::uint32_t> word_{0};
};

template <class World>
class QuickGuard {
public:
    explicit QuickGuard(QuickLock<World>& lock) noexcept : lock_(lock) { lock_.acquire(); }
    ~QuickGuard() { lock_.release(); }
    QuickGuard(const QuickGuard&) = delete;
    QuickGuard& operator=(const QuickGuard&) = delete;

private:
    QuickLock<World>& lock_;
};

}  // namespace treadle::platform
