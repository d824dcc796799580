// The owner word under systematic schedules: it excludes, wakes, and survives the death of its owner at every step.
#include <ostream>
#include <string>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/mutex.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;
using schedule::Plan;
using word_test::Caller;
using word_test::insist;
using word_test::Model;
using word_test::Result;
using word_test::Token;
using word_test::Wait;

using Mutex = treadle::word::Mutex<Model>;

namespace {

enum class Call { acquire, enter, release, recover, adopt, restore };

std::ostream& operator<<(std::ostream& out, Call call) {
    constexpr const char* names[] = {"acquire", "enter", "release", "recover", "adopt", "restore"};
    return out << names[static_cast<int>(call)];
}

/// The table at the top of word/mutex.hpp, as a sequential object. Who died is known to it from the start: an operation
/// that reports a death can only have found a fiber that was killed.
struct Table {
    std::uint32_t dead = 0;   // bit set of fibers
    std::uint32_t owner = 0;  // fiber + 1
    bool held = false;
    bool inconsistent = false;

    bool apply(const Operation<Call, Result>& op) {
        const std::uint32_t me = op.fiber + 1;
        Table next = *this;
        Result reply = Result::not_held;
        switch (op.call) {
            case Call::acquire:
            case Call::enter:
                if (owner == 0) {
                    next.take(me, false);
                    reply = Result::done;
                } else if (held) {
                    if ((dead >> (owner - 1) & 1) == 0) return false;  // it has to wait
                    reply = Result::owner_died;
                    if (op.call == Call::enter) {
                        next.take(me, false);
                    } else {
                        next.held = false;
                        next.inconsistent = true;
                    }
                } else {
                    reply = Result::inconsistent;
                }
                break;
            case Call::release:
                if (held) {
                    reply = Result::done;
                    next.held = false;
                    if (!inconsistent) next.owner = 0;
                }
                break;
            case Call::recover:
            case Call::adopt:
                if (inconsistent && !held) {
                    reply = Result::done;
                    next.take(me, op.call == Call::recover);
                }
                break;
            case Call::restore:
                if (inconsistent && held && owner == me) {
                    reply = Result::done;
                    next = Table{dead};
                }
                break;
        }
        if (op.reply && *op.reply != reply) return false;
        *this = next;
        return true;
    }
    friend bool operator==(const Table&, const Table&) = default;

private:
    void take(std::uint32_t by, bool keep_mark) {
        owner = by;
        held = true;
        inconsistent = keep_mark;
    }
};

using Calls = History<Call, Result>;

/// To ask whether somebody lives costs a system call: it is for those whose park has run out.
struct PatientCaller : Caller {
    bool alive(Token other) const {
        SCHEDULE_CHECK(look, "asked after an owner without having waited for it");
        return Caller::alive(other);
    }
};

Result acquire(Mutex& mutex, Calls& calls) {
    return calls.record(Call::acquire, [&] {
        PatientCaller who;
        if (mutex.try_acquire(who.token)) return Result::done;
        return insist(who, [&](Wait& wait) { return mutex.attempt_acquire(who, wait); });
    });
}

Result enter(Mutex& mutex, Calls& calls) {
    return calls.record(Call::enter, [&] {
        PatientCaller who;
        return insist(who, [&](Wait& wait) { return mutex.attempt_enter(who, wait); });
    });
}

Result release(Mutex& mutex, Calls& calls) {
    return calls.record(Call::release, [&] { return mutex.release(); });
}

/// Plain data that only one fiber at a time may touch; a death inside leaves it torn.
struct Guarded {
    bool torn = false;
    unsigned visits = 0;

    void visit() {
        SCHEDULE_CHECK(!torn, "two are inside, or nobody was told of a death inside");
        torn = true;
        Model::yield_point("inside");
        torn = false;
        ++visits;
    }
};

struct Scene {
    Execution& run;
    Mutex mutex{};
    Guarded guarded{};
    unsigned deaths_told = 0;
    Calls calls{run};

    explicit Scene(Execution& execution) : run(execution) { run.label(mutex, "mutex"); }

    /// acquire, visit, release; whoever learns of a death repairs.
    void visit_by_acquire(bool adopt = false) {
        const Token me = Caller{}.token;
        for (;;) {
            const Result got = acquire(mutex, calls);
            if (got == Result::done) {
                guarded.visit();
                SCHEDULE_CHECK(release(mutex, calls) == Result::done);
                return;
            }
            SCHEDULE_CHECK(got == Result::owner_died || got == Result::inconsistent);
            if (got == Result::owner_died) ++deaths_told;
            const auto recover = [&] { return mutex.recover(me, !adopt); };
            if (calls.record(adopt ? Call::adopt : Call::recover, recover) != Result::done) continue;
            guarded.torn = false;
            guarded.visit();
            if (adopt) {
                SCHEDULE_CHECK(release(mutex, calls) == Result::done);
            } else {
                SCHEDULE_CHECK(calls.record(Call::restore, [&] { return mutex.restore(me); }) == Result::done);
            }
            return;
        }
    }

