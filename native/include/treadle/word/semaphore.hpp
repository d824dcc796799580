// word/semaphore.hpp: a counting semaphore in one 32-bit word.
//
// Promise: between threads and processes; acquire and release are one compare-and-swap when nobody waits; linearizable
// (each takes effect at its compare-and-swap); not fair. A permit taken by a process that dies is gone: such permits may
// be signals. (word/permits.hpp gives them back.)
//
// Bits:  31 WAITERS | 30..0 permits
//
// Invariants. W is set before anybody parks. release clears it and wakes as many as it gives; a woken thread that
// acquires sets it again and, if permits are left, wakes one more: two releases in a row may both have been aimed at
// sleepers while only the first saw W. Every transition is one compare-and-swap: a death leaves a valid state, and a
// woken thread that dies before it acquires delays the others by one bounded park.
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"

namespace treadle::word {

template <class World>
class Semaphore {
public:
    static constexpr std::uint32_t kWaiters = 1u << 31, kMax = kWaiters - 1;

    void initialise(std::uint32_t permits) noexcept { word_.store(permits, std::memory_order_relaxed); }
    std::uint32_t value() const noexcept { return word_.load(std::memory_order_relaxed) & kMax; }

    const void* futex() const noexcept { return &word_; }

    bool try_acquire() noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        while ((word & kMax) != 0)
            if (word_.compare_exchange_weak(word, word - 1, std::memory_order_acquire,  // SYNC release→acquire: what the permit stands for
                                            std::memory_order_relaxed))
                return true;
        return false;
    }

    Result attempt_acquire(Wait& wait) noexcept {
        const bool parked = wait.word == &word_;
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            if ((word & kMax) != 0) {
                const std::uint32_t next = (word - 1) | (parked ? kWaiters : 0);
                if (!word_.compare_exchange_weak(word, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
                if (parked && (next & kMax) != 0) World::wake(&word_, 1);
                return Result::done;
            }
            if (wait.announce && (word & kWaiters) == 0 &&
                !word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_relaxed, std::memory_order_relaxed))
                continue;
            return wait.on(&word_, kWaiters);
        }
    }

    // overflow: more than `bound` permits would exist; nothing happened.
    Result release(std::uint32_t count, std::uint32_t bound) noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            const std::uint32_t permits = word & kMax;
            if (count > bound || permits > bound - count) return Result::overflow;
            if (word_.compare_exchange_weak(word, permits + count, std::memory_order_release,  // SYNC release→acquire
                                            std::memory_order_relaxed)) {
                if (word & kWaiters) wake(count);
                return Result::done;
            }
        }
    }

private:
    [[gnu::noinline]] void wake(std::uint32_t count) noexcept { World::wake(&word_, static_cast<int>(count)); }

    typename World::template Atom<std::uint32_t> word_;
};

}  // namespace treadle::word
