// crash/crash_case.hpp: what is killed, and what must hold afterwards.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <sys/types.h>
#include <utility>

#include "shared_memory.hpp"

namespace step_kill {

// What the verifier is told about the death it looks at.
struct Crash {
    bool finished = false;    // the operation ended, and its process exited; false: SIGKILL after `point` instructions
    std::uint64_t point = 0;
    pid_t victim = 0;
    bool zombie = false;      // the victim has not been reaped
    bool restored = false;    // the state was restored from a snapshot (mode `snapshot`)

    // The second victim, which ran `recovery` after the first one's death; 0 if there was none.
    pid_t second_victim = 0;
    bool recovery_finished = false;
    std::uint64_t recovery_point = 0;
};

// Whether the verifier finds the dead victim as a zombie or reaped. `alternate`: at odd points a zombie.
enum class Corpse { reaped, zombie, alternate };

// One operation under test. `State` lies at the base of the shared memory, at the same address in every process.
//
//   setup             in the harness's own process, once, on zeroed memory; its result is where every crash point
//                     starts. What it registers there belongs to a live process: the harness. More memory: `memory()`.
//   prepare           in the victim, at full speed: attach, take the lock that `operation` will release, …
//   operation         in the victim, stepped and killed. Threads and processes must not be started in it.
//   peer              optional: a live process beside the victim, at full speed, started before it; it must end by
//                     itself after the victim's death, and returns a failure message or "". With a peer the states
//                     differ from run to run, so such a case is only killed, never snapshot, and has no recovery.
//   verify            in a fresh process after the death: checks every invariant, uses the object on (acquire, put,
//                     recover, …), and returns a failure message, or "". A hang is a failure.
//   recovery_prepare, recovery   optional: what a survivor does. A second victim runs it after the first one's death,
//                     is killed as well, and a third process verifies.
template <class State>
struct Case {
    std::string name = {};
    std::size_t bytes = sizeof(State);  // of the shared memory that count: copied at each crash point
    std::size_t file_bytes = 0;         // of the memory file, if more than `bytes`
    Corpse corpse = Corpse::alternate;
    unsigned watchdog_seconds = 20;
    std::uint64_t max_instructions = 20'000'000;
    std::function<void(State&)> setup = {};
    std::function<void(State&)> prepare = {};
    std::function<void(State&)> operation = {};
    std::function<std::string(State&)> peer = {};
    std::function<std::string(State&, const Crash&)> verify = {};
    std::function<void(State&)> recovery_prepare = {};
    std::function<void(State&)> recovery = {};
};

inline SharedMemory* current_memory = nullptr;

// The running case's shared memory: its file descriptor, and `track` for setups that map memory of their own.
inline SharedMemory& memory() { return *current_memory; }

inline std::string failed(const char* file, int line, const char* condition) {
    return std::string(file) + ":" + std::to_string(line) + ": not so: " + condition;
}

[[gnu::format(printf, 4, 5)]] inline std::string failed(const char* file, int line, const char* condition,
                                                         const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return failed(file, line, condition) + " (" + text + ")";
}

// In a verifier or peer: CRASH_REQUIRE(condition) or CRASH_REQUIRE(condition, "found %d", n).
#define CRASH_REQUIRE(condition, ...)                                                                          \
    do {                                                                                                       \
        if (!(condition)) return ::step_kill::failed(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
    } while (false)

// A case without its type.
class AnyCase {
public:
    virtual ~AnyCase() = default;
    virtual void setup(void* state) const = 0;
    virtual void prepare(void* state, bool recovery) const = 0;
    virtual void operation(void* state) const = 0;
    virtual void recovery(void* state) const = 0;
    virtual std::string peer(void* state) const = 0;
    virtual std::string verify(void* state, const Crash& crash) const = 0;

    std::string name;
    std::size_t bytes = 0, file_bytes = 0;
    Corpse corpse{};
    unsigned watchdog_seconds = 0;
    std::uint64_t max_instructions = 0;
    bool has_peer = false, has_recovery = false;

    bool zombie_at(std::uint64_t point) const noexcept {
        return corpse == Corpse::zombie || (corpse == Corpse::alternate && point % 2 == 1);
    }
};

template <class State>
class TypedCase final : public AnyCase {
public:
    explicit TypedCase(Case<State> c) : case_(std::move(c)) {
        name = case_.name;
        bytes = case_.bytes;
        file_bytes = case_.file_bytes < bytes ? bytes : case_.file_bytes;
        corpse = case_.corpse;
        watchdog_seconds = case_.watchdog_seconds;
        max_instructions = case_.max_instructions;
        has_peer = static_cast<bool>(case_.peer);
        has_recovery = static_cast<bool>(case_.recovery);
    }
    void setup(void* state) const override {
        if (case_.setup) case_.setup(*static_cast<State*>(state));
    }
    void prepare(void* state, bool recovery) const override {
        const auto& chosen = recovery ? case_.recovery_prepare : case_.prepare;
        if (chosen) chosen(*static_cast<State*>(state));
    }
    void operation(void* state) const override { case_.operation(*static_cast<State*>(state)); }
    void recovery(void* state) const override { case_.recovery(*static_cast<State*>(state)); }
    std::string peer(void* state) const override { return case_.peer(*static_cast<State*>(state)); }
    std::string verify(void* state, const Crash& crash) const override {
        return case_.verify(*static_cast<State*>(state), crash);
    }

private:
    Case<State> case_;
};

}  // namespace step_kill
