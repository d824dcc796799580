// interpreter.hpp: letting go of the interpreter, spinning without it, and having it again.
//
// Who has been served while it spins, and asks for the interpreter while another thread has it, sleeps until that lets go of it
// and wakes it: two system calls and an interrupt of a core, some 20 µs on a virtual machine, where the other is often about
// to wait itself, for this very thread. So it spins on for a while until the other lets go.
#pragma once

#include <Python.h>

#include <atomic>

#include "treadle/platform/threads.hpp"
#include "treadle/platform/world.hpp"

namespace treadle::core {

// Who waited last has the interpreter since. A hint: threads also lose it and get it where treadle has no say.
inline constinit std::atomic<bool> interpreter_taken{false};

// Lets other threads of Python run, for a scope.
class InterpreterReleased {
public:
    InterpreterReleased() noexcept { release(); }
    ~InterpreterReleased() {
        if (state_ != nullptr) take();
    }
    InterpreterReleased(const InterpreterReleased&) = delete;
    InterpreterReleased& operator=(const InterpreterReleased&) = delete;

    // In the midst of the scope.
    void take() noexcept {
        PyEval_RestoreThread(state_);
        state_ = nullptr;
        interpreter_taken.store(true, std::memory_order_relaxed);
    }
    void release() noexcept {
        state_ = PyEval_SaveThread();
        interpreter_taken.store(false, std::memory_order_relaxed);  // afterwards: who sees it takes it without sleeping
    }

private:
    PyThreadState* state_;
};

inline bool spinning_helps() noexcept {
    static int cores = 0;
    if (cores == 0) cores = platform::granted_cores();
    return cores > 1;
}

// Two phases of spinning before the first park. With the interpreter held: a microsecond, for what other processes are about
// to end. Without it: about as long as a park and a wake across cores take, after which parking is the cheaper choice.
inline constexpr int kSpinsHeld = 20;
inline constexpr int kSpinsFree = 400;
// Who is waited for may share this core: without a yield each would spin out its budget before the other runs, and a round
// trip took 80 µs instead of 6.
inline constexpr int kSpinsPerYield = 6;
inline constexpr int kSpinsForInterpreter = 100;

inline void pause_briefly() noexcept {
    for (int pause = 0; pause < 4; ++pause) platform::PrivateWorld::pause();
}

// Asks `served()` again and again, until it says so or `unwanted()` does: then there is no use in it. Without the interpreter,
// which is probably to be had when it returns true.
template <class Served, class Unwanted>
bool spin_released(const InterpreterReleased&, Served served, Unwanted unwanted) noexcept {
    if (!spinning_helps()) return false;
    for (int i = 1; i <= kSpinsFree && !unwanted(); ++i) {
        if (i % kSpinsPerYield == 0) platform::yield_core();
        pause_briefly();
        if (!served()) continue;
#ifndef Py_GIL_DISABLED
        for (int j = 0; j < kSpinsForInterpreter && interpreter_taken.load(std::memory_order_relaxed); ++j) pause_briefly();
#endif
        return true;
    }
    return false;
}

}  // namespace treadle::core
