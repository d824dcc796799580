// tasks/doorbells.hpp: wakes that reach the tasks of other processes' event loops.
//
// Promise: process-safe, lock-free; a wake costs one look at a bitmap while no process has tasks in its bucket. A process
// whose tasks wait for objects of an arena has a reactor there: a bell that one thread of it sleeps on, and two bitmaps of
// the buckets that were rung, for one task and for all. It is subscribed to the buckets that it has tasks in.
//
//   to wait                              to wake
//   the object's word says: not yet      the object's word changes
//   parked in the lot                    fence
//   subscribed |= me      (seq_cst)      subscribed: whom to ring
//   the word is as it was, else leave    rung |= bucket (seq_cst), still subscribed? then the bell
//
// By the two pairs (word, subscribed) and (subscribed, rung) at least one side sees the other (Dekker). So a wake is handed
// to a process that has tasks in the bucket at that instant, or not at all and the next is tried; and a process that takes
// back a subscription under which it was rung meanwhile passes the wake on.
//
// A wake for one takes turns between the threads that sleep on the word and the subscribed processes, so that neither kind
// is always served first.
//
// Deaths. A reactor of a dead process swallows wakes for one until it is swept: that delays the others by a bounded park,
// as a thread does that is killed between being woken and acting. A waker that dies between `rung` and the bell leaves the
// bit to whatever rings next, or to the reactor's own bounded sleep.
//
// Limits: kReactors processes of one arena; others look for themselves every few milliseconds. Two words of one bucket may
// be told each other's wakes: a needless attempt for who is told, and a bounded park's delay for a thread that is not, with
// one in 512 pairs of words, if tasks of another process wait for the one and threads for the other.
#pragma once

#include <bit>
#include <cstdint>

#include "../arena/layout.hpp"
#include "lot.hpp"

