// word/event.hpp: a flag that threads and processes wait for, in one 32-bit word.
//
// Promise: set, clear and is_set are one atomic operation each; set wakes everybody; who waits returns true once a set
// has happened since it began to wait, even if a clear came right after it. No owner: nothing to recover. A setter that
// dies between its compare-and-swap and its wake delays the sleepers by one bounded park.
//
// Bits:  31..2 epoch, counts the sets | 1 WAITERS | 0 SET
//
// Limit: a waiter that sleeps through exactly 2^30 sets and clears within one bounded park would miss them.
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"

namespace treadle::word {

template <class World>
class Event {
public:
    static constexpr std::uint32_t kSet = 1, kWaiters = 2, kEpoch = 4;

    bool is_set() const noexcept {
        return (word_.load(std::memory_order_acquire) & kSet) != 0;  // SYNC set→is_set: what happened before the set
    }

    void set() noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        do {
            if (word & kSet) {
                // Already set: but what this caller did before must be visible to who sees the flag, so it takes part.
                if (word_.compare_exchange_weak(word, word, std::memory_order_release, std::memory_order_relaxed)) return;
                continue;
            }
            if (word_.compare_exchange_weak(word, ((word & ~kWaiters) + kEpoch) | kSet,
                                            std::memory_order_release,  // SYNC set→is_set
                                            std::memory_order_relaxed)) {
                if (word & kWaiters) wake();
                return;
            }
        } while (true);
    }

    void clear() noexcept { word_.fetch_and(~kSet, std::memory_order_acq_rel); }

    std::uint32_t epoch() const noexcept { return word_.load(std::memory_order_acquire) & ~(kSet | kWaiters); }

    // `since`: epoch() when this caller began to wait.
    Result attempt_wait(std::uint32_t since, Wait& wait) noexcept {
        std::uint32_t word = word_.load(std::memory_order_acquire);  // SYNC set→is_set
        for (;;) {
            if ((word & kSet) != 0 || (word & ~(kSet | kWaiters)) != since) return Result::done;
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
