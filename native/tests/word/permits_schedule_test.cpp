// The semaphore that knows its holders under systematic schedules: never more holders than permits among the living, what
// the dead held comes back exactly once and names them to exactly one, nobody sleeps beside a free permit.
#include <cstddef>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/permits.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using treadle::word::kNobody;
using treadle::word::PermitCell;
using word_test::Caller;
using word_test::fiber_of;
using word_test::insist_past_sections;
using word_test::Model;
using word_test::park;
using word_test::Result;
using word_test::Token;
using word_test::token_of;
using word_test::Wait;

using Permits = treadle::word::Permits<Model>;

namespace {

struct Scene {
    static constexpr std::uint32_t kMostFibers = 8;

    Execution& run;
    Permits permits{};
    PermitCell tables[80]{};               // one behind the other, none used again
    std::size_t tables_used = 0;
    std::uint32_t holding[kMostFibers]{};  // as the fibers themselves know it
    std::uint32_t named[kMostFibers]{};    // how often the death of that fiber was told
    const std::uint32_t total;             // as long as nobody releases more than was acquired

    Scene(Execution& execution, std::uint32_t count, std::uint32_t capacity = 4, std::uint32_t bound = Permits::kMax)
        : run(execution), total(count) {
        permits.initialise(count, bound, new_table(capacity), capacity);
        run.label(permits, "permits");
    }

    PermitCell* new_table(std::uint32_t capacity) {
        PermitCell* const table = tables + tables_used;
        tables_used += Permits::table_cells(capacity);
        SCHEDULE_CHECK(tables_used <= std::size(tables), "the table grows without end");
        return table;
    }
    void grow(Caller& who) {
        const std::uint32_t capacity = permits.capacity() * 2;
        PermitCell* const larger = new_table(capacity);
        PermitCell* old = nullptr;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return permits.attempt_grow(who, larger, capacity, old, wait); });
        SCHEDULE_CHECK(result == Result::done ? old != nullptr && old != larger : result == Result::overflow && old == nullptr);
        if (result != Result::done) return;
        // It belongs to the caller now: nobody counts what is in it any more.
        const auto cells = static_cast<std::uint32_t>(old[0].holder);
        for (std::uint32_t i = 1; i <= cells; ++i) old[i] = {~Token{0}, 1000, 0};
    }

    void tell(Token dead) {
        if (dead == kNobody) return;
        SCHEDULE_CHECK(run.died(fiber_of(dead)), "one that lives was taken for dead");
        SCHEDULE_CHECK(++named[fiber_of(dead)] == 1, "a death was told twice");
    }
    /// Before the fibers run: books a permit to a fiber that is to come.
    void book(std::uint32_t fiber) { acquire(token_of(fiber)); }

    void acquire(Token home = token_of(Model::self())) {
        Caller who{home};
        for (;;) {
            Result result;
            for (Wait wait;; park(who, wait)) {
                Token dead;
                result = permits.attempt_acquire(who, home, dead, wait);
                tell(dead);
                if (result != Result::blocked && result != Result::empty) break;
            }
            if (result == Result::done) break;
            SCHEDULE_CHECK(result == Result::no_room, result);
            grow(who);
        }
        ++holding[fiber_of(home)];
        std::uint32_t held = 0;
        for (std::uint32_t fiber = 0; fiber < kMostFibers; ++fiber)
            if (holding[fiber] != 0 && !run.died(fiber)) held += holding[fiber];
        SCHEDULE_CHECK(held <= total, held, " permits are held, of ", total);
    }
    /// One's own, or on behalf of `fiber`.
    void release(std::uint32_t fiber = Model::self(), std::uint32_t count = 1) {
        holding[fiber] -= count;
        SCHEDULE_CHECK(attempt_release(count) == Result::done);
    }
    Result attempt_release(std::uint32_t count) {
        Caller who;
        return insist_past_sections(who, [&](Wait& wait) { return permits.attempt_release(who, who.token, count, wait); });
    }

    std::uint32_t booked() {
        std::uint32_t held = 0;
        const PermitCell* const table = permits.table();
        for (std::uint32_t i = 1; i <= table[0].holder; ++i) held += table[i].count;
        return held;
    }

    /// After run(): one that comes last gets all that the living do not hold, each permit once, and learns of whoever died
    /// holding one and was not named before.
    void conclude() {
        std::uint32_t held = 0;
        const std::uint32_t fibers = run.fiber("last", [] {});
        for (std::uint32_t fiber = 0; fiber < fibers; ++fiber)
            if (!run.died(fiber)) held += holding[fiber];
        const std::uint32_t last = run.fiber("drains", [&] {
            Caller who{token_of(Model::self()), true};
            for (Wait wait;; Model::pause()) {
                Token dead;
                const Result result = permits.attempt_acquire(who, who.token, dead, wait);
                tell(dead);
                if (result == Result::empty) break;
                if (result == Result::no_room) grow(who);
                if (result == Result::done) ++holding[fiber_of(who.token)];
            }
        });
        run.run();
        SCHEDULE_CHECK(holding[last] + held == total, holding[last], " were left and ", held, " are held, of ", total);
        SCHEDULE_CHECK(permits.value() == 0 && booked() == total);
        // Between the step that books a permit and the fiber's own note of it there is the rest of the section.
        for (std::uint32_t fiber = 0; fiber < fibers; ++fiber)
            if (run.died(fiber) && holding[fiber] != 0) SCHEDULE_CHECK(named[fiber] == 1, "a death was not told");
    }
};

