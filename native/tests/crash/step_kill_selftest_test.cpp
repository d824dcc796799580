// The harness itself: that it finds what it is to find in structures which are known to be wrong, and nothing in those
// which are right. (single_step_test.cpp is about the steps.)
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vector>

#include "check.hpp"
#include "crash/step_kill.hpp"

namespace {

using step_kill::Case;
using step_kill::Crash;
using step_kill::Failure;
using step_kill::Mode;
using step_kill::Options;
using step_kill::Result;
using step_kill::Stepper;

// Under a sanitizer each fork costs tens of milliseconds: one stepper will do.
#if defined(__x86_64__) && !CHECK_SANITIZED_
constexpr Stepper all_steppers[] = {Stepper::trap_flag, Stepper::ptrace};
#else
constexpr Stepper all_steppers[] = {step_kill::default_stepper};
#endif

// Every point of both kinds, whatever it takes.
Options everything(Mode mode = Mode::both, Stepper stepper = step_kill::default_stepper) {
    Options options;
    options.soak = true;
    options.mode = mode;
    options.stepper = stepper;
    options.seed = 1;
    return options;
}

template <class State>
Result run(Case<State> subject, const Options& options) {
    step_kill::Suite suite;
    suite.add(std::move(subject));
    return suite.run_cases(options, "", nullptr);
}

bool mentions(const Result& result, const char* words) {
    return result.failures.size() == 1 && result.failures[0].message.find(words) != std::string::npos;
}

std::string first_message(const Result& result) {
    return result.failures.empty() ? "no failure" : result.failures[0].message;
}

// --- A structure of two words that must be equal --------------------------------------------------------------------

struct TwoWords {
    std::atomic<std::uint64_t> intent{0};  // 0, or the value that both words are to have
    std::atomic<std::uint64_t> first{0}, second{0};
};

void update_without_recovery(TwoWords& t) {
    t.first.store(1, std::memory_order_release);
    t.second.store(1, std::memory_order_release);
}

void update_with_intent(TwoWords& t) {
    t.intent.store(1, std::memory_order_release);
    t.first.store(1, std::memory_order_release);
    t.second.store(1, std::memory_order_release);
    t.intent.store(0, std::memory_order_release);
}

void redo_intent(TwoWords& t) {
    const std::uint64_t value = t.intent.load(std::memory_order_acquire);
    if (value == 0) return;
    t.first.store(value, std::memory_order_release);
    t.second.store(value, std::memory_order_release);
    t.intent.store(0, std::memory_order_release);
}

// Wrong: it forgets the intent before all is done, so that a second death strands the rest.
void redo_intent_forgetting_early(TwoWords& t) {
    const std::uint64_t value = t.intent.load(std::memory_order_acquire);
    if (value == 0) return;
    t.first.store(value, std::memory_order_release);
    t.intent.store(0, std::memory_order_release);
    t.second.store(value, std::memory_order_release);
}

std::string words_are_equal(TwoWords& t, const Crash& crash) {
    redo_intent(t);
    const auto first = t.first.load(), second = t.second.load();
    CRASH_REQUIRE(first == second, "first %llu, second %llu", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(second));
    CRASH_REQUIRE(!crash.finished || first == 1);
    CRASH_REQUIRE(!crash.recovery_finished || crash.point == 0 || t.intent.load() == 0);
    return "";
}

Case<TwoWords> two_words(std::function<void(TwoWords&)> update) {
    return {.name = "two words", .operation = std::move(update), .verify = words_are_equal};
}

TEST(an_update_without_recovery_is_caught_in_both_modes_and_by_both_steppers) {
    for (const Stepper stepper : all_steppers) {
        for (const Mode mode : {Mode::kill, Mode::snapshot}) {
            const Result result = run(two_words(update_without_recovery), everything(mode, stepper));
            CHECK(mentions(result, "not so: first == second (first 1, second 0)"), first_message(result));
            if (result.failures.empty()) continue;
            const Failure& failure = result.failures[0];
            CHECK(failure.mode == mode);
            CHECK(failure.point > 0 && failure.point < failure.instructions);
            CHECK(failure.executed != 0 && failure.next > failure.executed);
        }
    }
}

TEST(an_update_with_a_redone_intent_passes_at_every_point) {
    for (const Stepper stepper : all_steppers) {
        const Result result = run(two_words(update_with_intent), everything(Mode::both, stepper));
        CHECK(result.failures.empty(), first_message(result));
        CHECK_EQ(result.tally.kills, result.tally.instructions + 1);
        CHECK_EQ(result.tally.states, 5u);  // before, and after each of four stores
    }
}

TEST(a_failure_is_repeated_by_its_point_alone_and_the_point_before_it_passes) {
    for (const Mode mode : {Mode::kill, Mode::snapshot}) {
        Options options = everything(mode);
        const Result found = run(two_words(update_without_recovery), options);
        CHECK_EQ(found.failures.size(), 1u);
        if (found.failures.empty()) continue;
        options.point = found.failures[0].point;
        const Result again = run(two_words(update_without_recovery), options);
        CHECK_EQ(again.failures.size(), 1u);
        CHECK_EQ(again.tally.checks, 1u);
        CHECK_EQ(first_message(again), first_message(found));
        options.point = found.failures[0].point - 1;
        CHECK(run(two_words(update_without_recovery), options).failures.empty());
    }
}

TEST(a_recovery_that_forgets_too_early_is_caught_when_it_is_killed_as_well) {
    Case<TwoWords> subject = two_words(update_with_intent);
    subject.recovery = redo_intent_forgetting_early;
    for (const Mode mode : {Mode::kill, Mode::snapshot}) {
        Options options = everything(mode);
        const Result result = run(subject, options);
        CHECK(mentions(result, "first 1, second 0"), first_message(result));
        if (result.failures.empty()) continue;
        CHECK(result.failures[0].second.has_value());
        options.point = result.failures[0].point;
        options.second = result.failures[0].second;
        CHECK_EQ(first_message(run(subject, options)), first_message(result));
    }
}

TEST(a_recovery_that_can_be_repeated_passes_at_every_pair_of_deaths) {
    Case<TwoWords> subject = two_words(update_with_intent);
    subject.recovery = redo_intent;
    const Result result = run(subject, everything());
    CHECK(result.failures.empty(), first_message(result));
    // States of the update: 0 0 0, 1 0 0, 1 1 0, 1 1 1, 0 1 1. The recovery adds to them 0, 3, 2, 1 and 0 others.
    CHECK_EQ(result.tally.second_states, 1u + 4 + 3 + 2 + 1);
    CHECK_EQ(result.tally.second_kills, 11u + 5);  // and once for each first death a recovery that is not killed
}

TEST(a_sample_is_smaller_and_the_same_for_the_same_seed) {
    if (check::sanitized && !check::soak()) return;
    Options options = everything(Mode::kill);
    options.soak = false;
    options.stride = 5;
    const Result some = run(two_words(update_with_intent), options);
    CHECK(some.failures.empty());
    CHECK(some.tally.kills > 0 && some.tally.kills <= some.tally.instructions / 5 + 1);
    std::set<std::uint64_t> points;
    for (options.seed = 1; options.seed <= 12; ++options.seed) {
        const Result first = run(two_words(update_without_recovery), options);
        const Result second = run(two_words(update_without_recovery), options);
        CHECK_EQ(first.failures.size(), second.failures.size());
        CHECK_EQ(first_message(first), first_message(second));
        points.insert(first.tally.kills);
    }
    CHECK(points.size() > 1, "twelve seeds gave one phase");
}

// --- Hangs, crashes, exits ------------------------------------------------------------------------------------------

struct SpinLock {
    std::atomic<int> held{0};
    std::atomic<int> guarded{0};
};

[[gnu::noinline]] void selftest_acquire_for_ever(SpinLock& lock) {
    while (lock.held.exchange(1, std::memory_order_acquire) != 0) usleep(1000);
}

Case<SpinLock> lock_that_forgets_its_owner() {
    return {.name = "lock left held",
            .watchdog_seconds = 2,
            .operation =
                [](SpinLock& lock) {
                    selftest_acquire_for_ever(lock);
                    lock.guarded.store(1);
                    lock.held.store(0, std::memory_order_release);
                },
            .verify = [](SpinLock& lock, const Crash&) -> std::string {
                selftest_acquire_for_ever(lock);
                return "";
            }};
}

// Tests of watchdogs wait for them: in the ordinary run as few as will do.
TEST(a_lock_left_held_is_found_by_the_verifiers_watchdog) {
    for (const Mode mode : {Mode::kill, Mode::snapshot}) {
        if (mode == Mode::kill && !check::soak()) continue;
        const Result result = run(lock_that_forgets_its_owner(), everything(mode));
        CHECK(mentions(result, "the verifier hung"), first_message(result));
        CHECK(mentions(result, "selftest_acquire_for_ever"), first_message(result));
    }
}

TEST(a_verifier_whose_own_watchdog_fails_is_ended_by_the_harness) {
    if (!check::soak()) return;
    Case<SpinLock> subject = lock_that_forgets_its_owner();
    subject.verify = [](SpinLock& lock, const Crash&) -> std::string {
        signal(SIGALRM, SIG_IGN);
        selftest_acquire_for_ever(lock);
        return "";
    };
    CHECK(mentions(run(subject, everything(Mode::snapshot)), "the verifier hung"));
}

TEST(an_operation_that_hangs_crashes_exits_or_never_ends_is_a_failure) {
    struct {
        void (*operation)(SpinLock&);
        const char* words;
        unsigned watchdog_seconds = 20;
        std::uint64_t max_instructions = 1'000'000;
    } const bad[] = {
        {[](SpinLock&) { pause(); }, "the operation hung", 1},
        {[](SpinLock& lock) { *reinterpret_cast<volatile int*>(lock.guarded.load() + 16L) = 1; },
         "the operation died of signal 11"},
        {[](SpinLock&) { _exit(0); }, "the operation exited"},
        {[](SpinLock&) { _exit(3); }, "the operation exited with 3"},
        {[](SpinLock& lock) { while (lock.held.load() == 0) {} },
         "the operation did not end within 2000 instructions", 20, 2000},
        {[](SpinLock&) { kill(getpid(), SIGKILL); }, "killed by another hand"},
    };
    for (const Stepper stepper : all_steppers) {
        for (const auto& each : bad) {
            if (each.watchdog_seconds == 1 && stepper != step_kill::default_stepper && !check::soak()) continue;
            const Result result = run(Case<SpinLock>{.name = "bad",
                                                     .watchdog_seconds = each.watchdog_seconds,
                                                     .max_instructions = each.max_instructions,
                                                     .operation = each.operation,
                                                     .verify = [](SpinLock&, const Crash&) { return std::string(); }},
                                      everything(Mode::both, stepper));
            CHECK(mentions(result, each.words), each.words, ": ", first_message(result));
        }
    }
}

TEST(a_verifier_that_crashes_or_exits_is_a_failure) {
    const auto with = [](std::string (*verify)(SpinLock&, const Crash&)) {
        const auto operation = [](SpinLock& lock) { lock.guarded.store(1); };
        return run(Case<SpinLock>{.name = "bad", .operation = operation, .verify = verify}, everything());
    };
    const Result aborted = with([](SpinLock&, const Crash&) -> std::string { std::abort(); });
    CHECK(mentions(aborted, "the verifier died of signal 6"), first_message(aborted));
    const Result exited = with([](SpinLock&, const Crash&) -> std::string { _exit(4); });
    CHECK(mentions(exited, "the verifier exited with 4"), first_message(exited));
}

// --- What the verifier is shown -------------------------------------------------------------------------------------

// The process's state letter, as in proc(5); 0 if there is none.
char process_state(pid_t pid) {
    char path[64], line[512];
    std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
    std::FILE* file = std::fopen(path, "r");
    if (file == nullptr) return 0;
    const std::size_t length = std::fread(line, 1, sizeof line - 1, file);
    std::fclose(file);
    line[length] = 0;
    const char* end = std::strrchr(line, ')');
    return end == nullptr ? '?' : end[2];
}

struct Seen {
    int zombies, reaped;
};

TEST(the_dead_are_zombies_or_reaped_as_the_case_says) {
    for (const Stepper stepper : all_steppers) {
        for (const auto corpse : {step_kill::Corpse::reaped, step_kill::Corpse::zombie, step_kill::Corpse::alternate}) {
            Seen* seen = static_cast<Seen*>(step_kill::map_shared(sizeof(Seen)));
            const auto look = [seen](SpinLock&, const Crash& crash) -> std::string {
                const char state = process_state(crash.victim);
                CRASH_REQUIRE(state == (crash.zombie ? 'Z' : 0), "state %d at point %llu", state,
                              static_cast<unsigned long long>(crash.point));
                ++(crash.zombie ? seen->zombies : seen->reaped);
                return "";
            };
            Options options = everything(Mode::both, stepper);
            if (check::sanitized) options.stride = 7;
            const Result result = run(Case<SpinLock>{.name = "corpse",
                                                     .corpse = corpse,
                                                     .operation = [](SpinLock& lock) {
                                                         for (int i = 0; i < 8; ++i) lock.guarded.store(i);
                                                     },
                                                     .verify = look},
                                      options);
            CHECK(result.failures.empty(), first_message(result));
            CHECK_EQ(seen->zombies > 0, corpse != step_kill::Corpse::reaped);
            CHECK_EQ(seen->reaped > 0, corpse != step_kill::Corpse::zombie);
            CHECK_EQ(result.tally.checks, static_cast<std::uint64_t>(seen->zombies + seen->reaped));
            munmap(seen, sizeof(Seen));
        }
    }
}

struct Stages {
    std::atomic<pid_t> setup_by, prepared_by, operated_by;
    std::atomic<int> verified;
};

TEST(setup_victim_and_verifier_are_three_processes_and_every_point_starts_afresh) {
    const pid_t harness = getpid();
    const Result result = run(
        Case<Stages>{.name = "stages",
                     .setup = [](Stages& s) { s.setup_by = getpid(); },
                     .prepare = [](Stages& s) { s.prepared_by = getpid(); },
                     .operation = [](Stages& s) { s.operated_by.store(s.prepared_by.load()); },
                     .verify = [harness](Stages& s, const Crash& crash) -> std::string {
                         CRASH_REQUIRE(s.setup_by == harness);
                         CRASH_REQUIRE(s.prepared_by == crash.victim);
                         CRASH_REQUIRE(s.operated_by == 0 || s.operated_by == crash.victim);
                         CRASH_REQUIRE(!crash.finished || s.operated_by == crash.victim);
                         CRASH_REQUIRE(getpid() != crash.victim && getpid() != harness);
                         CRASH_REQUIRE(s.verified.exchange(1) == 0, "the last verifier's traces are left");
                         return "";
                     }},
        everything());
    CHECK(result.failures.empty(), first_message(result));
    CHECK(result.tally.kills > 3);
    CHECK_EQ(result.tally.states, 2u);
}

struct Elsewhere {
    std::atomic<std::uint64_t>* extra;
    std::atomic<std::uint64_t> here;
};

TEST(memory_that_the_setup_mapped_itself_and_the_files_length_are_restored) {
    constexpr std::size_t extra_bytes = 3 * 4096;
    void* extra = step_kill::map_shared(extra_bytes);
    const Result result = run(
        Case<Elsewhere>{.name = "elsewhere",
                        .file_bytes = 64 * 1024,
                        .setup =
                            [extra](Elsewhere& e) {
                                e.extra = static_cast<std::atomic<std::uint64_t>*>(extra) + 1024 + 3;
                                step_kill::memory().track(extra, extra_bytes);
                            },
                        .operation =
                            [](Elsewhere& e) {
                                e.extra->store(7);
                                e.here.store(7);
                            },
                        .verify = [](Elsewhere& e, const Crash& crash) -> std::string {
                            CRASH_REQUIRE(e.here == 0 || *e.extra == 7);
                            CRASH_REQUIRE(crash.point != 0 || *e.extra == 0);
                            struct stat file {};
                            CRASH_REQUIRE(fstat(step_kill::memory().fd(), &file) == 0 && file.st_size == 64 * 1024);
                            CRASH_REQUIRE(ftruncate(step_kill::memory().fd(), 1024 * 1024) == 0);
                            *e.extra = 99;
                            return "";
                        }},
        everything());
    CHECK(result.failures.empty(), first_message(result));
    CHECK_EQ(result.tally.states, 3u);
    munmap(extra, extra_bytes);
}

// --- Peers ----------------------------------------------------------------------------------------------------------

struct Rendezvous {
    std::atomic<int> peer_ready, victim_was_here, peer_done;
};

Case<Rendezvous> with_peer(bool looks_at_the_clock) {
    return {.name = "peer",
            .watchdog_seconds = 2,
            .prepare = [](Rendezvous& r) { while (r.peer_ready == 0) usleep(100); },
            .operation = [](Rendezvous& r) { r.victim_was_here.store(1); },
            .peer =
                [looks_at_the_clock](Rendezvous& r) -> std::string {
                    r.peer_ready = 1;
                    const double began = step_kill::seconds_now();
                    const auto tired = [&] { return looks_at_the_clock && step_kill::seconds_now() > began + 0.02; };
                    while (r.victim_was_here == 0 && !tired()) usleep(500);
                    r.peer_done = 1;
                    return "";
                },
            .verify = [](Rendezvous& r, const Crash& crash) -> std::string {
                CRASH_REQUIRE(r.peer_ready == 1 && r.peer_done == 1 && !crash.restored);
                return "";
            }};
}

TEST(a_live_peer_runs_beside_the_victim_and_has_ended_before_the_verifier_starts) {
    const Result result = run(with_peer(true), everything());
    CHECK(result.failures.empty(), first_message(result));
    CHECK(result.tally.kills > 3);
    CHECK_EQ(result.tally.states, 0u);
}

TEST(a_peer_that_waits_for_the_dead_for_ever_is_a_failure) {
    if (check::sanitized && !check::soak()) return;
    Case<Rendezvous> subject = with_peer(false);
    subject.watchdog_seconds = 1;
    CHECK(mentions(run(subject, everything()), "the peer hung"));
}

}  // namespace

int main(int argc, char** argv) {
#if defined(__SANITIZE_THREAD__)
    (void)argc, (void)argv;
    std::printf("not run: ThreadSanitizer delays signals, and there is one thread\n0 checks\n");
    return 0;
#endif
    step_kill::fix_bindings_and_addresses(argv);
    return check::main(argc, argv);
}
