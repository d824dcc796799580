// The condition's waiters under systematic schedules: first come, first released; cancelled or released, never both nor
// neither; the dead are passed over, and a death at any step leaves the others working.
#include <algorithm>
#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/condition.hpp"
#include "treadle/word/mutex.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;
using word_test::Caller;
using word_test::insist_past_sections;
using word_test::Model;
using word_test::park;
using word_test::Result;
using word_test::Token;
using word_test::token_of;
using word_test::Wait;

using Condition = treadle::word::Condition<Model>;
using Mutex = treadle::word::Mutex<Model>;

namespace {

constexpr std::uint32_t kEverybody = 99;

struct Call {
    enum Kind { enlist, wait, cancel, notify } kind;
    std::uint32_t number = 0;  // of the waiting (each enlistment is one); notify: how many

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"enlist", "wait", "cancel", "notify"};
        return out << names[call.kind] << ' ' << call.number;
    }
};

/// The reply: whether it was released, or how many were.
using Calls = History<Call, std::uint32_t>;

/// The waiters in order of arrival, while there is room in the table (and nobody dies).
struct Line {
    std::vector<std::uint32_t> waiting{};
    std::uint64_t released = 0;  // bit set of waitings

    bool apply(const Operation<Call, std::uint32_t>& op) {
        const std::uint32_t number = op.call.number;
        std::uint32_t reply = 1;
        switch (op.call.kind) {
            case Call::enlist: waiting.push_back(number); break;
            case Call::wait:
                if ((released >> number & 1) == 0) return false;  // it has to wait
                break;
            case Call::cancel:
                reply = released >> number & 1;
                std::erase(waiting, number);
                break;
            case Call::notify:
                reply = std::min(number, static_cast<std::uint32_t>(waiting.size()));
                for (std::uint32_t i = 0; i < reply; ++i) released |= 1ull << waiting[i];
                waiting.erase(waiting.begin(), waiting.begin() + reply);
                break;
        }
        return !op.reply || *op.reply == reply;
    }
    friend bool operator==(const Line&, const Line&) = default;
};

struct Scene {
    static constexpr std::uint32_t kMost = 64;

    Execution& run;
    Condition condition{};
    Token tables[2 * kMost + 8]{};         // one behind the other, none used again
    std::size_t tables_used = 0;
    Calls calls{run};
    std::uint32_t waitings = 0;
    std::uint32_t released = 0;            // as those who waited say, and
    std::uint32_t gave_up = 0;
    std::uint32_t notified = 0;            // as those who notified say
    Model::Atom<std::uint32_t> enlisted{};

    const bool recorded;                   // the calls, to be explained by a Line: that costs many more schedules

    explicit Scene(Execution& execution, std::uint32_t capacity = 8, bool records = false) : run(execution), recorded(records) {
        condition.initialise(new_table(capacity), capacity);
        run.label(condition, "condition");
        run.label(enlisted, "enlisted");
    }

    Token* new_table(std::uint32_t capacity) {
        Token* const table = tables + tables_used;
        tables_used += Condition::table_words(capacity);
        SCHEDULE_CHECK(tables_used <= std::size(tables), "the table grows without end");
        return table;
    }

    template <class Body>
    std::uint32_t record(Call call, Body body) {
        return recorded ? calls.record(call, body) : body();
    }

    struct Place {
        std::uint32_t number;
        std::uint32_t ticket;
    };

