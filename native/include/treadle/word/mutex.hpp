// word/mutex.hpp: the owner word. Every lock of treadle, inside and out, is one of these.
//
// Promise: mutual exclusion between threads and processes in 8 bytes; the owner's identity is in the word; robust: an
// owner that dies is found by whoever waits, by looking (Who::alive), at every step. Uncontended acquire and release
// are one compare-and-swap each, no system call. Not fair: a running thread may barge past a woken one.
//
// Bits:  63..4 owner token | 3 unused | 2 INCONSISTENT | 1 HELD | 0 WAITERS
//
//   owner  I H W   state           leaves it by
//   0      0 0 0   free            acquire -> held
//   t      0 1 0   held            release -> free; a waiter parks -> held+; t dies -> inconsistent
//   t      0 1 1   held+           somebody may be parked: release -> free and wake one; t dies -> inconsistent
//   d      1 0 0   inconsistent    d died holding it: recover(t) -> recovering, or -> held without the mark
//   t      1 1 *   recovering      restore -> free; release or death of t -> inconsistent
//
// Invariants. H or I set iff owner != 0. W is set before anybody parks, and a thread that has parked sets it again when
// it acquires, since it cannot know whether it was the last. Every transition is one compare-and-swap, so a death leaves
// one of the states above. A death between the store that frees the word and the wake strands nobody: parks are bounded.
//
// Source: the three-state futex mutex of U. Drepper, "Futexes are tricky" (2011), mutex2; departures: the owner in the
// word, the inconsistent state (order of POSIX robust mutexes), 64 bits of which the futex sees the lower half.
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"

namespace treadle::word {

template <class World>
class Mutex {
public:
    static constexpr std::uint64_t kWaiters = 1, kHeld = 2, kInconsistent = 4;
    static constexpr int kTokenShift = 4;
    // What the half that sleepers watch never holds: for who has not looked at the word yet.
    static constexpr std::uint32_t kUnseen = 8;

    static constexpr Token owner_of(std::uint64_t word) noexcept { return word >> kTokenShift; }
    static constexpr std::uint64_t held_by(Token t) noexcept { return (t << kTokenShift) | kHeld; }

    std::uint64_t peek() const noexcept { return word_.load(std::memory_order_relaxed); }
    bool held() const noexcept { return (peek() & kHeld) != 0; }
    bool inconsistent() const noexcept { return (peek() & (kHeld | kInconsistent)) == kInconsistent; }
    Token owner() const noexcept { return owner_of(peek()); }

    // The inline fast path: free -> held.
    bool try_acquire(Token me) noexcept {
        std::uint64_t seen;
        return try_acquire(me, seen);
    }
    // `seen` receives the word that stood in the way.
    bool try_acquire(Token me, std::uint64_t& seen) noexcept {
        seen = 0;
        return word_.compare_exchange_strong(seen, held_by(me), std::memory_order_acquire,  // SYNC release→acquire: what the lock guards
                                             std::memory_order_relaxed);
    }
    static constexpr bool is_held_by(std::uint64_t word, Token t) noexcept { return (word & kHeld) != 0 && owner_of(word) == t; }

    // done, blocked, owner_died or inconsistent.
    template <class Who>
    Result attempt_acquire(Who& who, Wait& wait) noexcept {
        const bool parked = wait.word == futex();
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            if (word == 0) {
                if (word_.compare_exchange_weak(word, held_by(who.token) | (parked ? kWaiters : 0),
                                                std::memory_order_acquire, std::memory_order_relaxed))
                    return Result::done;
                continue;
            }
            if ((word & kHeld) == 0) return Result::inconsistent;
            if (who.look && owner_of(word) != who.token && !who.alive(owner_of(word))) {
                if (declare_dead(word)) return Result::owner_died;
                continue;
            }
            if (park_on(word, wait)) return Result::blocked;
        }
    }

