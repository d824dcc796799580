// threads.hpp: real threads that hammer a machine: callers, the parking loop, and a common start.
//
//     Deaths deaths;
//     run_threads(4, [&](unsigned i) {
//         Caller who{i + 1, deaths};
//         CHECK_EQ(insist<SharedWorld>(who, [&](auto& w, Wait& wait) { return mutex.attempt_acquire(w, wait); }), Result::done);
//     });
//
// A wake-up that is due must come: a park at an object's own gate lasts for kPatience, far longer than any test, and one
// that runs out is a failed check. (Parks at internal sections are short by design, see word/attempt.hpp.)
#pragma once

#include <atomic>
#include <cstdint>
#include <ostream>
#include <thread>
#include <vector>

#include "check.hpp"
#include "treadle/platform/world.hpp"
#include "treadle/word/attempt.hpp"

namespace treadle::word {

inline std::ostream& operator<<(std::ostream& out, Result result) {
    constexpr const char* names[] = {"done",    "blocked", "owner_died", "inconsistent", "not_held",  "overflow", "broken",
                                     "no_room", "full",    "empty",      "shut",         "no_memory", "gone"};
    return out << names[static_cast<int>(result)];
}

}  // namespace treadle::word

namespace threads {

using treadle::platform::FutexWait;
using treadle::platform::PrivateWorld;
using treadle::platform::SharedWorld;
using treadle::word::Result;
using treadle::word::Token;
using treadle::word::Wait;

inline constexpr std::int64_t kPatience = 20'000'000'000, kSectionSlice = 2'000'000;

// Which tokens (1 to 63) belong to the dead.
class Deaths {
public:
    void kill(Token token) noexcept { dead_.fetch_or(1ull << token, std::memory_order_seq_cst); }
    bool alive(Token token) const noexcept { return (dead_.load(std::memory_order_seq_cst) >> token & 1) == 0; }

private:
    std::atomic<std::uint64_t> dead_{0};
};

struct Caller {
    Token token;
    const Deaths& deaths;
    bool look = false;
    bool alive(Token other) const noexcept { return deaths.alive(other); }
};

/// For machines that do not ask who calls.
struct Anybody {
    bool look = false;
};

/// Attempts until the machine says something else than `blocked` or than `waiting`, its word for "not yet". `slice`: how
/// long a park at a gate may last; one of kPatience must not run out.
template <class World, class Who, class Attempt>
Result insist(Who&& who, Attempt&& attempt, Result waiting = Result::blocked, std::int64_t slice = kPatience) {
    Wait wait;
    for (;;) {
        const Result result = attempt(who, wait);
        if (result != Result::blocked && result != waiting) return result;
        const std::int64_t time = wait.section ? kSectionSlice : slice;
        who.look = World::wait(wait.word, wait.expected, time, wait.bits) == FutexWait::timeout;
        if (who.look && time == kPatience) CHECK(false, "a wake-up was lost");
    }
}

/// Runs body(0), body(1), … each in a thread of its own, all at once; returns when all have ended.
template <class Body>
void run_threads(unsigned count, Body body) {
    std::atomic<unsigned> waiting{count};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            waiting.fetch_sub(1);
            while (waiting.load() != 0) std::this_thread::yield();
            body(i);
        });
    for (std::thread& thread : threads) thread.join();
}

/// Until the condition holds, without a busy core. Only for what must come by itself.
template <class Condition>
void await(Condition condition) {
    while (!condition()) std::this_thread::yield();
}

/// A small generator of a test's own choices; the same seed gives the same choices.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
    std::uint64_t operator()() noexcept {  // splitmix64
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    std::uint64_t below(std::uint64_t bound) noexcept { return (*this)() % bound; }

private:
    std::uint64_t state_;
};

}  // namespace threads