    void visit_by_enter() {
        if (enter(mutex, calls) == Result::owner_died) {
            ++deaths_told;
            guarded.torn = false;
        }
        guarded.visit();
        SCHEDULE_CHECK(release(mutex, calls) == Result::done);
    }

    /// After run(): everything that was returned is explained by the table, and the word is one of its states.
    void conclude(unsigned fibers, unsigned visits_each) {
        std::uint32_t dead = 0;
        for (unsigned id = 0; id < fibers; ++id) dead |= static_cast<std::uint32_t>(run.died(id)) << id;
        const auto verdict = schedule::linearizable(calls, Table{dead});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
        SCHEDULE_CHECK(deaths_told <= run.deaths(), "one death was told twice");
        SCHEDULE_CHECK(guarded.visits >= (fibers - run.deaths()) * visits_each);
        if (run.deaths() == 0) {
            SCHEDULE_CHECK(guarded.visits == fibers * visits_each);
            SCHEDULE_CHECK(mutex.owner() == treadle::word::kNobody && !mutex.held() && !mutex.inconsistent());
        }
        if (const Token owner = mutex.owner(); owner != treadle::word::kNobody) {
            SCHEDULE_CHECK(run.died(word_test::fiber_of(owner)), "a living fiber has left it held");
        }
    }
};

enum class By { acquire, enter, adopt };

auto visitors(unsigned fibers, unsigned visits_each, By by, bool killable = false) {
    return [=](Execution& run) {
        Scene scene(run);
        for (unsigned id = 0; id < fibers; ++id) {
            const auto body = [&] {
                for (unsigned visit = 0; visit < visits_each; ++visit) {
                    by == By::enter ? scene.visit_by_enter() : scene.visit_by_acquire(by == By::adopt);
                }
            };
            const std::string name = "f" + std::to_string(id);
            killable ? run.killable_fiber(name, body) : run.fiber(name, body);
        }
        run.run();
        scene.conclude(fibers, visits_each);
    };
}

/// One fiber may die, two come by; if it dies inside, one of them is told, and then everything goes on without anybody
/// waiting for a timeout again.
auto a_victim_and_two_survivors(By by) {
    return [=](Execution& run) {
        Scene scene(run);
        bool inside = false;
        const auto victim = run.killable_fiber("victim", [&] {
            inside = acquire(scene.mutex, scene.calls) == Result::done;
            SCHEDULE_CHECK(inside, "nobody else dies");
            scene.guarded.visit();
            inside = false;
            release(scene.mutex, scene.calls);
        });
        for (int i = 0; i < 2; ++i) {
            run.fiber("survivor", [&] { by == By::enter ? scene.visit_by_enter() : scene.visit_by_acquire(); });
        }
        run.run();
        scene.conclude(3, 1);
        if (!run.died(victim) || !inside) return;
        const bool somebody_came = scene.mutex.owner() != word_test::token_of(victim);
        SCHEDULE_CHECK(scene.deaths_told == (somebody_came ? 1u : 0u));
        SCHEDULE_CHECK(scene.mutex.held() == !somebody_came, "and it is mended");
        SCHEDULE_CHECK(run.timeouts() <= 1, "the one who found out has not woken the other");
    };
}

}  // namespace

TEST(it_excludes_and_loses_no_wakeup) {
    schedule::check("mutex, 2 fibers, 2 visits", dfs(4).no_timeouts(), visitors(2, 2, By::acquire));
    schedule::check("mutex, 3 fibers", dfs(check::scale(3u, 4u)).no_timeouts(), visitors(3, 1, By::acquire));
    schedule::check("mutex, 3 fibers, 2 visits", dfs(check::scale(2u, 3u)).no_timeouts(), visitors(3, 2, By::acquire));
    schedule::check("mutex, 4 fibers", dfs(check::scale(1u, 2u)).no_timeouts(), visitors(4, 1, By::acquire));
    schedule::check("mutex by enter, 3 fibers", dfs(2).no_timeouts(), visitors(3, 1, By::enter));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("mutex, 3 fibers, 1 disturbance", dfs(check::scale(2u, 3u)).no_timeouts().with_spurious(1),
                    visitors(3, 1, By::acquire));
    schedule::check("mutex, 2 fibers, 2 disturbances", dfs(2).no_timeouts().with_spurious(2), visitors(2, 1, By::acquire));
    schedule::check("mutex by enter, 2 fibers, 2 disturbances", dfs(2).no_timeouts().with_spurious(2),
                    visitors(2, 1, By::enter));
}

