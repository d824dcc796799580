// The explorer finds what it is for, on code that is known to be wrong, and passes code that is known to be right.
#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "check.hpp"
#include "schedule/schedule.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::explore;
using schedule::Model;
using schedule::Plan;
using schedule::Result;

namespace {

using Word = Model::Atom<std::uint32_t>;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ---------------------------------------------------------------------------------------------- specimens, wrong and right

/// Wrong: between the load and the store, another one may take it.
struct LoadStoreLock {
    Word word;
    void lock() {
        while (word.load() != 0) Model::pause();
        word.store(1);
    }
    void unlock() { word.store(0); }
};

struct SpinLock {
    Word word;
    void lock() {
        while (word.exchange(1) != 0) Model::pause();
    }
    void unlock() { word.store(0); }
};

/// Drepper's mutex2: 0 free, 1 held, 2 held and perhaps waited for.
struct FutexLock {
    Word word;
    void lock() {
        std::uint32_t state = 0;
        if (word.compare_exchange_strong(state, 1)) return;
        if (state != 2) state = word.exchange(2);
        while (state != 0) {
            Model::wait(&word, 2);
            state = word.exchange(2);
        }
    }
    void unlock() {
        if (word.fetch_sub(1) == 1) return;
        word.store(0);
        Model::wake(&word, 1);
    }
};

/// Wrong: who waits takes the lock as 1, so that the third one, asleep, is forgotten by the next unlock.
struct ForgetfulLock : FutexLock {
    void lock() {
        std::uint32_t state = 0;
        while (!word.compare_exchange_strong(state, 1)) {
            if (state == 2 || word.compare_exchange_strong(state, 2)) Model::wait(&word, 2);
            state = 0;
        }
    }
};

/// Holds the number of its owner + 1; a waiter whose wait runs out asks whether the owner lives, and takes over if not.
struct RobustLock {
    Word word;
    bool lock() {  // true: taken from a dead owner
        const std::uint32_t me = Model::self() + 1;
        for (;;) {
            std::uint32_t owner = 0;
            if (word.compare_exchange_strong(owner, me)) return false;
            if (!Model::alive(owner - 1)) {
                if (word.compare_exchange_strong(owner, me)) return true;
                continue;
            }
            Model::wait(&word, owner);
        }
    }
    void unlock() {
        word.store(0);
        Model::wake(&word, 1);
    }
};

/// `fibers` fibers take the lock `rounds` times each; no two may be inside.
template <class Lock>
auto contended(unsigned fibers, unsigned rounds = 1) {
    return [=](Execution& run) {
        Lock lock{};
        unsigned inside = 0;
        unsigned visits = 0;
        run.label(lock.word, "lock");
        for (unsigned i = 0; i < fibers; ++i) {
            run.fiber("f" + std::to_string(i), [&] {
                for (unsigned round = 0; round < rounds; ++round) {
                    lock.lock();
                    SCHEDULE_CHECK(++inside == 1, "two are inside");
                    Model::yield_point("inside");
                    --inside;
                    ++visits;
                    lock.unlock();
                }
            });
        }
        run.run();
        SCHEDULE_CHECK(visits == fibers * rounds);
        SCHEDULE_CHECK(lock.word.peek() == 0);
    };
}

}  // namespace

// ------------------------------------------------------------------------------------------------------ it finds bugs

TEST(a_lock_of_load_and_store_is_found_by_every_strategy) {
    const auto body = contended<LoadStoreLock>(2);
    const Result bounded = explore(dfs(1), body);
    CHECK(bounded.complete && !bounded.failed, "it takes two preemptions: one after the load, one inside");
    for (const Plan& plan : {dfs(2), dfs(2).unpruned(), schedule::random(7, 1000), schedule::pct(7, 1000, 3)}) {
        const Result result = explore(plan, body);
        CHECK(result.failed);
        CHECK(contains(result.message, "two are inside"), result.message);
        CHECK(contains(result.report, result.schedule), "the report names the schedule");
        CHECK(contains(result.report, "load lock = 0") && contains(result.report, "store lock: 0 -> 1"), result.report);
        CHECK(!contains(result.report, "not deterministic"), result.report);
        const Result again = explore(schedule::replay(result.schedule), body);
        CHECK(again.failed && again.executions == 1 && again.message == result.message, "the schedule repeats the failure");
    }
}

TEST(the_first_failure_found_has_the_fewest_preemptions) {
    const Result result = explore(dfs(5), contended<LoadStoreLock>(2));
    REQUIRE(result.failed);
    // Three runs of steps have two preemptions between them.
    CHECK_EQ(std::count(result.schedule.begin(), result.schedule.end(), '.'), 2, result.schedule);
}

