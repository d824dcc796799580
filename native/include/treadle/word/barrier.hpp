// word/barrier.hpp: a barrier for a fixed number of parties.
//
// Promise: between threads and processes; robust: a party that dies while it waits breaks the barrier for the others,
// and the breaker learns who it was. A party that dies before it arrives was never seen: the others wait for their
// timeout, as in the standard library.
//
// State: phase word  31..1 phase, counts the rounds | 0 BROKEN.   Cells: {token, phase} of who has arrived; a cell of an
// older phase is void, so the one store of the phase word ends a round and empties the table.
//
//   phase p, k cells of p   filling: k parties wait; the arrival of the last one -> full
//   all cells of p          full: the last to arrive runs the action, then trip() -> phase p + 1 (all released)
//   BROKEN                  everybody waiting or arriving gets `broken`, until reset() -> phase + 1
//
// `failed_` remembers, for the last 64 phases, which ended by reset or break and not by a trip: a waiter that wakes late
// still learns how its own round ended.
#pragma once

#include <atomic>
#include <cstdint>

#include "attempt.hpp"
#include "mutex.hpp"

namespace treadle::word {

// Guarded by the section; `phase` is also read without it, by waiting().
struct BarrierCell {
    Token token;
    std::uint64_t phase;  // phase + 1 of the arrival, 0: never used
};

template <class World>
class Barrier {
public:
    static constexpr std::uint32_t kBroken = 1, kPhase = 2;

    // `cells`: zeroed memory for `parties` cells, in the same mapping as this object.
    void initialise(std::uint32_t parties, BarrierCell* cells) noexcept {
        parties_ = parties;
        cells_at_ = reinterpret_cast<char*>(cells) - reinterpret_cast<char*>(this);
    }

    std::uint32_t parties() const noexcept { return parties_; }
    bool is_broken() const noexcept { return (word_.load(std::memory_order_acquire) & kBroken) != 0; }
    std::uint32_t waiting() noexcept {
        const std::uint32_t word = word_.load(std::memory_order_acquire);
        if (word & kBroken) return 0;
        const std::uint32_t count = arrived(word / kPhase);
        return count < parties_ ? count : 0;
    }

    // Arrives. done: `index` is this party's, `phase` its round; it is the last one iff index == parties() - 1, and must
    // then trip() or break_off(). broken, or blocked: the section is taken, or the last round is not over yet.
    template <class Who>
    Result attempt_arrive(Who& who, std::uint32_t& phase, std::uint32_t& index, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        if (word & kBroken) return leave(Result::broken);
        phase = word / kPhase;
        index = arrived(phase);
        if (index == parties_) {  // full: its last party runs the action
            Token dead = kNobody;
            if (who.look && find_dead(who, phase, dead)) break_locked(word, dead);
            mutex_.release();
            return wait.on(&word_, word);
        }
        // The last to come looks whether those who wait still live: else it would end the round together with a dead
        // party that nobody had to look for yet.
        if (Token dead = kNobody; index + 1 == parties_ && find_dead(who, phase, dead)) {
            break_locked(word, dead);
            return leave(Result::broken);
        }
        BarrierCell& cell = cells()[index];
        cell.token = who.token;
        std::atomic_ref(cell.phase).store(phase + 1ull, std::memory_order_release);  // publish: the arrival
        return leave(Result::done);
    }

    // Waits for the end of `phase`: done, broken or blocked.
    template <class Who>
    Result attempt_wait(Who& who, std::uint32_t phase, Wait& wait) noexcept {
        const std::uint32_t word = word_.load(std::memory_order_acquire);  // SYNC trip→wait
        const std::uint32_t now = word / kPhase;
        if (now != phase) return ended(phase);
        if (word & kBroken) return Result::broken;
        if (who.look) {
            if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
            Token dead = kNobody;
            const bool ours = word_.load(std::memory_order_relaxed) == word;
            const bool breaks = ours && find_dead(who, phase, dead);
            if (breaks) break_locked(word, dead);
            mutex_.release();
            if (breaks) return Result::broken;
        }
        return wait.on(&word_, word);
    }