/// What one fiber does, as letters: a acquire, r release, R release two.
void act(Scene& scene, const std::string& script) {
    for (const char letter : script) {
        switch (letter) {
            case 'a': scene.acquire(); break;
            case 'r': scene.release(); break;
            case 'R': scene.release(Model::self(), 2); break;
        }
    }
}

/// Fibers with these scripts. `!` in front: it may be killed. A digit: so many permits are booked to it at the start.
auto scripts(std::uint32_t permits, std::vector<std::string> all, std::uint32_t capacity = 4) {
    return [=](Execution& run) {
        Scene scene(run, permits, capacity);
        for (const std::string& script : all) {
            const auto body = [&] { act(scene, script); };
            const std::uint32_t id = script[0] == '!' ? run.killable_fiber(script, body) : run.fiber(script, body);
            const std::size_t digit = script.find_first_of("123");
            if (digit == std::string::npos) continue;
            for (char booked = '0'; booked < script[digit]; ++booked) scene.book(id);
        }
        run.run();
        scene.conclude();
    };
}

}  // namespace

TEST(it_never_gives_out_more_than_there_are_and_forgets_no_sleeper) {
    schedule::check("permits, 2 fibers on 1 permit", dfs(check::scale(2u, 3u)).no_timeouts(), scripts(1, {"ar", "ar"}));
    schedule::check("permits, 3 fibers on 1 permit", dfs(check::scale(1u, 2u)).no_timeouts(), scripts(1, {"ar", "ar", "ar"}));
    schedule::check("permits, 3 fibers on 2 permits", dfs(check::scale(1u, 2u)).no_timeouts(), scripts(2, {"ar", "ar", "ar"}));
    schedule::check("permits, 2 fibers, 2 rounds", dfs(2).no_timeouts(), scripts(1, {"arar", "ar"}));
}

TEST(releases_wake_as_many_as_they_give) {
    schedule::check("permits, 2 sleepers, 2 releases in a row", dfs(2).no_timeouts(), scripts(2, {"a", "a", "2rr"}));
    schedule::check("permits, 2 sleepers, release of 2", dfs(2).no_timeouts(), scripts(2, {"a", "a", "2R"}));
    schedule::check("permits, 2 sleepers, 2 releasers", dfs(1).no_timeouts(), scripts(2, {"a", "a", "1r", "1r"}));
    schedule::check("permits, any sleeper is woken", dfs(check::scale(0u, 1u)).no_timeouts().waking_in_any_order(),
                    scripts(3, {"a", "a", "a", "3rR"}));
}

TEST(a_release_may_be_on_behalf_of_others) {
    schedule::check("permits, released by another", dfs(2).no_timeouts(), [](Execution& run) {
        Scene scene(run, 2);
        run.fiber("sleeper", [&] { scene.acquire(); });
        const auto holder = run.fiber("holder", [&] { scene.release(); });
        run.fiber("other", [&] { scene.release(holder); });
        for (int i = 0; i < 2; ++i) scene.book(holder);
        run.run();
        scene.conclude();
    });
}

TEST(a_bound_holds_against_racing_releases) {
    schedule::check("permits, racing releases, bound 2", dfs(2).no_timeouts(), [](Execution& run) {
        Scene scene(run, 1, 4, 2);
        std::uint32_t done = 0;
        for (const std::uint32_t count : {1u, 1u, 2u})
            run.fiber("releaser", [&, count] {
                const Result result = scene.attempt_release(count);
                SCHEDULE_CHECK(result == Result::done || result == Result::overflow, result);
                if (result == Result::done) done += count;
            });
        run.run();
        SCHEDULE_CHECK(done == 1 && scene.permits.value() == 2);
    });
}

