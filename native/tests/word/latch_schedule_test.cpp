// The latch under systematic schedules: linearizable, everybody is woken, nobody before it is open.
#include <ostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/latch.hpp"
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

using Latch = treadle::word::Latch<Model>;

namespace {

enum class Call { one, two, count, wait };

std::ostream& operator<<(std::ostream& out, Call call) {
    constexpr const char* names[] = {"count_down", "count_down(2)", "count", "wait"};
    return out << names[static_cast<int>(call)];
}

using Calls = History<Call, std::uint32_t>;

struct Counter {
    std::uint32_t left;

    bool apply(const Operation<Call, std::uint32_t>& op) {
        switch (op.call) {
            case Call::one: left -= left != 0; return true;
            case Call::two: left -= left < 2 ? left : 2; return true;
            case Call::count: return !op.reply || *op.reply == left;
            case Call::wait: return left == 0;
        }
        return false;
    }
    friend bool operator==(const Counter&, const Counter&) = default;
};

struct Scene {
    Execution& run;
    const std::uint32_t initial;
    Latch latch{};
    Calls calls{run};

    Scene(Execution& execution, std::uint32_t count) : run(execution), initial(count) {
        latch.initialise(count);
        run.label(latch, "latch");
    }
    void count_down(Call call) {
        calls.record(call, [&] { return latch.count_down(call == Call::one ? 1 : 2), 0u; });
    }
    void count() {
        calls.record(Call::count, [&] { return latch.count(); });
    }
    void wait() {
        calls.record(Call::wait, [&] {
            Caller who;
            SCHEDULE_CHECK(insist(who, [&](Wait& wait) { return latch.attempt_wait(wait); }) == Result::done);
            return 0u;
        });
    }
    void conclude() {
        count();
        const auto verdict = schedule::linearizable(calls, Counter{initial});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: d count down, D by two, c count, w wait.
void act(Scene& scene, const std::string& script) {
    for (const char letter : script) {
        switch (letter) {
            case 'd': scene.count_down(Call::one); break;
            case 'D': scene.count_down(Call::two); break;
            case 'c': scene.count(); break;
            case 'w': scene.wait(); break;
        }
    }
}

/// Fibers with these scripts. `!` in front: it may be killed.
auto scripts(std::uint32_t count, std::vector<std::string> all) {
    return [=](Execution& run) {
        Scene scene(run, count);
        for (const std::string& script : all) {
            const auto body = [&] { act(scene, script); };
            script[0] == '!' ? run.killable_fiber(script, body) : run.fiber(script, body);
        }
        run.run();
        scene.conclude();
    };
}

}  // namespace

TEST(the_last_count_down_wakes_everybody) {
    schedule::check("latch, 3 waiters", dfs(3).no_timeouts(), scripts(1, {"w", "w", "w", "d"}));
    schedule::check("latch, 2 waiters, 2 counters", dfs(3).no_timeouts(), scripts(2, {"w", "w", "d", "d"}));
    schedule::check("latch, one too many", dfs(3).no_timeouts(), scripts(2, {"w", "d", "D", "d"}));
}

TEST(it_is_linearizable) {
    schedule::check("latch, count down and look", dfs(4).no_timeouts(), scripts(4, {"dcd", "cDc", "dc"}));
    schedule::check("latch, with a waiter", dfs(3).no_timeouts(), scripts(3, {"wc", "dcd", "cd"}));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("latch, 1 disturbance", dfs(2).no_timeouts().with_spurious(1), scripts(2, {"w", "w", "dd"}));
    schedule::check("latch, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts(2, {"w", "d", "d"}));
}

TEST(a_death_at_any_step_hangs_nobody) {
    schedule::check("latch, waiters and counters die", dfs(2, 1), scripts(2, {"!w", "!d", "w", "dd"}));
    schedule::check("latch, 2 deaths", dfs(1, 2), scripts(2, {"!w", "!d", "!d", "w", "dd"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(3000, 200000);
    const auto body = scripts(6, {"wc", "dwd", "cDc", "dwc", "dd"});
    schedule::check("latch, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("latch, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
