// await.hpp: the one parking loop. Attempt; spin where that helps; let go of the interpreter and park for a bounded time;
// attempt again. Signals are handled between parks.
#pragma once

#include <Python.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "interpreter.hpp"
#include "treadle/arena/mapping.hpp"
#include "treadle/platform/clock.hpp"
#include "treadle/platform/threads.hpp"
#include "treadle/platform/world.hpp"
#include "treadle/word/attempt.hpp"
#include "who_waits.hpp"

namespace treadle::core {

using platform::FutexWait;
using word::Result;
using word::Token;
using word::Wait;

inline constexpr std::int64_t kForever = INT64_MAX;

// How an await ended, beside what the machine itself said.
inline constexpr int kTimeout = 100;
inline constexpr int kInterrupted = -1;  // a Python exception is set

// A caller among the threads of one process: who is not of this process any more (a fork) is dead; asking is cheap.
struct PrivateCaller {
    Token token;
    bool look = true;
    bool alive(Token other) const noexcept { return platform::private_token_alive(other); }
};

// What the inspector can see of a parked thread.
class WaitingNote {
public:
    WaitingNote(Mapping* mapping, Token token, std::uint64_t object) noexcept : object_(object), since_(platform::now()) {
        if (mapping == nullptr) return;
        record_ = mapping->arena.registry.participant_of(token);
        renew();
    }
    // Again, after a handler of a signal ran, which may itself have waited.
    void renew() noexcept {
        if (record_ == nullptr) return;
        write_where();
        record_->waiting_since.store(since_, std::memory_order_relaxed);
        record_->waiting_on.store(object_, std::memory_order_release);
    }
    ~WaitingNote() {
        if (record_ != nullptr) record_->waiting_on.store(0, std::memory_order_release);
    }
    WaitingNote(const WaitingNote&) = delete;
    WaitingNote& operator=(const WaitingNote&) = delete;

private:
    void write_where() noexcept {
        PyFrameObject* frame = PyEval_GetFrame();
        if (frame == nullptr) return;
        PyCodeObject* code = PyFrame_GetCode(frame);
        Py_ssize_t length = 0;
        const char* file = PyUnicode_AsUTF8AndSize(code->co_filename, &length);
        if (file == nullptr) {
            PyErr_Clear();
        } else {
            const char* base = std::strrchr(file, '/');
            std::snprintf(record_->where, sizeof record_->where, "%.32s:%d", base == nullptr ? file : base + 1,
                          PyFrame_GetLineNumber(frame));
        }
        Py_DECREF(code);
    }

