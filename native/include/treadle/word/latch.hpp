// word/latch.hpp: a count that goes down to zero once, and those who wait for that, in one 32-bit word.
//
// Promise: between threads and processes; count_down and wait are one atomic operation each when nobody waits; what
// happened before the count-downs is visible to who has waited. At zero it is open for good, and further count-downs
// change nothing. No owner: nothing to recover; whoever dies before it has counted down is missed. One that dies between
// the last count-down and its wake delays the sleepers by one bounded park.
//
// Bits:  31 WAITERS | 30..0 count
//
//   count W   state      leaves it by
//   n > 0 0   closed     count_down -> closed, open; a waiter parks -> closed+
//   n > 0 1   closed+    count_down to zero -> open, wake all; any other wakes nobody
//   0     0   open       never
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"

namespace treadle::word {

template <class World>
class Latch {
public:
    static constexpr std::uint32_t kWaiters = 1u << 31, kMax = kWaiters - 1;

    void initialise(std::uint32_t count) noexcept { word_.store(count, std::memory_order_relaxed); }
    std::uint32_t count() const noexcept {
        return word_.load(std::memory_order_acquire) & kMax;  // SYNC count_down→wait: what happened before it
    }

    void count_down(std::uint32_t by) noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            const std::uint32_t count = word & kMax;
            const std::uint32_t next = count > by ? word - by : 0;
            if (word_.compare_exchange_weak(word, next, std::memory_order_release,  // SYNC count_down→wait
                                            std::memory_order_relaxed)) {
                if (next == 0 && (word & kWaiters)) wake();
                return;
            }
        }
    }

    // done (it is open) or blocked.
    Result attempt_wait(Wait& wait) noexcept {
        std::uint32_t word = word_.load(std::memory_order_acquire);  // SYNC count_down→wait
        for (;;) {
            if ((word & kMax) == 0) return Result::done;
            if (wait.announce && (word & kWaiters) == 0 &&
                !word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_acquire, std::memory_order_acquire))
                continue;
            return wait.on(&word_, word | kWaiters);
        }
    }

private:
    [[gnu::noinline]] void wake() noexcept { World::wake(&word_, kWakeAll); }

    typename World::template Atom<std::uint32_t> word_;
};

}  // namespace treadle::word