TEST(a_seed_repeats_a_random_failure) {
    const auto body = contended<LoadStoreLock>(3);
    for (const Plan& plan : {schedule::random(1, 10000), schedule::pct(1, 10000)}) {
        const Result first = explore(plan, body);
        REQUIRE(first.failed);
        const auto at = first.report.find("seed ");
        REQUIRE(at != std::string::npos);
        const Result again = explore(plan, body);
        CHECK_EQ(again.schedule, first.schedule);
        CHECK_EQ(again.executions, first.executions);
    }
}

TEST(a_forgotten_sleeper_is_found) {
    const Result result = explore(dfs(2).no_timeouts(), contended<ForgetfulLock>(3));
    CHECK(result.failed);
    CHECK(contains(result.message, "lost wake-up"), result.message);
}

TEST(a_lost_wakeup_is_a_failure_without_timeouts_and_a_timeout_with_them) {
    // Wrong: the setter may look for sleepers before the waiter, which has seen the flag down, announces itself.
    const auto body = [](Execution& run) {
        Word flag{}, sleepers{};
        run.fiber("waiter", [&] {
            while (flag.load() == 0) {
                sleepers.store(1);
                Model::wait(&sleepers, 1);
            }
        });
        run.fiber("setter", [&] {
            flag.store(1);
            if (sleepers.exchange(0) != 0) Model::wake(&sleepers, 1);
        });
        run.run();
    };
    const Result strict = explore(dfs(1).no_timeouts(), body);
    CHECK(strict.failed);
    CHECK(contains(strict.message, "lost wake-up") && contains(strict.message, "waiter waits"), strict.message);
    const Result patient = explore(dfs(1), body);
    CHECK(!patient.failed && patient.complete, patient.report);
    CHECK(patient.timeouts > 0);
}

TEST(a_deadlock_is_found_though_waits_time_out) {
    const Result result = explore(dfs(1), [](Execution& run) {
        Word never{};
        run.fiber("hopeful", [&] {
            while (never.load() == 0) Model::wait(&never, 0);
        });
        run.run();
    });
    CHECK(result.failed);
    CHECK(contains(result.message, "deadlock") && contains(result.message, "hopeful"), result.message);
}

TEST(two_locks_in_opposite_orders_deadlock) {
    const auto body = [](Execution& run) {
        FutexLock a{}, b{};
        const auto both = [](FutexLock& first, FutexLock& second) {
            return [&] {
                first.lock();
                second.lock();
                second.unlock();
                first.unlock();
            };
        };
        run.fiber("ab", both(a, b));
        run.fiber("ba", both(b, a));
        run.run();
    };
    CHECK(!explore(dfs(0).no_timeouts(), body).failed, "it takes a preemption");
    CHECK(contains(explore(dfs(1).no_timeouts(), body).message, "deadlock"));
    CHECK(contains(explore(dfs(1), body).message, "deadlock"), "also if waits time out");
    CHECK(explore(schedule::random(3, 1000), body).failed);
    CHECK(explore(schedule::pct(3, 1000, 2), body).failed);
}

TEST(a_spinning_deadlock_is_found) {
    const Result result = explore(dfs(2).with_max_steps(500), [](Execution& run) {
        SpinLock a{}, b{};
        run.fiber("ab", [&] { a.lock(), b.lock(), b.unlock(), a.unlock(); });
        run.fiber("ba", [&] { b.lock(), a.lock(), a.unlock(), b.unlock(); });
        run.run();
    });
    CHECK(result.failed);
    CHECK(contains(result.message, "livelock"), result.message);
}

TEST(a_lock_whose_owner_dies_is_found_if_nobody_recovers_it) {
    const auto body = [](Execution& run) {
        FutexLock lock{};
        for (const char* name : {"first", "second"}) {
            run.killable_fiber(name, [&] {
                lock.lock();
                lock.unlock();
            });
        }
        run.run();
    };
    CHECK(!explore(dfs(2), body).failed, "nobody dies");
    const Result result = explore(dfs(2, 1), body);
    CHECK(result.failed);
    CHECK(contains(result.message, "deadlock") && contains(result.message, "is dead"), result.message);
    CHECK(contains(result.report, "is KILLED"), result.report);
    CHECK(contains(result.schedule, "!"), result.schedule);
    CHECK(explore(schedule::replay(result.schedule), body).failed);
    CHECK(explore(schedule::random(1, 10000, 1), body).failed);
    CHECK(explore(schedule::pct(1, 10000, 3, 1), body).failed);
}