namespace treadle::tasks {

static_assert(kBuckets == arena::kWakeBuckets);

// Whose turn it is, by the number of the wake: evenly spread in every regular subsequence, since a program may well wake
// another object between any two wakes of this one (a Weyl sequence, by the golden ratio).
constexpr std::uint32_t turn_of(std::uint32_t wake) noexcept { return (wake * 0x9e37'79b1u) >> 16; }

template <class World>
class Doorbells {
public:
    using Header = arena::Header<World>;
    static constexpr std::uint32_t kNoReactor = arena::kReactors;

    explicit Doorbells(Header& header) noexcept : h(header) {}

    // These two are called by one thread of the process at a time (under its lot's lock).
    void subscribe(std::uint32_t reactor, std::uint32_t bucket) noexcept {
        if ((part(reactor, bucket).load(std::memory_order_relaxed) & bit(reactor)) != 0) return;
        part(reactor, bucket).fetch_or(bit(reactor), std::memory_order_seq_cst);  // SYNC subscribe→wake
    }
    // Returns whether the bucket was rung and nobody has collected that yet.
    bool unsubscribe(std::uint32_t reactor, std::uint32_t bucket) noexcept {
        part(reactor, bucket).fetch_and(~bit(reactor), std::memory_order_seq_cst);
        return is_rung(reactor, bucket);
    }
    bool is_rung(std::uint32_t reactor, std::uint32_t bucket) const noexcept {
        const auto& rung = h.reactors[reactor].rung;
        const std::uint64_t mask = std::uint64_t{1} << (bucket % 64);
        return ((rung[0][bucket / 64].load(std::memory_order_seq_cst) | rung[1][bucket / 64].load(std::memory_order_seq_cst)) & mask) != 0;
    }

    // Has any process tasks in the bucket? A hint, of this instant.
    bool somebody_waits_in(std::uint32_t bucket) const noexcept {
        if (h.reactor_limit.load(std::memory_order_relaxed) == 0) return false;
        for (const Part& part : h.subscribed[bucket])
            if (part.load(std::memory_order_relaxed) != 0) return true;
        return false;
    }

    std::uint32_t bell(std::uint32_t reactor) const noexcept { return h.reactors[reactor].bell.load(std::memory_order_seq_cst); }
    // Ends the sleep of who sleeps on the bell, for no wake: by its own process.
    void rouse(std::uint32_t reactor) noexcept {
        h.reactors[reactor].bell.fetch_add(1, std::memory_order_seq_cst);
        World::wake_threads(&h.reactors[reactor].bell, 1);
    }
    const void* futex(std::uint32_t reactor) const noexcept { return &h.reactors[reactor].bell; }

    // Takes what was rung, under the lot's lock: visit(bucket, all).
    template <class Visit>
    void collect(std::uint32_t reactor, Visit visit) noexcept {
        for (unsigned all = 0; all < 2; ++all) {
            for (std::uint32_t i = 0; i < kBuckets / 64; ++i) {
                auto& rung = h.reactors[reactor].rung[all][i];
                if (rung.load(std::memory_order_relaxed) == 0) continue;
                for (std::uint64_t left = rung.exchange(0, std::memory_order_seq_cst); left != 0; left &= left - 1)
                    visit(i * 64 + static_cast<std::uint32_t>(std::countr_zero(left)), all != 0);
            }
        }
    }

    // Wakes up to `count` who wait at the word: threads, tasks of this process (`own` is its reactor, notify(count) its
    // lot's), tasks of others. The word has been changed.
    template <class Notify>
    void wake(const void* word, std::uint32_t bucket, int count, std::uint32_t bits, std::uint32_t own, Notify notify) noexcept {
        World::fence();  // SYNC subscribe→wake
        if (h.reactor_limit.load(std::memory_order_relaxed) == 0) {
            World::wake_threads(word, count, bits);
            return;
        }
        if (count != 1) {
            World::wake_threads(word, count, bits);
            each(bucket, 0, [&](std::uint32_t reactor) {
                if (reactor == own) notify(static_cast<std::uint32_t>(count));
                else ring(reactor, bucket, true);
                return false;
            });
            return;
        }
        const std::uint32_t turn = turn_of(h.wakes.fetch_add(1, std::memory_order_relaxed));
        if (turn % 2 == 0 && World::wake_threads(word, 1, bits) != 0) return;
        const bool told = each(bucket, turn / 2, [&](std::uint32_t reactor) {
            return reactor == own ? notify(1) != 0 : ring(reactor, bucket, false);
        });
        if (!told && turn % 2 != 0) World::wake_threads(word, 1, bits);
    }

private:
    using Part = typename World::template Atom<std::uint64_t>;
    static constexpr std::uint64_t bit(std::uint32_t reactor) noexcept { return std::uint64_t{1} << (reactor % 64); }
    Part& part(std::uint32_t reactor, std::uint32_t bucket) noexcept { return h.subscribed[bucket][reactor / 64]; }

    bool ring(std::uint32_t reactor, std::uint32_t bucket, bool all) noexcept {
        auto& record = h.reactors[reactor];
        record.rung[all][bucket / 64].fetch_or(std::uint64_t{1} << (bucket % 64), std::memory_order_seq_cst);
        if ((part(reactor, bucket).load(std::memory_order_seq_cst) & bit(reactor)) == 0) return false;
        rouse(reactor);
        return true;
    }

    // The subscribed reactors, beginning with another one each `turn`, until one is `enough`.
    template <class Enough>
    bool each(std::uint32_t bucket, std::uint32_t turn, Enough enough) noexcept {
        std::uint64_t parts[arena::kReactors / 64];
        std::uint32_t total = 0;
        for (std::uint32_t i = 0; i < arena::kReactors / 64; ++i)
            total += static_cast<std::uint32_t>(std::popcount(parts[i] = h.subscribed[bucket][i].load(std::memory_order_seq_cst)));
        if (total == 0) return false;
        const std::uint32_t skipped = turn % total;
        for (unsigned round = 0; round < 2; ++round) {
            std::uint32_t seen = 0;
            for (std::uint32_t i = 0; i < arena::kReactors / 64; ++i)
                for (std::uint64_t left = parts[i]; left != 0; left &= left - 1, ++seen)
                    if ((round == 0) == (seen >= skipped) && enough(i * 64 + static_cast<std::uint32_t>(std::countr_zero(left))))
                        return true;
        }
        return false;
    }

    Header& h;
};

}  // namespace treadle::tasks