    Place enlist(Token token = token_of(Model::self())) {
        Place place{waitings++, 0};
        record({Call::enlist, place.number}, [&] {
            Caller who{token};
            for (;;) {
                const Result result =
                    insist_past_sections(who, [&](Wait& wait) { return condition.attempt_enlist(who, place.ticket, wait); });
                if (result == Result::done) return 1u;
                SCHEDULE_CHECK(result == Result::no_room, result);
                grow(who);
            }
        });
        return place;
    }
    void grow(Caller& who) {
        const std::uint32_t capacity = condition.capacity() * 2;
        Token* const larger = new_table(capacity);
        Token* old = nullptr;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return condition.attempt_grow(who, larger, capacity, old, wait); });
        SCHEDULE_CHECK(result == Result::done ? old != nullptr && old != larger : result == Result::overflow && old == nullptr);
        // It belongs to the caller now: nobody looks into it any more.
        if (result == Result::done) std::fill(old + 1, old + 1 + old[0], ~Token{0});
    }
    void wait(Place place) {
        record({Call::wait, place.number}, [&] {
            Caller who;
            insist_past_sections(who, [&](Wait& wait) { return condition.attempt_wait(place.ticket, wait); });
            ++released;
            return 1u;
        });
    }
    /// True if it had been released.
    bool cancel(Place place) {
        return record({Call::cancel, place.number}, [&] {
            Caller who;
            const Result result =
                insist_past_sections(who, [&](Wait& wait) { return condition.attempt_cancel(who, place.ticket, wait); });
            SCHEDULE_CHECK(result == Result::done || result == Result::gone, result);
            ++(result == Result::gone ? released : gave_up);
            return std::uint32_t{result == Result::gone};
        }) != 0;
    }
    /// As a timed wait does: gives up once its wait has run out.
    void timed_wait(Place place) {
        for (Wait wait;;) {
            if (condition.attempt_wait(place.ticket, wait) == Result::done) return this->wait(place);
            if (Model::wait(wait.word, wait.expected, 0, wait.bits) == Model::Outcome::timeout) return void(cancel(place));
        }
    }
    std::uint32_t notify(std::uint32_t count) {
        return record({Call::notify, count}, [&] {
            Caller who;
            std::uint32_t number = 0;
            insist_past_sections(who, [&](Wait& wait) { return condition.attempt_notify(who, count, number, wait); });
            notified += number;
            return number;
        });
    }

    void announce() {
        enlisted.fetch_add(1);
        Model::wake(&enlisted, treadle::word::kWakeAll);
    }
    std::uint32_t await_enlisted(std::uint32_t count) {
        for (;;) {
            const std::uint32_t now = enlisted.load();
            if (now >= count) return now;
            Model::wait(&enlisted, now);
        }
    }

    /// After run(), where nobody died.
    void conclude() {
        SCHEDULE_CHECK(released == notified, released, " learnt of a release, ", notified, " were released");
        SCHEDULE_CHECK(released + gave_up == waitings);
        SCHEDULE_CHECK(condition.waiting() == 0);
        if (!recorded) return;
        const auto verdict = schedule::linearizable(calls, Line{});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: w enlist and wait, c enlist and cancel, t enlist and wait for some time, 1 and 2 notify
/// so many, * notify all who wait, f notify all whenever somebody has enlisted for `w` or `t`, until all of these have.
void act(Scene& scene, const std::string& script, std::uint32_t waits) {
    for (const char letter : script) {
        switch (letter) {
            case 'w':
            case 't': {
                const Scene::Place place = scene.enlist();
                scene.announce();
                letter == 'w' ? scene.wait(place) : scene.timed_wait(place);
                break;
            }
            case 'c': scene.cancel(scene.enlist()); break;
            case '1': scene.notify(1); break;
            case '2': scene.notify(2); break;
            case '*': scene.notify(kEverybody); break;
            case 'f':
                for (std::uint32_t seen = 0; seen < waits; scene.notify(kEverybody)) seen = scene.await_enlisted(seen + 1);
                break;
        }
    }
}

auto scripts(std::vector<std::string> all, std::uint32_t capacity = 8, bool recorded = false) {
    return [=](Execution& run) {
        Scene scene(run, capacity, recorded);
        std::uint32_t waits = 0;
        for (const std::string& script : all) waits += std::ranges::count_if(script, [](char c) { return c == 'w' || c == 't'; });
        for (const std::string& script : all) run.fiber(script, [&] { act(scene, script, waits); });
        run.run();
        scene.conclude();
    };
}

/// `count` fibers, of whom the first `mortal` may be killed, are in line already, in this order; then they wait.
struct Waiters {
    Scene& scene;
    std::vector<Scene::Place> places{};
    std::vector<unsigned> woken{};  // by number

    Waiters(Scene& of, std::uint32_t count, std::uint32_t mortal) : scene(of), woken(count) {
        for (std::uint32_t i = 0; i < count; ++i) places.push_back(scene.enlist(token_of(i)));
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto body = [this, i] {
                scene.wait(places[i]);
                woken[i] = 1;
            };
            i < mortal ? scene.run.killable_fiber("waiter", body) : scene.run.fiber("waiter", body);
        }
    }
};

}  // namespace

