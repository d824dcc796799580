// map/section.hpp: what guards a shared container (a map, a list): one internal section for who writes, a version for who
// only reads, and the lock by which a user makes several operations one.
//
// Promise: process-safe and robust. Readers take no lock and write nothing, so they do not keep each other waiting, and one
// that is killed leaves nothing; they retry when a step was made meanwhile, and enter the section after kLooks of them. A
// death in the section is found by the next to enter, who mends the container before anything else.
//
//   version   even: at rest | odd: a step is under way, or whoever made it died in it
//   lock      an owner word of its own, of a thread or task, held across operations: everybody else's operations wait
//
//   step of a writer                         death here
//   enter the section                        found by the next one; nothing to mend
//   version = odd                            the next one mends
//   what it makes and changes                the same
//   version = even                           nothing to mend
//   leave                                    the next one enters (a bounded wait)
//
// Seqlock: H.-J. Boehm, "Can seqlocks get along with programming language memory models?" (2012). Departures: a reader
// compares the version before it follows anything that it has read, not only in the end, so that it follows no offset that
// was not one when it looked, and no chain without an end; and since whoever writes may die, a version that stays odd sends
// readers into the section, where the dead are found.
//
// What a reader reads may be freed and written anew under it, by anybody in the arena; it is mapped still, and the version
// has changed before. Where free memory goes back to the system at that moment (heap.hpp, punch), the reader gets zeroes.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "../arena/layout.hpp"
#include "../word/mutex.hpp"

namespace treadle::map {

using word::Result;
using word::Wait;

template <class World>
struct SectionWords {
    word::Mutex<World> lock;  // the user's; a cache line that is seldom written
    char lock_report[56];     // what a lock's body has beside its word
    word::Mutex<World> mutex;  // the section
    typename World::template Atom<std::uint64_t> version;
};

// A thread sanitizer would see races in what a reader copies before it knows whether that is what it was.
#if defined(__SANITIZE_THREAD__)
#define TREADLE_RACY [[gnu::no_sanitize("thread"), gnu::noinline]]
TREADLE_RACY inline void copy_racy(char* to, const char* from, std::uint64_t bytes) noexcept {
    for (std::uint64_t i = 0; i < bytes; ++i) to[i] = static_cast<const volatile char*>(from)[i];
}
TREADLE_RACY inline bool equal_racy(const char* a, const char* b, std::uint64_t bytes) noexcept {
    for (std::uint64_t i = 0; i < bytes; ++i)
        if (static_cast<const volatile char*>(a)[i] != b[i]) return false;
    return true;
}
#undef TREADLE_RACY
#else
inline void copy_racy(char* to, const char* from, std::uint64_t bytes) noexcept { std::memcpy(to, from, bytes); }
inline bool equal_racy(const char* a, const char* b, std::uint64_t bytes) noexcept { return std::memcmp(a, b, bytes) == 0; }
#endif

// A look of a reader's: what was read is what it was at one instant if the version has not changed in the end.
template <class World>
class Look {
public:
    explicit Look(const SectionWords<World>& words) noexcept
        : words_(words), version_(words.version.load(std::memory_order_acquire)) {}  // SYNC end→look: what the step wrote
    bool at_rest() const noexcept { return (version_ & 1) == 0; }
    bool holds() const noexcept {
        std::atomic_thread_fence(std::memory_order_acquire);  // SYNC begin→look: what is read of a step shows its version, too
        return words_.version.load(std::memory_order_relaxed) == version_;
    }

private:
    const SectionWords<World>& words_;
    std::uint64_t version_;
};
// The same, for who is in the section.
struct Inside {
    static constexpr bool holds() noexcept { return true; }
};

template <class World, class Member>
class Section {
public:
    static constexpr int kLooks = 6;

    Section(SectionWords<World>& words, Member& member) noexcept : s(words), m(member) {}

    // Does somebody else hold the lock? One who died holding it does not.
    bool locked_against(word::Token me) const noexcept {
        const std::uint64_t lock = s.lock.peek();
        return lock != 0 && (lock & word::Mutex<World>::kHeld) != 0 && word::Mutex<World>::owner_of(lock) != me;
    }

    // Looks, without the section, until `reads(look)` returns what holds in the end. False: not to be had like this.
    template <class Who, class Read>
    bool look(Who& who, Read&& reads) const noexcept {
        for (int i = 0; i < kLooks; ++i) {
            const Look<World> look(s);
            // After the version: who sees a change made under the lock sees the lock as well.
            if (locked_against(who.token)) return false;
            if (look.at_rest() && reads(look) && look.holds()) return true;
            World::pause();
        }
        return false;
    }

    // Enters for an operation. `mend(who, wait)` is called if a step was left unfinished, and says whether it could (done), or
    // blocked. done or blocked; after done, leave().
    template <class Who, class Mend>
    Result enter(Who& who, Wait& wait, Mend&& mend) noexcept {
        for (;;) {
            if (s.mutex.attempt_enter(who, wait) == Result::blocked) return Result::blocked;
            if (!locked_against(who.token)) break;
            leave();
            if (await_lock(who, wait) == Result::blocked) return Result::blocked;
        }
        if (unfinished()) [[unlikely]] {
            if (mend(who, wait) == Result::blocked) {
                leave();
                return Result::blocked;
            }
            end();
        }
        return Result::done;
    }
    void leave() noexcept { s.mutex.release(); }

    bool unfinished() const noexcept { return (s.version.load(std::memory_order_relaxed) & 1) != 0; }

    // Surround a step.
    void begin() noexcept {
        s.version.store(s.version.load(std::memory_order_relaxed) | 1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);  // SYNC begin→look
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    void end() noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        s.version.store(s.version.load(std::memory_order_relaxed) + 1, std::memory_order_release);  // SYNC end→look
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

private:
    // For the lock the thread counts, not its process: only its owner can release it.
    struct Holder {
        word::Token token;
        bool look;
        Member& member;
        bool alive(word::Token other) const noexcept { return member.arena.registry.thread_alive(other); }
    };

    // Until nobody else holds the lock, or its holder is dead: then it is inconsistent, which only its next holder heeds.
    template <class Who>
    Result await_lock(Who& who, Wait& wait) noexcept {
        Holder holder{who.token, who.look, m};
        const Result acquired = s.lock.attempt_acquire(holder, wait);
        if (acquired == Result::blocked) {
            wait.section = false;
            return Result::blocked;
        }
        // Had only to be let go of: so the next sleeper is woken in turn.
        if (acquired == Result::done) s.lock.release();
        return Result::done;
    }

    SectionWords<World>& s;
    Member& m;
};

}  // namespace treadle::map