TEST(the_table_grows_under_racing_holders) {
    schedule::check("permits, growth from 1", dfs(2).no_timeouts(), scripts(2, {"a", "ar"}, 1));
    schedule::check("permits, growth from 1, 3 holders", dfs(1).no_timeouts(), scripts(3, {"a", "a", "ar"}, 1));
    // Who was woken and finds the table full must not take the others' wake-ups with it.
    schedule::check("permits, growth by a sleeper", dfs(check::scale(1u, 2u)).no_timeouts(), scripts(3, {"a", "a", "2rr", "1"}, 2));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("permits, 1 disturbance", dfs(1).no_timeouts().with_spurious(1), scripts(2, {"a", "a", "2rr"}));
    schedule::check("permits, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts(1, {"ar", "ar"}));
}

TEST(who_gives_up_takes_no_wakeup_with_it) {
    schedule::check("permits, one gives up", dfs(check::scale(1u, 2u)).no_timeouts().with_spurious(1), [](Execution& run) {
        Scene scene(run, 1);
        run.fiber("gives up", [&] {
            Caller who;
            Token dead;
            for (Wait wait;;) {
                const bool ran_out = who.look;
                const Result result = scene.permits.attempt_acquire(who, who.token, dead, wait);
                if (result == Result::done) break;
                if (ran_out && result == Result::empty) return;  // that was the last attempt
                const bool section = result == Result::blocked;
                park(who, wait);
                if (section) who.look = ran_out;
            }
            ++scene.holding[Model::self()];
            scene.release();
        });
        run.fiber("patient", [&] { act(scene, "ar"); });
        scene.book(run.fiber("holder", [&] { act(scene, "r"); }));
        run.run();
        scene.conclude();
    });
}

TEST(what_the_dead_held_comes_back_once_and_names_them_once) {
    const unsigned most = check::scale(2u, 3u);
    schedule::check("permits, one of 2 visitors dies", dfs(most, 1), scripts(1, {"!ar", "ar"}));
    schedule::check("permits, a holder dies, 2 sleepers", dfs(check::scale(1u, 2u), 1), scripts(1, {"!1r", "ar", "ar"}));
    schedule::check("permits, a holder of 2 dies, 2 sleepers", dfs(check::scale(1u, 2u), 1), scripts(2, {"!2R", "a", "a"}));
    schedule::check("permits, all may die, 1 death", dfs(1, 1), scripts(2, {"!ar", "!ar", "!ar"}));
    schedule::check("permits, all may die, 2 deaths", dfs(check::scale(0u, 1u), 2), scripts(2, {"!1r", "!1r", "!ar"}));
}

TEST(a_death_while_one_releases_for_others_leaves_the_books_in_order) {
    schedule::check("permits, the releaser dies", dfs(2, 1), [](Execution& run) {
        Scene scene(run, 3);
        // It has one of its own, the others are the holder's, which does nothing with them.
        const auto holder = run.fiber("holder", [] {});
        const auto victim = run.killable_fiber("victim", [&] { scene.attempt_release(3); });
        for (int i = 0; i < 2; ++i) scene.book(holder);
        scene.book(victim);
        scene.holding[holder] = scene.holding[victim] = 0;
        run.fiber("visitor", [&] { act(scene, "ar"); });
        run.run();
        if (scene.permits.value() < 3) SCHEDULE_CHECK(run.died(victim), "a release was lost");
        run.fiber("last", [&] {
            Caller who{token_of(Model::self()), true};
            for (Wait wait;;) {
                Token dead;
                const Result result = scene.permits.attempt_acquire(who, who.token, dead, wait);
                if (result == Result::empty) break;
                SCHEDULE_CHECK(result == Result::done || result == Result::blocked, result);
            }
        });
        run.run();
        SCHEDULE_CHECK(scene.booked() == 3 && scene.permits.value() == 0, "the books are not in order");
    });
}

TEST(a_death_while_the_table_grows_loses_nothing) {
    schedule::check("permits, one dies in growth", dfs(2, 1), scripts(2, {"!a", "a"}, 1));
    schedule::check("permits, one of 3 dies in growth", dfs(1, 1), scripts(3, {"!a", "!a", "a"}, 1));
    schedule::check("permits, 2 of 3 die in growth", dfs(check::scale(0u, 1u), 2), scripts(3, {"!a", "!a", "a"}, 1));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 200000);
    schedule::check("permits, random", schedule::random(1, executions).no_timeouts(), scripts(2, {"arar", "ar", "ar", "arar"}, 2));
    schedule::check("permits, pct", schedule::pct(1, executions, 4).no_timeouts(), scripts(2, {"arar", "ar", "ar", "arar"}, 2));
    schedule::check("permits, random deaths", schedule::random(1, executions, 3),
                    scripts(2, {"!arar", "!ar", "!arar", "ar", "!ar"}, 1));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
