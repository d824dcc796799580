// word/attempt.hpp: the vocabulary that every state machine shares.
//
// No machine blocks. An operation is an *attempt*: it completes, or it says what to wait for, and one parking loop
// (park for a bounded time, attempt again) serves them all. So a machine can be run with the interpreter's lock held,
// from an event loop, or under the schedule explorer, unchanged.
//
// A `Who` is the caller as the machines see it:
//     Token token           the caller's identity, never 0
//     bool  look            true once a park has run out: time to ask whether the others still live (that costs a system call)
//     bool  alive(Token)    does that owner's process live?
#pragma once

#include <cstdint>

namespace treadle::word {

// Names a participant (a thread or task of some process); 60 bits, 0 is nobody. Machines only compare it.
using Token = std::uint64_t;
inline constexpr Token kNobody = 0;

enum class Result : int {
    done,          // it happened
    blocked,       // nothing happened; wait as told, then attempt again
    owner_died,    // nothing happened; the owner was found dead by this very call
    inconsistent,  // nothing happened; an owner was found dead before, and nobody has recovered the object yet
    not_held,      // a release that is not due
    overflow,      // a counter's limit would be passed
    broken,        // unusable for good (a barrier)
    no_room,       // a table of the object's is full: give it a larger one
    full,          // a bounded queue has no room
    empty,         // a queue has nothing to give, a semaphore no permit
    shut,          // the queue was shut down
    no_memory,     // the arena's limit is reached
    gone,          // the named thing (a lease, a block) is not there any more
};

// What a blocked attempt waits for: sleep while the 32-bit word at `word` holds `expected`. The caller keeps it from one
// attempt to the next, so that a machine knows what this caller has slept on and must announce further sleepers. Begin
// with an empty one.
struct Wait {
    const void* word = nullptr;
    std::uint32_t expected = 0;
    std::uint32_t bits = ~std::uint32_t{0};
    // False: the caller only spins. The machine leaves no mark that would cost the other side a system call, nor is the
    // word's waker told that anybody waits.
    bool announce = true;
    // The word is that of an internal section: look again soon. (Who is woken there may go elsewhere with its next
    // attempt and leave the others asleep beside a free section; a short bound is cheaper than preventing it.)
    bool section = false;
    // This caller has slept at the object's gate: once it is served, it announces the others again.
    bool slept_at_gate = false;

    Result on(const void* at, std::uint32_t holds, std::uint32_t wake_bits = ~std::uint32_t{0}) noexcept {
        word = at;
        expected = holds;
        bits = wake_bits;
        section = false;
        return Result::blocked;
    }
    Result at_gate(const void* at, std::uint32_t holds, Result why) noexcept {
        on(at, holds);
        slept_at_gate = slept_at_gate || announce;
        return why;
    }
};

inline constexpr int kWakeAll = 0x7fffffff;

}  // namespace treadle::word
