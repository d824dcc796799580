// The event under systematic schedules: linearizable, everybody is woken, a set is seen even if a clear follows it.
#include <ostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/event.hpp"
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

using Event = treadle::word::Event<Model>;

namespace {

enum class Call { set, clear, is_set, wait };

std::ostream& operator<<(std::ostream& out, Call call) {
    constexpr const char* names[] = {"set", "clear", "is_set", "wait"};
    return out << names[static_cast<int>(call)];
}

using Calls = History<Call, bool>;

/// A wait takes effect at a moment at which the flag is up.
struct Flag {
    bool up = false;

    bool apply(const Operation<Call, bool>& op) {
        switch (op.call) {
            case Call::set: up = true; return true;
            case Call::clear: up = false; return true;
            case Call::is_set: return !op.reply || *op.reply == up;
            case Call::wait: return up;
        }
        return false;
    }
    friend bool operator==(const Flag&, const Flag&) = default;
};

struct Scene {
    Execution& run;
    Event event{};
    Calls calls{run};

    explicit Scene(Execution& execution) : run(execution) { run.label(event, "event"); }

    void set() {
        calls.record(Call::set, [&] { return event.set(), true; });
    }
    void clear() {
        calls.record(Call::clear, [&] { return event.clear(), true; });
    }
    bool is_set() {
        return calls.record(Call::is_set, [&] { return event.is_set(); });
    }
    void wait() {
        calls.record(Call::wait, [&] {
            Caller who;
            const std::uint32_t since = event.epoch();
            return insist(who, [&](Wait& wait) { return event.attempt_wait(since, wait); }) == Result::done;
        });
    }

    void conclude() {
        is_set();
        const auto verdict = schedule::linearizable(calls, Flag{});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: s set, c clear, i is_set, w wait.
void act(Scene& scene, const std::string& script) {
    for (const char letter : script) {
        switch (letter) {
            case 's': scene.set(); break;
            case 'c': scene.clear(); break;
            case 'i': scene.is_set(); break;
            case 'w': scene.wait(); break;
        }
    }
}

auto scripts(std::vector<std::string> all, bool killable = false) {
    return [=](Execution& run) {
        Scene scene(run);
        for (const std::string& script : all) {
            const auto body = [&] { act(scene, script); };
            killable ? run.killable_fiber(script, body) : run.fiber(script, body);
        }
        run.run();
        scene.conclude();
    };
}

}  // namespace

TEST(a_set_wakes_everybody) {
    schedule::check("event, 3 waiters", dfs(2).no_timeouts(), scripts({"w", "w", "w", "s"}));
    schedule::check("event, 2 waiters, 2 setters", dfs(3).no_timeouts(), scripts({"w", "w", "s", "s"}));
    schedule::check("event, 2 waiters twice", dfs(3).no_timeouts(), scripts({"ww", "ww", "s"}));
}

TEST(it_is_linearizable) {
    schedule::check("event, set, clear and look", dfs(4).no_timeouts(), scripts({"sci", "isi", "ci"}));
    schedule::check("event, with a waiter", dfs(3).no_timeouts(), scripts({"wi", "scs", "is"}));
}

TEST(a_waiter_sees_a_set_though_a_clear_follows_it) {
    // Nobody sets it again: a waiter that began before the set must return; for a later one the test sets it at the end.
    schedule::check("event, a pulse", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        Model::Atom<std::uint32_t> waiting{};
        std::uint32_t since = 0;
        run.fiber("waiter", [&] {
            Caller who;
            since = scene.event.epoch();
            waiting.store(1);
            Model::wake(&waiting, 1);
            SCHEDULE_CHECK(insist(who, [&](Wait& wait) { return scene.event.attempt_wait(since, wait); }) == Result::done);
        });
        run.fiber("pulse", [&] {
            while (waiting.load() == 0) Model::wait(&waiting, 0);
            act(scene, "sc");
        });
        run.fiber("other", [&] { act(scene, "c"); });
        run.run();
        SCHEDULE_CHECK(!scene.is_set());
        scene.conclude();
    });
    schedule::check("event, pulses and waiters", dfs(3).no_timeouts(), scripts({"w", "scs", "w"}));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("event, 1 disturbance", dfs(2).no_timeouts().with_spurious(1), scripts({"w", "w", "cs"}));
    schedule::check("event, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts({"w", "w", "scs"}));
}

TEST(a_death_at_any_step_hangs_nobody) {
    schedule::check("event, waiters and setters die", dfs(2, 1), [](Execution& run) {
        Scene scene(run);
        run.killable_fiber("waiter", [&] { act(scene, "w"); });
        run.killable_fiber("setter", [&] { act(scene, "s"); });
        run.fiber("survivor", [&] { act(scene, "w"); });
        run.fiber("last setter", [&] { act(scene, "s"); });
        run.run();
        scene.conclude();
    });
    // The flag is up as soon as the setter has got that far: who waits needs no other setter, only a second look.
    schedule::check("event, the setter dies", dfs(3, 1), [](Execution& run) {
        Scene scene(run);
        run.killable_fiber("setter", [&] { act(scene, "s"); });
        for (int i = 0; i < 2; ++i) {
            run.fiber("waiter", [&] {
                Caller who;
                const std::uint32_t since = scene.event.epoch();
                for (Wait wait; scene.event.attempt_wait(since, wait) == Result::blocked;) {
                    const bool ran_out = Model::wait(wait.word, wait.expected) == Model::Outcome::timeout;
                    if (ran_out && !scene.event.is_set()) return;
                }
            });
        }
        run.run();
        SCHEDULE_CHECK(run.timeouts() == 0 || run.deaths() == 1, "a timeout, though nobody died");
        scene.conclude();
    });
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(3000, 200000);
    const auto body = scripts({"wis", "swi", "scs", "iws", "cis"});
    schedule::check("event, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("event, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