TEST(a_notify_releases_as_many_as_it_says_in_order_of_arrival) {
    schedule::check("condition, 2 waiters, in order", dfs(2).no_timeouts(), scripts({"w", "w", "1f"}, 8, true));
    schedule::check("condition, 2 waiters, 2 notifiers", dfs(1).no_timeouts(), scripts({"w", "w", "1", "f"}, 8, true));
    schedule::check("condition, 3 waiters, notify 2", dfs(check::scale(0u, 1u)).no_timeouts(), scripts({"w", "w", "w", "2f"}));
    schedule::check("condition, 2 waiters twice", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"ww", "w", "1f"}));
    schedule::check("condition, 3 in line, notify 1 by 2", dfs(1).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        Waiters waiters(scene, 3, 0);
        bool both = false;
        for (int i = 0; i < 2; ++i)
            run.fiber("notifier", [&] {
                SCHEDULE_CHECK(scene.notify(1) == 1);
                if (scene.notified < 2) return;
                SCHEDULE_CHECK(!both && waiters.woken[2] == 0, "a third was released");
                both = true;
                SCHEDULE_CHECK(scene.notify(2) == 1, "the first two were not released");
            });
        run.run();
        SCHEDULE_CHECK(both);
        scene.conclude();
    });
}

TEST(who_gives_up_is_released_or_not_and_learns_which) {
    schedule::check("condition, cancels and notify", dfs(check::scale(2u, 3u)).no_timeouts(), scripts({"c", "c", "1"}, 8, true));
    schedule::check("condition, cancels twice, notifiers", dfs(1).no_timeouts(), scripts({"cc", "c", "1", "2"}, 8, true));
    schedule::check("condition, a waiter among cancels", dfs(2).no_timeouts(), scripts({"c", "w", "1f"}));
    schedule::check("condition, waits that run out", dfs(1).no_timeouts().with_spurious(1), scripts({"t", "t", "1f"}));
    schedule::check("condition, waits that run out, a waiter", dfs(1).no_timeouts().with_spurious(check::scale(1u, 2u)), scripts({"t", "w", "1f"}));
}

TEST(a_place_that_was_given_up_is_used_again) {
    // The table is full of holes at times; then a newcomer may get an earlier place than it is due.
    schedule::check("condition, a table of 1", dfs(2).no_timeouts(), scripts({"c", "w", "f"}, 1));
    schedule::check("condition, a table of 2, cancels", dfs(1).no_timeouts(), scripts({"cc", "c", "1w", "f"}, 2));
}

TEST(the_table_grows_while_others_wait) {
    schedule::check("condition, growth from 1", dfs(2).no_timeouts(), scripts({"w", "w", "f"}, 1));
    schedule::check("condition, growth from 1, 3 waiters", dfs(check::scale(0u, 1u)).no_timeouts(), scripts({"w", "w", "w", "1f"}, 1));
    schedule::check("condition, growth and cancels", dfs(2).no_timeouts(), scripts({"w", "c", "1f"}, 1));
}

TEST(who_waits_under_the_lock_misses_no_notification) {
    schedule::check("condition, a lock, 2 consumers", dfs(2).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        Mutex lock{};
        unsigned items = 0;
        run.label(lock, "lock");
        const auto acquire = [&] {
            Caller who;
            word_test::insist(who, [&](Wait& wait) { return lock.attempt_acquire(who, wait); });
        };
        for (int i = 0; i < 2; ++i)
            run.fiber("consumer", [&] {
                acquire();
                while (items == 0) {
                    const Scene::Place place = scene.enlist();
                    lock.release();
                    scene.wait(place);
                    acquire();
                }
                --items;
                lock.release();
            });
        run.fiber("producer", [&] {
            for (int i = 0; i < 2; ++i) {
                acquire();
                ++items;
                scene.notify(1);
                lock.release();
            }
        });
        run.run();
        SCHEDULE_CHECK(items == 0);
        scene.conclude();
    });
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("condition, 1 disturbance", dfs(1).no_timeouts().with_spurious(1), scripts({"w", "w", "1f"}));
    schedule::check("condition, cancels, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts({"c", "c", "1"}));
    schedule::check("condition, any sleeper is woken", dfs(1).no_timeouts().waking_in_any_order(), scripts({"w", "w", "1f"}));
}