TEST(a_death_at_any_step_is_told_once_and_hangs_nobody) {
    schedule::check("mutex, 2 fibers, 1 death", dfs(2, 1), visitors(2, 2, By::acquire, true));
    schedule::check("mutex, 3 fibers, 1 death", dfs(2, 1), visitors(3, 1, By::acquire, true));
    schedule::check("mutex, 3 fibers, 1 death, adopted", dfs(2, 1), visitors(3, 1, By::adopt, true));
    schedule::check("mutex by enter, 3 fibers, 1 death", dfs(2, 1), visitors(3, 1, By::enter, true));
    schedule::check("mutex, 3 fibers, 1 death, 1 disturbance", dfs(1, 1).with_spurious(1),
                    visitors(3, 1, By::acquire, true));
}

TEST(the_death_of_one_who_repairs_is_told_as_well) {
    schedule::check("mutex, 3 fibers, 2 deaths", dfs(check::scale(1u, 2u), 2), visitors(3, 1, By::acquire, true));
    schedule::check("mutex by enter, 3 fibers, 2 deaths", dfs(check::scale(1u, 2u), 2), visitors(3, 1, By::enter, true));
    schedule::check("mutex, 3 fibers, 3 deaths", dfs(0, 3), visitors(3, 1, By::acquire, true));
}

TEST(who_comes_after_a_death_in_the_lock_learns_of_it) {
    schedule::check("mutex, owner dies inside", dfs(3, 1), a_victim_and_two_survivors(By::acquire));
    schedule::check("mutex, owner dies inside, by enter", dfs(2, 1), a_victim_and_two_survivors(By::enter));
}

TEST(a_repair_that_is_given_up_leaves_the_lock_inconsistent_and_tells_all) {
    const auto body = [](Execution& run) {
        Scene scene(run);
        bool inside = false;
        const auto victim = run.killable_fiber("victim", [&] {
            inside = acquire(scene.mutex, scene.calls) == Result::done;
            scene.guarded.visit();
            inside = false;
            release(scene.mutex, scene.calls);
        });
        for (int i = 0; i < 3; ++i) {
            run.fiber("survivor", [&] {
                const Token me = Caller{}.token;
                for (;;) {
                    const Result got = acquire(scene.mutex, scene.calls);
                    if (got == Result::done) break;
                    const auto recover = [&] { return scene.mutex.recover(me, got == Result::owner_died); };
                    const Call how = got == Result::owner_died ? Call::recover : Call::adopt;
                    if (scene.calls.record(how, recover) != Result::done) continue;
                    if (got != Result::owner_died) break;
                    Model::yield_point("repairs, in vain");
                    release(scene.mutex, scene.calls);
                    Model::pause();  // lets the others try, at no price
                }
                scene.guarded.torn = false;
                scene.guarded.visit();
                release(scene.mutex, scene.calls);
            });
        }
        run.run();
        scene.conclude(4, 1);
        if (run.died(victim) && inside) SCHEDULE_CHECK(run.timeouts() <= 1, "a sleeper was forgotten");
    };
    schedule::check("mutex, a repair is given up", dfs(1, 1), body);
}

TEST(a_lock_may_be_released_by_another_fiber) {
    schedule::check("mutex, released by another", dfs(3).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        Model::Atom<std::uint32_t> acquired{};
        run.fiber("owner", [&] {
            SCHEDULE_CHECK(acquire(scene.mutex, scene.calls) == Result::done);
            acquired.store(1);
            Model::wake(&acquired, 2);
        });
        run.fiber("releaser", [&] {
            while (acquired.load() == 0) Model::wait(&acquired, 0);
            SCHEDULE_CHECK(release(scene.mutex, scene.calls) == Result::done);
        });
        run.fiber("next", [&] {
            while (acquired.load() == 0) Model::wait(&acquired, 0);
            SCHEDULE_CHECK(acquire(scene.mutex, scene.calls) == Result::done);
            SCHEDULE_CHECK(release(scene.mutex, scene.calls) == Result::done);
            SCHEDULE_CHECK(release(scene.mutex, scene.calls) == Result::not_held);
        });
        run.run();
        SCHEDULE_CHECK(!scene.mutex.held());
    });
}

TEST(random_schedules_with_many_visits_hold) {
    const auto executions = check::scale<std::uint64_t>(3000, 200000);
    schedule::check("mutex, random", schedule::random(1, executions).no_timeouts(), visitors(4, 3, By::acquire));
    schedule::check("mutex, pct", schedule::pct(1, executions, 4).no_timeouts(), visitors(4, 3, By::acquire));
    schedule::check("mutex, random deaths", schedule::random(1, executions, 3), visitors(5, 2, By::acquire, true));
    schedule::check("mutex by enter, random deaths", schedule::random(2, executions, 3), visitors(5, 2, By::enter, true));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
