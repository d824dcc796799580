// The barrier under systematic schedules: a round ends once and in one way for all of its parties; breaks, resets, timeouts
// and deaths reach exactly the rounds that they are meant for.
#include <cstdint>
#include <string>

#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/barrier.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using treadle::word::BarrierCell;
using treadle::word::kNobody;
using word_test::Caller;
using word_test::insist_past_sections;
using word_test::Model;
using word_test::park;
using word_test::Result;
using word_test::token_of;
using word_test::Wait;

using Barrier = treadle::word::Barrier<Model>;

namespace {

/// What the parties of a round have seen of it, each for itself.
struct Round {
    std::uint32_t indices = 0;   // bit set of those given out
    std::uint32_t arrived = 0;
    std::uint32_t passed = 0;
    std::uint32_t broken = 0;
    std::uint32_t fibers = 0;    // bit set of who has arrived
};

struct Scene {
    static constexpr std::uint32_t kMostParties = 4, kMostRounds = 16;

    Execution& run;
    const std::uint32_t parties;
    Barrier barrier{};
    BarrierCell cells[kMostParties]{};
    Round rounds[kMostRounds]{};
    std::uint32_t arriving = 0;  // have called, and not noted yet that they arrived

    Scene(Execution& execution, std::uint32_t count) : run(execution), parties(count) {
        barrier.initialise(count, cells);
        run.label(barrier, "barrier");
    }

    Result arrive(std::uint32_t& phase, std::uint32_t& index) {
        Caller who;
        ++arriving;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return barrier.attempt_arrive(who, phase, index, wait); });
        --arriving;
        if (result != Result::done) {
            SCHEDULE_CHECK(result == Result::broken, result);
            return result;
        }
        Round& round = rounds[phase % kMostRounds];
        SCHEDULE_CHECK(index < parties && (round.indices >> index & 1) == 0, "an index is given out twice: ", index);
        round.indices |= 1u << index;
        round.fibers |= 1u << Model::self();
        ++round.arrived;
        return result;
    }
    bool last(std::uint32_t index) const { return index == parties - 1; }

    Result trip(std::uint32_t phase) {
        Caller who;
        return insist_past_sections(who, [&](Wait& wait) { return barrier.attempt_trip(who, phase, wait); });
    }
    Result give_up(std::uint32_t phase) {
        Caller who;
        return insist_past_sections(who, [&](Wait& wait) { return barrier.attempt_give_up(who, phase, wait); });
    }
    /// Waits for the end of the round; `patience`: how many parks may run out before it gives up.
    Result wait(std::uint32_t phase, unsigned patience) {
        Caller who;
        for (Wait wait;;) {
            const Result result = barrier.attempt_wait(who, phase, wait);
            if (result != Result::blocked) return result;
            const bool section = wait.section;
            park(who, wait);
            if (!section && who.look && patience-- == 0) return give_up(phase);
        }
    }
    Result note(std::uint32_t phase, Result result) {
        Round& round = rounds[phase % kMostRounds];
        SCHEDULE_CHECK(result == Result::done || result == Result::broken, result);
        if (result == Result::done) {
            ++round.passed;
            SCHEDULE_CHECK(round.arrived + arriving >= parties, "it passed, and some had not come");
        } else {
            ++round.broken;
        }
        SCHEDULE_CHECK(round.passed == 0 || round.broken == 0, "a round has ended in two ways");
        return result;
    }

    /// As Barrier.wait(): the last to arrive runs the action and trips.
    Result pass(unsigned patience = ~0u) {
        std::uint32_t phase = 0, index = 0;
        if (const Result result = arrive(phase, index); result != Result::done) return result;
        if (!last(index)) return note(phase, wait(phase, patience));
        const Result tripped = trip(phase);
        SCHEDULE_CHECK(tripped == Result::done || tripped == Result::gone, tripped);
        return note(phase, tripped == Result::done ? Result::done : Result::broken);
    }
    void abort() {
        Caller who;
        insist_past_sections(who, [&](Wait& wait) { return barrier.attempt_break(who, wait); });
    }
    void reset() {
        Caller who;
        insist_past_sections(who, [&](Wait& wait) { return barrier.attempt_reset(who, wait); });
    }

    /// After run(), where nobody died.
    void conclude() {
        for (const Round& round : rounds) {
            SCHEDULE_CHECK(round.passed + round.broken == round.arrived);
            SCHEDULE_CHECK(round.passed == 0 || round.passed == parties);
        }
        SCHEDULE_CHECK(barrier.culprit() == kNobody);
    }
};