TEST(the_dead_are_passed_over) {
    const auto body = [](std::uint32_t mortal) {
        return [=](Execution& run) {
            Scene scene(run);
            Waiters waiters(scene, 3, mortal);
            std::uint32_t dead_before = 0;
            run.fiber("notifier", [&] {
                for (std::uint32_t i = 0; i < mortal; ++i) dead_before += !Model::alive(i);
                SCHEDULE_CHECK(scene.notify(1) == 1, "the last waiter lives");
                const std::uint32_t more = scene.notify(kEverybody);
                SCHEDULE_CHECK(more <= 2 - dead_before, "one that was dead has been counted");
                SCHEDULE_CHECK(scene.notify(1) == 0);
            });
            run.run();
            for (std::uint32_t i = 0; i < 3; ++i) SCHEDULE_CHECK(run.died(i) || waiters.woken[i] != 0);
            SCHEDULE_CHECK(scene.notified + run.deaths() >= 3, "one that lives was passed over");
            SCHEDULE_CHECK(scene.notified >= scene.released && scene.condition.waiting() == 0);
        };
    };
    schedule::check("condition, waiters die", dfs(2, 1), body(1));
    schedule::check("condition, 2 waiters die", dfs(1, 2), body(2));
    // Those before it in line being dead, it is the next notify's.
    schedule::check("condition, the first is dead", dfs(2, 1), [](Execution& run) {
        Scene scene(run);
        Waiters waiters(scene, 2, 1);
        run.fiber("notifier", [&] {
            while (Model::alive(0) && waiters.woken[0] == 0) {
                if (scene.notify(1) == 0) Model::pause();
                else if (scene.notified == 2) return;
            }
            if (scene.notified == 0) SCHEDULE_CHECK(scene.notify(1) == 1, "a notification for the dead");
            scene.notify(kEverybody);
        });
        run.run();
        SCHEDULE_CHECK(waiters.woken[1] != 0);
    });
}

TEST(a_death_at_any_step_leaves_the_others_working) {
    const auto a_victim = [](const std::string& deed, const std::string& other, std::uint32_t capacity = 8) {
        return [=](Execution& run) {
            Scene scene(run, capacity);
            Waiters waiters(scene, 1, 0);
            const auto victim = run.killable_fiber("victim", [&] { act(scene, deed, 0); });
            run.fiber(other, [&] { act(scene, other, 0); });
            run.run();
            // What the victim did not live to say: that it was released, or whom it released.
            const bool told = !run.died(victim);
            const bool notifies = deed[0] != 'c';
            SCHEDULE_CHECK(scene.released == scene.notified || !told);
            SCHEDULE_CHECK(notifies ? scene.notified <= scene.released : scene.released <= scene.notified);
            SCHEDULE_CHECK(notifies || scene.notified <= scene.released + 1);
            std::uint32_t left = 0;
            run.fiber("last", [&] { left = scene.notify(kEverybody); });
            run.run();
            SCHEDULE_CHECK(left == 0 && scene.condition.waiting() == 0, "one that lives was left in line");
        };
    };
    const unsigned most = check::scale(2u, 3u);
    schedule::check("condition, dies in enlist and cancel", dfs(most, 1), a_victim("c", "1*"));
    schedule::check("condition, dies in cancel beside one", dfs(2, 1), a_victim("c", "c*"));
    schedule::check("condition, dies in notify", dfs(most, 1), a_victim("1", "*"));
    schedule::check("condition, dies in notify all beside a cancel", dfs(2, 1), a_victim("*", "c1"));
    schedule::check("condition, dies while the table grows", dfs(check::scale(1u, 2u), 1), a_victim("c", "c*", 1));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 200000);
    const auto body = scripts({"wcw", "ccw", "1w1", "c2c", "*1f"});
    schedule::check("condition, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("condition, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
    schedule::check("condition, random growth", schedule::random(2, executions).no_timeouts(),
                    scripts({"wcw", "ccw", "1w1", "c2c", "*1f"}, 1));
    schedule::check("condition, random timed waits", schedule::random(3, executions).no_timeouts().with_spurious(4),
                    scripts({"tct", "ctw", "1t1", "c2t", "*1f"}, 2));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
