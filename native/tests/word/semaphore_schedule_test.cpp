// The semaphore under systematic schedules: linearizable, no permit lost or doubled, no sleeper forgotten.
#include <ostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/semaphore.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;
using word_test::Caller;
using word_test::insist;
using word_test::Model;
using word_test::Result;
using word_test::Wait;

using Semaphore = treadle::word::Semaphore<Model>;

namespace {

struct Call {
    enum Kind { acquire, try_acquire, release, value } kind;
    std::uint32_t count = 1;   // release
    std::uint32_t bound = Semaphore::kMax;

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"acquire", "try_acquire", "release", "value"};
        out << names[call.kind];
        return call.kind == release ? out << ' ' << call.count << " up to " << call.bound : out;
    }
};

/// The reply: a Result as a number, or the value.
using Calls = History<Call, std::uint32_t>;

constexpr std::uint32_t number(Result result) { return static_cast<std::uint32_t>(result); }
constexpr std::uint32_t done = number(Result::done);

struct Counter {
    std::uint32_t permits = 0;

    bool apply(const Operation<Call, std::uint32_t>& op) {
        std::uint32_t after = permits;
        std::uint32_t reply = done;
        switch (op.call.kind) {
            case Call::acquire:
                if (permits == 0) return false;  // it has to wait
                --after;
                break;
            case Call::try_acquire:
                reply = permits > 0;
                after -= reply;
                break;
            case Call::release:
                if (permits + op.call.count > op.call.bound) {
                    reply = number(Result::overflow);
                } else {
                    after += op.call.count;
                }
                break;
            case Call::value: reply = permits; break;
        }
        if (op.reply && *op.reply != reply) return false;
        permits = after;
        return true;
    }
    friend bool operator==(const Counter&, const Counter&) = default;
};

struct Scene {
    Execution& run;
    std::uint32_t start;
    Semaphore semaphore{};
    Calls calls{run};

    Scene(Execution& execution, std::uint32_t permits) : run(execution), start(permits) {
        semaphore.initialise(permits);
        run.label(semaphore, "semaphore");
    }

    void acquire() {
        calls.record({Call::acquire}, [&] {
            Caller who;
            if (semaphore.try_acquire()) return done;
            return number(insist(who, [&](Wait& wait) { return semaphore.attempt_acquire(wait); }));
        });
    }
    bool try_acquire() {
        return calls.record({Call::try_acquire}, [&] { return std::uint32_t{semaphore.try_acquire()}; }) != 0;
    }
    Result release(std::uint32_t count = 1, std::uint32_t bound = Semaphore::kMax) {
        return static_cast<Result>(
            calls.record({Call::release, count, bound}, [&] { return number(semaphore.release(count, bound)); }));
    }
    std::uint32_t value() {
        return calls.record({Call::value}, [&] { return semaphore.value(); });
    }