/// Fibers that pass so many times each.
auto passers(std::uint32_t parties, std::uint32_t fibers, unsigned times) {
    return [=](Execution& run) {
        Scene scene(run, parties);
        for (std::uint32_t i = 0; i < fibers; ++i)
            run.fiber("party", [&] {
                for (unsigned n = 0; n < times; ++n) SCHEDULE_CHECK(scene.pass() == Result::done);
            });
        run.run();
        scene.conclude();
        const std::uint32_t complete = fibers * times / parties;
        for (std::uint32_t n = 0; n < Scene::kMostRounds; ++n)
            SCHEDULE_CHECK(scene.rounds[n].passed == (n < complete ? parties : 0));
        SCHEDULE_CHECK(scene.barrier.waiting() == 0 && !scene.barrier.is_broken());
    };
}

/// Parties of whom the first `mortal` may be killed: all the living learn the same of each round, and by whose death.
auto parties_that_die(std::uint32_t parties, std::uint32_t mortal, unsigned times) {
    return [=](Execution& run) {
        Scene scene(run, parties);
        bool gave_up = false;   // or has begun to
        std::uint32_t inside = 0;  // bit set of fibers between an arrival and the end of their round, as they know it
        for (std::uint32_t i = 0; i < parties; ++i) {
            const auto body = [&, i] {
                for (unsigned n = 0; n < times; ++n) {
                    std::uint32_t phase = 0, index = 0;
                    if (scene.arrive(phase, index) != Result::done) return;
                    inside |= 1u << i;
                    if (scene.last(index) && scene.trip(phase) == Result::done) {
                        inside &= ~(1u << i);
                        scene.note(phase, Result::done);
                        continue;
                    }
                    // Who died before it came was never seen: that takes a timeout, and one look finds who died later.
                    Result result = Result::blocked;
                    Caller who;
                    unsigned run_out = 0;
                    for (Wait wait; result == Result::blocked;) {
                        result = scene.barrier.attempt_wait(who, phase, wait);
                        if (result != Result::blocked) break;
                        if (!wait.section && run_out == 2) {
                            gave_up = true;
                            result = scene.give_up(phase);
                            break;
                        }
                        const bool section = wait.section;
                        park(who, wait);
                        if (!section && who.look) ++run_out;
                    }
                    inside &= ~(1u << i);
                    if (scene.note(phase, result) != Result::done) return;
                }
            };
            i < mortal ? run.killable_fiber("mortal", body) : run.fiber("party", body);
        }
        run.run();
        const auto culprit = scene.barrier.culprit();
        std::uint32_t dead = 0;
        for (std::uint32_t i = 0; i < parties; ++i) dead |= std::uint32_t{run.died(i)} << i;
        if (culprit != kNobody) {
            SCHEDULE_CHECK(scene.barrier.is_broken());
            SCHEDULE_CHECK(dead >> word_test::fiber_of(culprit) & 1, "one that lives was blamed");
        }
        if (scene.barrier.is_broken()) SCHEDULE_CHECK(dead != 0, "broken, though nobody died");
        if (scene.barrier.is_broken() && !gave_up) SCHEDULE_CHECK(culprit != kNobody, "broken by nobody");
        if (dead == 0) scene.conclude();
        if (run.deaths() != 1) return;
        // The one that died while it waited: the others were in its round, or came to it, and have heard its name.
        for (const Round& round : scene.rounds)
            if (round.broken != 0 && (inside & dead & round.fibers) != 0 && round.passed == 0)
                SCHEDULE_CHECK(culprit == token_of(static_cast<std::uint32_t>(__builtin_ctz(dead))), "its name was not told");
    };
}

}  // namespace