    arena::ParticipantRecord<arena::SharedWorld>* record_ = nullptr;
    std::uint64_t object_;
    std::int64_t since_;
};

inline std::uint32_t sweep_released(Mapping* mapping) noexcept {
    const InterpreterReleased released;
    return mapping->sweep();
}

// A timeout that goes through several waits. 0 never waits, kForever always.
class Deadline {
public:
    explicit Deadline(std::int64_t timeout) noexcept : at_(timeout) {
        if (timeout <= 0 || timeout == kForever) return;
        const std::int64_t now = platform::now();
        at_ = timeout >= kForever - now ? kForever : now + timeout;
    }
    std::int64_t left() const noexcept {
        if (at_ <= 0 || at_ == kForever) return at_;
        const std::int64_t left = at_ - platform::now();
        return left > 0 ? left : 0;
    }

private:
    std::int64_t at_;
};

inline constexpr int kYields = 100;  // of a call that does not wait, while an internal section is in its way

// A waiter looks around after 4 ms, then ever more seldom: a death is noticed within half a second, and a wake-up in vain
// costs some 0.2 ms of CPU, which twice a second is below a thousandth.
inline constexpr std::int64_t kFirstSlice = 4'000'000, kLongestSlice = 512'000'000, kSectionSlice = 2'000'000;
inline constexpr std::int64_t kSignalsEvery = 100'000'000;  // a signal may have been delivered to another thread

// Whoever polls never parks, and so would never learn of a death: it looks whether the others live, but not at each call,
// since that takes a system call or three. Where a look was worth it there may be more to find, so the next poll looks too.
class PollLook {
public:
    explicit PollLook(std::uint64_t object) noexcept : now_(platform::now_coarse()) {
        due_ = object != looked_at_ || now_ - looked_ >= kFirstSlice;
        looked_at_ = object;
        if (due_) looked_ = now_;
    }
    bool due() const noexcept { return due_; }
    static void was_worth_it() noexcept { looked_at_ = kNothing; }

private:
    static constexpr std::uint64_t kNothing = ~std::uint64_t{0};
    inline static thread_local constinit std::uint64_t looked_at_ = kNothing;
    inline static thread_local constinit std::int64_t looked_ = 0;
    std::int64_t now_;
    bool due_;
};

// Attempts until the machine says something else than `blocked`, or than `waiting` (its word for "not yet": empty,
// full; pass blocked if it has none). `timeout` in ns: 0 never waits but for sections, kForever. Returns the machine's
// word, kTimeout, or kInterrupted. Holds the interpreter on entry and return.
template <class World, class Who, class Attempt>
int await(Who who, Attempt attempt, Result waiting, std::int64_t timeout, Mapping* mapping, std::uint64_t object) noexcept {
    const auto goes_on = [waiting](Result r) { return r == Result::blocked || r == waiting; };
    Wait wait;
    wait.announce = false;
    Result result = attempt(who, wait);
    if (!goes_on(result)) return static_cast<int>(result);
    if (timeout == 0) {
        // An internal section in the way says nothing about the object.
        if (!who.look && !PollLook(object).due() && !wait.section) return kTimeout;
        who.look = true;
        for (int turn = 0; (result = attempt(who, wait)) == Result::blocked && wait.section; ++turn) {
            if (wait.announce && PyErr_CheckSignals() != 0) return kInterrupted;
            const InterpreterReleased released;
            if (wait.announce) World::wait(wait.word, wait.expected, kSectionSlice, wait.bits);
            else platform::yield_core();
            wait.announce = turn >= kYields;  // its owner is not about to leave: stopped, perhaps
        }
        if (goes_on(result)) return kTimeout;
        PollLook::was_worth_it();
        return static_cast<int>(result);
    }

    const bool always_look = who.look;
    const TasksAt tasks(mapping, wait.word);
    const ThreadWaits waits(mapping == nullptr ? wait.word : nullptr);
    // A private object does not change while this thread has the interpreter.
    const int spins = mapping != nullptr && spinning_helps() && !tasks.any() ? kSpinsHeld : 0;
    for (int i = 0; i < spins; ++i) {
        World::pause();
        result = attempt(who, wait);
        if (!goes_on(result)) return static_cast<int>(result);
    }
    const std::int64_t began = platform::now();
    const std::int64_t deadline = timeout >= kForever - began ? kForever : began + timeout;
    WaitingNote note(mapping, who.token, object);
    InterpreterReleased released;
    const auto served = [&] { return !goes_on(result = attempt(who, wait)); };
    if (spin_released(released, served, [&] { return tasks.any(); })) return static_cast<int>(result);
    wait.announce = true;
    std::int64_t slice = kFirstSlice, checked = began;
    bool interrupted = false, expired = false;
    while (goes_on(result)) {
        result = attempt(who, wait);
        if (!goes_on(result)) break;
        const bool section = result == Result::blocked && wait.section;
        if (expired && !section) break;
        const std::int64_t now = platform::now();
        // Signals are handled just after an attempt has failed, so that no wake-up is thrown away with the wait.
        if (interrupted || now - checked > kSignalsEvery) {
            released.take();
            if (PyErr_CheckSignals() != 0) return kInterrupted;
            note.renew();
            released.release();
            checked = now;
        }
        std::int64_t bound = section ? kSectionSlice : slice;
        if (!section && deadline != kForever && deadline - now < bound) {
            bound = deadline - now;
            if (bound <= 0) {
                expired = who.look = true;  // one last attempt, with open eyes
                continue;
            }
        }
        const FutexWait woken = World::wait(wait.word, wait.expected, bound, wait.bits);
        who.look = always_look || woken == FutexWait::timeout;
        interrupted = woken == FutexWait::interrupted;
        if (woken == FutexWait::timeout) {
            if (slice < kLongestSlice) slice *= 2;
            if (mapping != nullptr && mapping->sweep_due()) mapping->sweep();  // a program may only wait, and make nothing
        }
    }
    return goes_on(result) ? kTimeout : static_cast<int>(result);
}

// Attempts a short section that nobody holds for long: it is not interrupted, since what it does must be done.
template <class Attempt>
Result briefly(Mapping* mapping, Token token, Attempt attempt) noexcept {
    Mapping::Caller who{token, false, mapping};
    Wait wait;
    const Result result = attempt(who, wait);
    if (result != Result::blocked) return result;
    const InterpreterReleased released;
    return mapping->insist(attempt);
}
template <class Attempt>
Result briefly_private(Token token, Attempt attempt) noexcept {
    PrivateCaller who{token};
    Wait wait;
    Result result = attempt(who, wait);
    if (result != Result::blocked) return result;
    const InterpreterReleased released;
    do {
        platform::PrivateWorld::wait(wait.word, wait.expected, kSectionSlice, wait.bits);
        result = attempt(who, wait);
    } while (result == Result::blocked);
    return result;
}

}  // namespace treadle::core