    // The last party ends its round: everybody is released. gone: the round was broken or reset meanwhile.
    template <class Who>
    Result attempt_trip(Who& who, std::uint32_t phase, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        if (word != phase * kPhase) return leave(Result::gone);
        advance(word, false);
        return leave(Result::done, true);
    }

    // A party stops waiting for the end of its round (a timeout, an interrupt, a failed action): breaks the round if it
    // is still on, and no later one. done: it had been tripped; broken: by this call, or it was already.
    template <class Who>
    Result attempt_give_up(Who& who, std::uint32_t phase, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        if (word / kPhase != phase) return leave(ended(phase));
        if ((word & kBroken) == 0) break_locked(word, kNobody);
        return leave(Result::broken);
    }

    // Breaks the barrier, whatever its round (abort).
    template <class Who>
    Result attempt_break(Who& who, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        if ((word & kBroken) == 0) break_locked(word, kNobody);
        return leave(Result::done);
    }

    // Who waits gets `broken`; the barrier is as new.
    template <class Who>
    Result attempt_reset(Who& who, Wait& wait) noexcept {
        if (mutex_.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
        const std::uint32_t word = word_.load(std::memory_order_relaxed);
        culprit_.store(kNobody, std::memory_order_relaxed);
        if ((word & kBroken) != 0 || arrived(word / kPhase) != 0) {
            advance(word, true);
            return leave(Result::done, true);
        }
        return leave(Result::done);
    }

    // Whose death broke it; kNobody if it was broken otherwise.
    Token culprit() const noexcept { return culprit_.load(std::memory_order_relaxed); }

private:
    BarrierCell* cells() noexcept { return reinterpret_cast<BarrierCell*>(reinterpret_cast<char*>(this) + cells_at_); }

    std::uint32_t arrived(std::uint32_t phase) noexcept {
        std::uint32_t count = 0;
        while (count < parties_ && std::atomic_ref(cells()[count].phase).load(std::memory_order_relaxed) == phase + 1ull) ++count;
        return count;
    }

    template <class Who>
    bool find_dead(Who& who, std::uint32_t phase, Token& dead) noexcept {
        for (std::uint32_t i = 0; i < parties_ && cells()[i].phase == phase + 1ull; ++i) {
            dead = cells()[i].token;
            if (dead != who.token && !who.alive(dead)) return true;
        }
        return false;
    }

    void break_locked(std::uint32_t word, Token dead) noexcept {
        culprit_.store(dead, std::memory_order_relaxed);
        word_.store(word | kBroken, std::memory_order_release);  // SYNC trip→wait
        World::wake(&word_, kWakeAll);
    }

    // How a phase ended that is over.
    Result ended(std::uint32_t phase) const noexcept {
        const std::uint64_t failed = failed_.load(std::memory_order_relaxed);
        return (failed >> (phase & 63)) & 1 ? Result::broken : Result::done;
    }

    // Records how the phase ended, then moves on. A death between the two stores leaves the phase open, and the record
    // is written again when it does end.
    void advance(std::uint32_t word, bool failed) noexcept {
        const std::uint64_t mark = 1ull << ((word / kPhase) & 63);
        const std::uint64_t record = failed_.load(std::memory_order_relaxed);
        failed_.store(failed ? record | mark : record & ~mark, std::memory_order_relaxed);
        word_.store((word & ~kBroken) + kPhase, std::memory_order_release);  // SYNC trip→wait
    }

    Result leave(Result result, bool wake = false) noexcept {
        mutex_.release();
        if (wake) World::wake(&word_, kWakeAll);
        return result;
    }

    Mutex<World> mutex_;
    typename World::template Atom<std::uint32_t> word_;
    std::uint32_t parties_;
    typename World::template Atom<std::uint64_t> failed_;
    typename World::template Atom<Token> culprit_;
    std::int64_t cells_at_;  // relative to this object
};

}  // namespace treadle::word