TEST(all_are_released_when_the_last_has_come_and_not_before) {
    schedule::check("barrier, 2 parties", dfs(check::scale(3u, 4u)).no_timeouts(), passers(2, 2, 1));
    schedule::check("barrier, 2 parties, 2 rounds", dfs(2).no_timeouts(), passers(2, 2, 2));
    schedule::check("barrier, 3 parties", dfs(2).no_timeouts(), passers(3, 3, 1));
    schedule::check("barrier, 3 parties, 2 rounds", dfs(check::scale(0u, 1u)).no_timeouts(), passers(3, 3, 2));
    schedule::check("barrier, any sleeper is woken", dfs(1).no_timeouts().waking_in_any_order(), passers(3, 3, 1));
}

TEST(more_fibers_than_parties_make_rounds_of_their_own) {
    schedule::check("barrier of 2, 4 fibers", dfs(1).no_timeouts(), passers(2, 4, 1));
    schedule::check("barrier of 1, 2 fibers", dfs(2).no_timeouts(), passers(1, 2, 2));
}

TEST(an_abort_breaks_the_round_that_is_on_and_all_later_ones) {
    const auto body = [](std::uint32_t parties, unsigned times) {
        return [=](Execution& run) {
            Scene scene(run, parties);
            for (std::uint32_t i = 0; i < parties; ++i)
                run.fiber("party", [&] {
                    for (unsigned n = 0; n < times; ++n)
                        if (scene.pass() != Result::done) return;
                });
            run.fiber("aborts", [&] {
                scene.abort();
                SCHEDULE_CHECK(scene.barrier.is_broken() && scene.barrier.waiting() == 0);
            });
            run.run();
            scene.conclude();
            std::uint32_t passed = 0;
            for (const Round& round : scene.rounds) passed += round.passed;
            SCHEDULE_CHECK(scene.barrier.is_broken() && passed % parties == 0);
        };
    };
    schedule::check("barrier, 2 parties, an abort", dfs(check::scale(2u, 3u)).no_timeouts(), body(2, 1));
    schedule::check("barrier, 2 parties, 2 rounds, an abort", dfs(2).no_timeouts(), body(2, 2));
    schedule::check("barrier, 3 parties, an abort", dfs(1).no_timeouts(), body(3, 1));
}

TEST(a_reset_breaks_the_round_that_is_on_and_no_other) {
    const auto body = [](std::uint32_t parties, unsigned resets, bool aborts) {
        return [=](Execution& run) {
            Scene scene(run, parties);
            for (std::uint32_t i = 0; i < parties; ++i)
                run.fiber("party", [&] {  // until it has passed: after a reset the barrier is as new
                    while (scene.pass() != Result::done) Model::pause();
                });
            run.fiber("resets", [&] {
                if (aborts) scene.abort();
                for (unsigned n = 0; n < resets; ++n) scene.reset();
            });
            run.run();
            scene.conclude();
            SCHEDULE_CHECK(!scene.barrier.is_broken());
            std::uint32_t passed = 0, broken = 0;
            for (const Round& round : scene.rounds) {
                passed += round.passed != 0;
                broken += round.broken != 0;
            }
            SCHEDULE_CHECK(passed == 1 && broken <= resets);
        };
    };
    schedule::check("barrier, 2 parties, a reset", dfs(2).no_timeouts(), body(2, 1, false));
    schedule::check("barrier, 2 parties, 2 resets", dfs(1).no_timeouts(), body(2, 2, false));
    schedule::check("barrier, 2 parties, an abort, a reset", dfs(check::scale(1u, 2u)).no_timeouts(), body(2, 1, true));
    schedule::check("barrier, 3 parties, a reset", dfs(check::scale(0u, 1u)).no_timeouts(), body(3, 1, false));
}

TEST(a_party_out_of_time_breaks_its_own_round_or_has_passed_it) {
    const auto body = [](std::uint32_t parties, unsigned times) {
        return [=](Execution& run) {
            Scene scene(run, parties);
            for (std::uint32_t i = 0; i < parties; ++i)
                run.fiber("party", [&] {
                    for (unsigned n = 0; n < times; ++n)
                        if (scene.pass(0) != Result::done) return;
                });
            run.run();
            scene.conclude();
            std::uint32_t broken = 0;
            for (const Round& round : scene.rounds) broken += round.broken != 0;
            SCHEDULE_CHECK(broken <= 1);
            // A round that nobody was in when it was given up is one that had passed.
            SCHEDULE_CHECK(scene.barrier.is_broken() == (broken == 1), "another round was broken");
        };
    };
    schedule::check("barrier, 2 parties, out of time", dfs(2).no_timeouts().with_spurious(1), body(2, 2));
    schedule::check("barrier, 3 parties, out of time", dfs(1).no_timeouts().with_spurious(1), body(3, 1));
    schedule::check("barrier, 2 parties, 2 out of time", dfs(1).no_timeouts().with_spurious(2), body(2, 2));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("barrier, 1 disturbance", dfs(1).no_timeouts().with_spurious(1), passers(3, 3, 1));
    schedule::check("barrier, 2 rounds, 1 disturbance", dfs(1).no_timeouts().with_spurious(1), passers(2, 2, 2));
}