TEST(a_loop_that_trusts_the_weak_exchange_is_found_with_spurious_failures) {
    const auto body = [](Execution& run) {
        Word word{};
        run.fiber("trusting", [&] {
            std::uint32_t zero = 0;
            SCHEDULE_CHECK(word.compare_exchange_weak(zero, 1), "nobody else is here");
        });
        run.run();
    };
    CHECK(!explore(dfs(2), body).failed);
    const Result result = explore(dfs(0).with_spurious(1), body);
    CHECK(result.failed);
    CHECK(contains(result.schedule, "~"), result.schedule);
    CHECK(explore(schedule::replay(result.schedule), body).failed);
}

TEST(a_waiter_that_trusts_the_end_of_its_wait_is_found_with_early_timeouts) {
    const auto body = [](Execution& run) {
        Word flag{};
        run.fiber("trusting", [&] {
            if (flag.load() == 0) Model::wait(&flag, 0);
            SCHEDULE_CHECK(flag.load() == 1);
        });
        run.fiber("setter", [&] {
            flag.store(1);
            Model::wake(&flag, 1);
        });
        run.run();
    };
    const Result punctual = explore(dfs(3).no_timeouts(), body);
    CHECK(punctual.complete && !punctual.failed, punctual.report);
    const Result result = explore(dfs(1).no_timeouts().with_spurious(1), body);
    CHECK(result.failed);
    CHECK(contains(result.schedule, "%"), result.schedule);
    CHECK(explore(schedule::replay(result.schedule), body).failed);
}

TEST(an_exception_in_a_fiber_fails_the_execution) {
    const Result result = explore(dfs(1), [](Execution& run) {
        run.fiber("thrower", [] { throw std::runtime_error("thrown on purpose"); });
        run.run();
    });
    CHECK(result.failed);
    CHECK(contains(result.message, "thrower") && contains(result.message, "thrown on purpose"), result.message);
}

TEST(a_test_that_is_not_deterministic_is_told_so) {
    int executions = 0;
    const Result result = explore(dfs(2), [&](Execution& run) {
        ++executions;
        Word word{};
        for (int i = 0; i < 2; ++i) {
            run.fiber("f", [&] {
                for (int step = 0; step < 4 + executions % 2; ++step) word.fetch_add(1);
            });
        }
        run.run();
    });
    CHECK(result.failed);
    CHECK(contains(result.message, "not deterministic"), result.message);
}

TEST(a_schedule_that_does_not_fit_is_refused) {
    const auto body = contended<SpinLock>(2);
    CHECK(contains(explore(schedule::replay("a2.z9"), body).message, "not a schedule"));
    CHECK(contains(explore(schedule::replay("a2.p"), body).message, "does not fit"));
    CHECK(!explore(schedule::replay(""), body).failed, "an empty one is an undisturbed run");
}

// ------------------------------------------------------------------------------------------- it passes what is right

TEST(right_locks_pass_and_exploration_ends) {
    for (const Plan& plan : {dfs(3).no_timeouts(), dfs(2).no_timeouts().unpruned(), schedule::random(1, 2000).no_timeouts(),
                             schedule::pct(1, 2000).no_timeouts()}) {
        schedule::check("spin lock, 3 fibers", plan, contended<SpinLock>(3));
        schedule::check("futex lock, 3 fibers", plan, contended<FutexLock>(3));
    }
    schedule::check("spin lock, 2 fibers, 8 preemptions", dfs(8), contended<SpinLock>(2));
    schedule::check("futex lock, 2 fibers, no bound", dfs(100).no_timeouts(), contended<FutexLock>(2));
}

TEST(a_recovered_lock_passes_with_deaths) {
    const auto body = [](Execution& run) {
        RobustLock lock{};
        run.label(lock.word, "lock");
        unsigned inside = 0, recoveries = 0, finished = 0;
        for (const char* name : {"first", "second", "third"}) {
            run.killable_fiber(name, [&] {
                if (lock.lock()) {
                    ++recoveries;
                    inside = 0;
                }
                SCHEDULE_CHECK(++inside == 1);
                Model::yield_point("inside");
                --inside;
                lock.unlock();
                ++finished;
            });
        }
        run.run();
        SCHEDULE_CHECK(finished + run.deaths() >= 3);
        SCHEDULE_CHECK(recoveries <= run.deaths());
        const std::uint32_t owner = lock.word.peek();
        SCHEDULE_CHECK(owner == 0 || run.died(owner - 1), "only the dead may still hold it");
    };
    schedule::check("robust lock, 3 fibers, 1 death", dfs(2, 1), body);
    schedule::check("robust lock, 3 fibers, 3 deaths", dfs(1, 3), body);
    schedule::check("robust lock, random deaths", schedule::random(1, 5000, 2), body);
    schedule::check("robust lock, early timeouts", dfs(1, 1).with_spurious(1), body);
}