    // For internal critical sections, whose structure can be mended by the next in line: done, blocked, or owner_died,
    // which here means *acquired from the dead*: recover the structure, then go on. The sections are short, so it spins
    // for about as long as one takes before it announces a sleeper (which costs the owner a system call).
    template <class Who>
    Result attempt_enter(Who& who, Wait& wait) noexcept {
        const bool parked = wait.word == futex();
        if (!parked) {
            for (int spin = 0; spin <= World::kSpins; ++spin) {
                if (try_acquire(who.token)) return Result::done;
                World::pause();
            }
        }
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            if (word == 0) {
                if (word_.compare_exchange_weak(word, held_by(who.token) | (parked ? kWaiters : 0),
                                                std::memory_order_acquire, std::memory_order_relaxed))
                    return Result::done;
                continue;
            }
            if (who.look && owner_of(word) != who.token && !who.alive(owner_of(word))) {
                if (word_.compare_exchange_weak(word, held_by(who.token) | kWaiters, std::memory_order_acquire,
                                                std::memory_order_relaxed))
                    return Result::owner_died;
                continue;
            }
            if (park_on(word, wait)) {
                wait.section = true;
                return Result::blocked;
            }
        }
    }

    // Any thread may release a held word, as with the standard library's locks. not_held: it was free or inconsistent.
    Result release() noexcept { return release(peek()); }
    // `word`: as just seen.
    Result release(std::uint64_t word) noexcept {
        for (;;) {
            if ((word & kHeld) == 0) return Result::not_held;
            // A recovery that is released without restore() has repaired nothing.
            const std::uint64_t next = (word & kInconsistent) ? word & ~(kHeld | kWaiters) : 0;
            if (word_.compare_exchange_weak(word, next, std::memory_order_release,  // SYNC release→acquire
                                            std::memory_order_relaxed)) {
                if (word & kWaiters) wake(next == 0 ? 1 : kWakeAll);
                return Result::done;
            }
        }
    }

    // recovering -> free: the caller has repaired what the lock guards.
    Result restore(Token me) noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        for (;;) {
            if ((word & (kHeld | kInconsistent)) != (kHeld | kInconsistent) || owner_of(word) != me) return Result::not_held;
            if (word_.compare_exchange_weak(word, 0, std::memory_order_release, std::memory_order_relaxed)) {
                if (word & kWaiters) wake(1);
                return Result::done;
            }
        }
    }

    // inconsistent -> recovering (keep_mark) or -> held. not_held: it is not inconsistent (any more).
    Result recover(Token me, bool keep_mark) noexcept {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        while ((word & (kHeld | kInconsistent)) == kInconsistent) {
            const std::uint64_t next = held_by(me) | (keep_mark ? kInconsistent : 0);
            if (word_.compare_exchange_weak(word, next, std::memory_order_acquire, std::memory_order_relaxed))
                return Result::done;
        }
        return Result::not_held;
    }

    // Drops whatever state there is: for private locks in the child of a fork, where the owners do not exist.
    void reinitialise() noexcept { word_.store(0, std::memory_order_relaxed); }

    // What sleepers sleep on: the half of the word that holds the flags.
    const void* futex() const noexcept {
        return reinterpret_cast<const char*>(&word_) + (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4);
    }

private:
    // held or recovering -> inconsistent, keeping the dead owner's name; everybody parked must come and see it.
    bool declare_dead(std::uint64_t& word) noexcept {
        const std::uint64_t dead = (word & ~(kHeld | kWaiters)) | kInconsistent;
        if (!word_.compare_exchange_weak(word, dead, std::memory_order_acquire, std::memory_order_relaxed)) return false;
        if (word & kWaiters) wake(kWakeAll);
        return true;
    }

    bool park_on(std::uint64_t& word, Wait& wait) noexcept {
        if (wait.announce && (word & kWaiters) == 0 &&
            !word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_relaxed, std::memory_order_relaxed))
            return false;
        wait.on(futex(), static_cast<std::uint32_t>(word | kWaiters));
        return true;
    }

    [[gnu::noinline]] void wake(int count) noexcept { World::wake(futex(), count); }

    typename World::template Atom<std::uint64_t> word_;
};

}  // namespace treadle::word