TEST(a_death_at_any_step_breaks_the_round_for_all_and_names_the_dead) {
    schedule::check("barrier, 2 parties, 1 dies", dfs(check::scale(2u, 3u), 1), parties_that_die(2, 1, 1));
    schedule::check("barrier, 2 parties, 2 rounds, 1 dies", dfs(2, 1), parties_that_die(2, 1, 2));
    schedule::check("barrier, 3 parties, 1 dies", dfs(check::scale(1u, 2u), 1), parties_that_die(3, 1, 1));
    schedule::check("barrier, 3 parties, 2 die", dfs(check::scale(0u, 1u), 2), parties_that_die(3, 2, 1));
    schedule::check("barrier, 3 parties, 2 rounds, 1 dies", dfs(check::scale(0u, 1u), 1), parties_that_die(3, 1, 2));
}

TEST(a_death_of_the_last_party_before_or_after_it_trips_is_one_of_the_two) {
    schedule::check("barrier, the last party dies", dfs(2, 1), [](Execution& run) {
        Scene scene(run, 2);
        bool arrived = false, tripped = false;
        std::uint32_t phase = 0;
        Result result = Result::blocked;
        Model::Atom<std::uint32_t> first{};
        run.fiber("waits", [&] {
            std::uint32_t index = 0;
            SCHEDULE_CHECK(scene.arrive(phase, index) == Result::done && index == 0);
            first.store(1);
            Model::wake(&first, 1);
            result = scene.note(phase, scene.wait(phase, 1));
        });
        const auto last = run.killable_fiber("last", [&] {
            while (first.load() == 0) Model::wait(&first, 0);
            std::uint32_t index = 0;
            if (scene.arrive(phase, index) != Result::done) return;
            arrived = true;
            SCHEDULE_CHECK(scene.last(index));
            Model::yield_point("the action");
            tripped = scene.trip(phase) == Result::done;
        });
        run.run();
        if (!run.died(last)) return SCHEDULE_CHECK(result == Result::done || !tripped);
        SCHEDULE_CHECK(result == Result::done || result == Result::broken);
        if (tripped) SCHEDULE_CHECK(result == Result::done, "its death undid the round");
        if (result == Result::broken && arrived) SCHEDULE_CHECK(scene.barrier.culprit() == token_of(last));
        SCHEDULE_CHECK(scene.barrier.is_broken() == (result == Result::broken));
    });
}

TEST(a_death_in_abort_or_reset_leaves_each_round_with_one_end) {
    const auto body = [](bool aborts) {
        return [=](Execution& run) {
            Scene scene(run, 2);
            for (int i = 0; i < 2; ++i)
                run.fiber("party", [&] {
                    for (int n = 0; n < 2 && scene.pass(1) != Result::done; ++n) {
                    }
                });
            run.killable_fiber("victim", [&] {
                if (aborts) scene.abort();
                scene.reset();
            });
            run.run();
            scene.conclude();
        };
    };
    schedule::check("barrier, dies in reset", dfs(check::scale(1u, 2u), 1), body(false));
    schedule::check("barrier, dies in abort and reset", dfs(1, 1), body(true));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 200000);
    schedule::check("barrier, random", schedule::random(1, executions).no_timeouts(), passers(3, 3, 4));
    schedule::check("barrier, pct", schedule::pct(1, executions, 4).no_timeouts(), passers(3, 3, 4));
    schedule::check("barrier, random, 4 fibers", schedule::random(2, executions).no_timeouts(), passers(2, 4, 1));
    schedule::check("barrier, random deaths", schedule::random(1, executions, 2), parties_that_die(4, 3, 3));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