    /// After run(): the value left is part of what has to be explained.
    void conclude() {
        value();
        const auto verdict = schedule::linearizable(calls, Counter{start});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: a acquire, t try_acquire (and release what it got), r release 1, R release 2,
/// b release 1 bounded by 1, v value.
void act(Scene& scene, const std::string& script) {
    for (const char letter : script) {
        switch (letter) {
            case 'a': scene.acquire(); break;
            case 't':
                if (scene.try_acquire()) scene.release();
                break;
            case 'r': SCHEDULE_CHECK(scene.release() == Result::done); break;
            case 'R': SCHEDULE_CHECK(scene.release(2) == Result::done); break;
            case 'b': scene.release(1, 1); break;
            case 'v': scene.value(); break;
        }
    }
}

using Scripts = std::vector<std::string>;

auto scripts(std::uint32_t permits, Scripts all, bool killable = false) {
    return [=](Execution& run) {
        Scene scene(run, permits);
        for (const std::string& script : all) {
            const auto body = [&] { act(scene, script); };
            killable ? run.killable_fiber(script, body) : run.fiber(script, body);
        }
        run.run();
        scene.conclude();
    };
}

}  // namespace

TEST(it_is_linearizable_and_forgets_no_sleeper) {
    schedule::check("semaphore, 3 fibers on 1 permit", dfs(3).no_timeouts(), scripts(1, {"ar", "ar", "ar"}));
    schedule::check("semaphore, 3 fibers on 2 permits", dfs(3).no_timeouts(), scripts(2, {"ar", "ar", "ar"}));
    schedule::check("semaphore, 2 fibers, 3 rounds", dfs(4).no_timeouts(), scripts(1, {"ararar", "ararar"}));
    schedule::check("semaphore, with looks and tries", dfs(2).no_timeouts(), scripts(1, {"arv", "tv", "ar"}));
    schedule::check("semaphore, 4 fibers on 1 permit", dfs(check::scale(1u, 2u)).no_timeouts(),
                    scripts(1, {"ar", "ar", "ar", "ar"}));
}

TEST(two_releases_in_a_row_wake_two_sleepers) {
    schedule::check("semaphore, 2 sleepers, 1 releaser", dfs(3).no_timeouts(), scripts(0, {"a", "a", "rr"}));
    schedule::check("semaphore, 2 sleepers, 2 releasers", dfs(2).no_timeouts(), scripts(0, {"a", "a", "r", "r"}));
    schedule::check("semaphore, 3 sleepers, 3 releases", dfs(2).no_timeouts(), scripts(0, {"a", "a", "a", "rrr"}));
    schedule::check("semaphore, any sleeper is woken", dfs(2).no_timeouts().waking_in_any_order(),
                    scripts(0, {"a", "a", "a", "rrr"}));
}

TEST(a_release_of_several_wakes_as_many) {
    schedule::check("semaphore, 2 sleepers, release(2)", dfs(3).no_timeouts(), scripts(0, {"a", "a", "R"}));
    schedule::check("semaphore, 3 sleepers, release(2) and 1", dfs(2).no_timeouts(), scripts(0, {"a", "a", "a", "Rr"}));
}

TEST(a_bound_holds_against_racing_releases) {
    schedule::check("bounded semaphore, racing releases", dfs(3).no_timeouts(), scripts(0, {"b", "b", "bv"}));
    schedule::check("bounded semaphore, with an acquirer", dfs(2).no_timeouts(), scripts(1, {"ab", "bv", "tb"}));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("semaphore, 1 disturbance", dfs(2).no_timeouts().with_spurious(1), scripts(0, {"a", "a", "rr"}));
    schedule::check("semaphore, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts(1, {"ar", "ar", "ar"}));
}

TEST(who_gives_up_takes_no_wakeup_with_it) {
    // As the timed acquire does: after a wait that ran out, one more attempt, and only then it gives up.
    schedule::check("semaphore, one gives up", dfs(3).no_timeouts().with_spurious(1), [](Execution& run) {
        Scene scene(run, 0);
        run.fiber("gives up", [&] {
            const std::size_t call = scene.calls.begin({Call::acquire});
            for (Wait wait;;) {
                if (scene.semaphore.attempt_acquire(wait) == Result::done) break;
                if (Model::wait(wait.word, wait.expected) != Model::Outcome::timeout) continue;
                if (scene.semaphore.attempt_acquire(wait) == Result::done) break;
                return;  // for the history it is pending, and must not have happened
            }
            scene.calls.end(call, done);
            scene.release();
        });
        run.fiber("patient", [&] { act(scene, "ar"); });
        run.fiber("releaser", [&] { act(scene, "r"); });
        run.run();
        SCHEDULE_CHECK(scene.semaphore.value() == 1);
        scene.conclude();
    });
}

TEST(a_death_at_any_step_loses_at_most_its_own_permit) {
    schedule::check("semaphore, 3 fibers, 1 death", dfs(2, 1), [](Execution& run) {
        Scene scene(run, 2);
        for (int i = 0; i < 3; ++i) run.killable_fiber("visitor", [&] { act(scene, "ar"); });
        run.run();
        SCHEDULE_CHECK(scene.semaphore.value() + run.deaths() >= 2);
        SCHEDULE_CHECK(scene.semaphore.value() <= 2);
        scene.conclude();
    });
    // Sleepers and releasers die, but permits enough for the living are given by one who lives.
    schedule::check("semaphore, sleepers die", dfs(2, 1), [](Execution& run) {
        Scene scene(run, 0);
        for (int i = 0; i < 2; ++i) run.killable_fiber("sleeper", [&] { act(scene, "a"); });
        run.killable_fiber("releaser", [&] { act(scene, "r"); });
        run.fiber("survivor", [&] { act(scene, "rr"); });
        run.run();
        scene.conclude();
    });
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(3000, 200000);
    const auto body = scripts(2, {"arar", "arv", "ara", "rar", "tar"});
    schedule::check("semaphore, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("semaphore, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