TEST(fibers_that_spin_do_not_starve_a_third_one) {
    // Each round of the two changes something for the other one; only fairness ends their dance.
    schedule::check("spinning with changes", dfs(2).with_max_steps(1000), [](Execution& run) {
        Word flag{}, rounds{};
        for (int i = 0; i < 2; ++i) {
            run.fiber("spinning", [&] {
                while (flag.load() == 0) {
                    rounds.fetch_add(1);
                    Model::pause();
                }
            });
        }
        run.fiber("third", [&] {
            for (int i = 0; i < 3; ++i) rounds.load();
            flag.store(1);
        });
        run.run();
    });
}

TEST(a_report_is_not_printed_for_a_pass) {
    const Result result = explore(dfs(2), contended<SpinLock>(2));
    CHECK(!result.failed && result.complete && result.message.empty() && result.report.empty());
}

// ------------------------------------------------------------------------------------ it explores exactly what it says

TEST(without_a_bound_every_interleaving_is_explored) {
    // A fiber of n steps has n + 1 parts (it begins, then each step with what follows): C(2n + 2, n + 1) interleavings.
    const std::array<std::uint64_t, 5> expected = {2, 6, 20, 70, 252};
    for (unsigned steps = 0; steps < expected.size(); ++steps) {
        std::set<std::string> orders;
        const Result result = explore(dfs(100).unpruned(), [&](Execution& run) {
            Word word{};
            std::string order;
            for (const char name : {'a', 'b'}) {
                run.fiber(std::string(1, name), [&, name] {
                    order += name;
                    for (unsigned step = 0; step < steps; ++step) {
                        word.fetch_add(1);
                        order += name;
                    }
                });
            }
            run.run();
            orders.insert(order);
        });
        CHECK(result.complete && result.exhaustive);
        CHECK_EQ(orders.size(), expected[steps], "steps: ", steps);
    }
}

TEST(a_bound_leaves_out_what_has_more_preemptions) {
    // Of two fibers with n steps each, one order has each fiber in one piece, for each way of beginning: no preemption.
    // One preemption: a is left after one of its n + 1 parts but the last, then b runs to its end: n ways, and so for b.
    constexpr unsigned steps = 6;
    for (const auto& [bound, expected] : {std::pair{0u, 2u}, std::pair{1u, 2u + 2 * steps}}) {
        std::set<std::string> orders;
        const Result result = explore(dfs(bound).unpruned(), [&](Execution& run) {
            Word word{};
            std::string order;
            for (const char name : {'a', 'b'}) {
                run.fiber(std::string(1, name), [&, name] {
                    order += name;
                    for (unsigned step = 0; step < steps; ++step) {
                        word.fetch_add(1);
                        order += name;
                    }
                });
            }
            run.run();
            orders.insert(order);
        });
        CHECK(result.complete && !result.exhaustive);
        CHECK_EQ(orders.size(), expected, "bound ", bound);
    }
}

TEST(a_fiber_dies_at_each_of_its_steps_once) {
    constexpr unsigned steps = 5;
    std::multiset<unsigned> done_at_death;
    unsigned survived = 0;
    const Result result = explore(dfs(0, 1), [&](Execution& run) {
        Word word{};
        const auto victim = run.killable_fiber("victim", [&] {
            for (unsigned step = 0; step < steps; ++step) word.fetch_add(1);
        });
        run.run();
        if (run.died(victim)) {
            done_at_death.insert(word.peek());
        } else {
            ++survived;
        }
    });
    CHECK(result.complete);
    CHECK_EQ(survived, 1u);
    CHECK(done_at_death == (std::multiset<unsigned>{0, 1, 2, 3, 4, 5}));
}

TEST(a_sleeper_dies_before_and_after_its_wake) {
    std::set<std::string> seen;
    const Result result = explore(dfs(2, 1), [&](Execution& run) {
        Word word{};
        unsigned woken = 0;
        const auto sleeper = run.killable_fiber("sleeper", [&] {
            Model::wait(&word, 0);
            word.load();
        });
        run.fiber("waker", [&] {
            word.store(1);
            Model::wake(&word, 1);
            woken = Model::alive(sleeper) ? 1 : 2;
        });
        run.run();
        seen.insert((run.died(sleeper) ? "dead, " : "alive, ") + std::string(woken == 1 ? "seen alive" : "seen dead"));
    });
    CHECK(result.complete && !result.failed, result.report);
    CHECK(seen == (std::set<std::string>{"alive, seen alive", "dead, seen alive", "dead, seen dead"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
