// The readers-writer lock under systematic schedules: it excludes, admits in phases, forgets no sleeper, and survives the
// death of readers, writers and waiters at every step.
#include <cstddef>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/rwlock.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using treadle::word::kNobody;
using treadle::word::OnDeath;
using treadle::word::ReaderCell;
using treadle::word::ReadTicket;
using word_test::Caller;
using word_test::fiber_of;
using word_test::insist_past_sections;
using word_test::Model;
using word_test::park;
using word_test::Result;
using word_test::Token;
using word_test::token_of;
using word_test::Wait;

using RWLock = treadle::word::RWLock<Model>;

namespace {

constexpr std::uint32_t kMostFibers = 8;

struct Scene {
    Execution& run;
    RWLock lock{};
    ReaderCell tables[80]{};  // one behind the other, none used again
    std::size_t tables_used = 0;
    OnDeath on_death = OnDeath::report;
    bool checks_order = true;  // who is served when: of no use once somebody dies or gives up

    // As the fibers themselves know it.
    std::uint32_t reads[kMostFibers]{};
    bool writes[kMostFibers]{};
    bool torn = false;                // what the lock guards
    unsigned told = 0;                // of deaths, to those who adopt the lock
    std::uint32_t entries = 0;        // of writers
    std::uint32_t parked_writers = 0;  // since the last entry

    Scene(Execution& execution, std::uint32_t capacity = 4) : run(execution) {
        lock.initialise(new_table(capacity), capacity);
        run.label(lock, "rwlock");
    }

    ReaderCell* new_table(std::uint32_t capacity) {
        ReaderCell* const table = tables + tables_used;
        tables_used += RWLock::table_cells(capacity);
        SCHEDULE_CHECK(tables_used <= std::size(tables), "the table grows without end");
        return table;
    }
    void grow(Caller& who) {
        const std::uint32_t capacity = lock.capacity() * 2;
        ReaderCell* const larger = new_table(capacity);
        ReaderCell* old = nullptr;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return lock.attempt_grow(who, larger, capacity, old, wait); });
        SCHEDULE_CHECK(result == Result::done ? old != nullptr && old != larger : result == Result::overflow && old == nullptr);
        if (result != Result::done) return;
        // It belongs to the caller now: nobody counts what is in it any more.
        const auto cells = static_cast<std::uint32_t>(old[0].holder);
        for (std::uint32_t i = 1; i <= cells; ++i) old[i] = {~Token{0}, 1000};
    }

    bool reader_in() const {
        for (std::uint32_t fiber = 0; fiber < kMostFibers; ++fiber)
            if (reads[fiber] != 0 && !run.died(fiber)) return true;
        return false;
    }
    bool writer_in() const {
        for (std::uint32_t fiber = 0; fiber < kMostFibers; ++fiber)
            if (writes[fiber] && !run.died(fiber)) return true;
        return false;
    }
    void tell(Token dead) {
        if (dead == kNobody) return;
        SCHEDULE_CHECK(run.died(fiber_of(dead)), "one that lives was taken for dead");
        ++told;
        torn = false;  // repaired
    }

    /// False: given up, after the first park that ran out.
    bool acquire_read(bool patient = true) {
        const std::uint32_t me = Model::self();
        const std::uint32_t entries_at_first = entries;
        bool kept_out = checks_order && reads[me] == 0 && parked_writers != 0;
        // Whoever comes during a write is let in after it, before the next.
        kept_out = kept_out && lock.writer().peek() == 0;
        Caller who;
        ReadTicket ticket;
        bool was_enlisted = false, ran_out = false;
        std::uint32_t entries_when_enlisted = 0;
        for (Wait wait;;) {
            Token dead;
            const Result result = lock.attempt_read(who, who.token, true, on_death, ticket, dead, wait);
            if (result == Result::done) {
                tell(dead);
                break;
            }
            SCHEDULE_CHECK(dead == kNobody);
            if (ticket.enlisted && !was_enlisted) entries_when_enlisted = entries;
            was_enlisted = ticket.enlisted;
            if (result == Result::owner_died || result == Result::inconsistent) {
                SCHEDULE_CHECK(!ticket.enlisted && on_death == OnDeath::report);
                recover();
                continue;
            }
            if (result == Result::no_room) {
                grow(who);
                continue;
            }
            SCHEDULE_CHECK(result == Result::blocked, result);
            if (ran_out && !patient && !wait.section) {
                const Result cancelled = insist_past_sections(
                    who, [&](Wait& w) { return lock.attempt_cancel_read(who, who.token, ticket, w); });
                SCHEDULE_CHECK(!ticket.enlisted);
                if (cancelled == Result::done) return false;
                SCHEDULE_CHECK(cancelled == Result::gone, cancelled);
                break;
            }
            const bool section = wait.section;
            park(who, wait);
            if (!section) ran_out = ran_out || who.look;
        }
        SCHEDULE_CHECK(!writer_in(), "a reader beside a writer");
        // A lock that is adopted is had as it is, by others before its adopter may have said so.
        SCHEDULE_CHECK(!torn || on_death == OnDeath::adopt, "nobody was told of a death inside");
        SCHEDULE_CHECK(!kept_out || entries != entries_at_first, "a reader came after a writer and was let in before it");
        SCHEDULE_CHECK(!checks_order || !was_enlisted || entries - entries_when_enlisted <= 1, "two writers before a reader");
        ++reads[me];
        return true;
    }
    void release_read() {
        --reads[Model::self()];
        Caller who;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return lock.attempt_end_read(who, who.token, wait); });
        SCHEDULE_CHECK(result == Result::done, result);
    }

    bool acquire_write(OnDeath how, bool patient = true) {
        Caller who;
        bool ran_out = false;
        for (Wait wait;;) {
            Token dead;
            const std::uint32_t entries_before = entries;
            const Result result = lock.attempt_write(who, who.token, how, dead, wait);
            if (result == Result::done) {
                tell(dead);
                break;
            }
            SCHEDULE_CHECK(dead == kNobody);
            if (result == Result::owner_died || result == Result::inconsistent) {
                SCHEDULE_CHECK(how == OnDeath::report);
                recover();
                continue;
            }
            SCHEDULE_CHECK(result == Result::blocked, result);
            if (!wait.section) {
                if (entries == entries_before) ++parked_writers;
                if (ran_out && !patient) {
                    const Result cancelled = insist_past_sections(
                        who, [&](Wait& w) { return lock.attempt_cancel_write(who, who.token, w); });
                    SCHEDULE_CHECK(cancelled == Result::done, cancelled);
                    return false;
                }
            }
            const bool section = wait.section;
            park(who, wait);
            if (!section) ran_out = ran_out || who.look;
        }
        SCHEDULE_CHECK(!writer_in(), "two writers");
        SCHEDULE_CHECK(!reader_in(), "a writer beside a reader");
        SCHEDULE_CHECK(!torn || on_death == OnDeath::adopt, "nobody was told of a death inside");
        ++entries;
        parked_writers = 0;
        writes[Model::self()] = true;
        return true;
    }
    void change() {
        torn = true;
        Model::yield_point("inside");
        torn = false;
    }
    void release_write() {
        writes[Model::self()] = false;
        Caller who;
        const Result result =
            insist_past_sections(who, [&](Wait& wait) { return lock.attempt_end_write(who, who.token, wait); });
        SCHEDULE_CHECK(result == Result::done, result);
    }
    void recover() {
        acquire_write(OnDeath::mark);
        writes[Model::self()] = false;
        Caller who;
        Result result =
            insist_past_sections(who, [&](Wait& wait) { return lock.attempt_restore(who, who.token, wait); });
        if (result == Result::not_held)  // somebody else has recovered it
            result = insist_past_sections(who, [&](Wait& wait) { return lock.attempt_end_write(who, who.token, wait); });
        SCHEDULE_CHECK(result == Result::done, result);
    }

    /// After run(): one that comes last can have it, and nothing is left of anybody.
    void conclude() {
        checks_order = false;
        const unsigned deaths = run.deaths();
        bool died_writing = false;
        for (std::uint32_t fiber = 0; fiber < kMostFibers; ++fiber)
            died_writing = died_writing || (writes[fiber] && run.died(fiber));
        run.fiber("last", [&] {
            acquire_write(on_death);
            change();
            release_write();
            SCHEDULE_CHECK(acquire_read());
            release_read();
            acquire_write(on_death);  // which forgets who died waiting to read, and was let in
            release_write();
        });
        run.run();
        SCHEDULE_CHECK(lock.reading() == 0 && lock.writer().peek() == 0);
        if (on_death == OnDeath::adopt)
            SCHEDULE_CHECK(told <= deaths && (!died_writing || deaths > 1 || told == 1), told, " were told");
        const ReaderCell* const table = lock.table();
        for (std::uint32_t i = 1; i <= table[0].holder; ++i) SCHEDULE_CHECK(table[i].counts == 0, "a reader is left");
    }
};

/// What one fiber does, as letters: r read, w write, n read twice at a time; capitals give up when a park runs out.
void act(Scene& scene, const std::string& script) {
    for (const char letter : script) {
        switch (letter) {
            case 'r':
            case 'R':
                if (!scene.acquire_read(letter == 'r')) break;
                Model::yield_point("reads");
                scene.release_read();
                break;
            case 'n':
                scene.acquire_read();
                scene.acquire_read();
                scene.release_read();
                scene.release_read();
                break;
            case 'w':
            case 'W':
                if (!scene.acquire_write(scene.on_death, letter == 'w')) break;
                scene.change();
                scene.release_write();
                break;
        }
    }
}

struct How {
    OnDeath on_death = OnDeath::report;
    std::uint32_t capacity = 4;
    bool checks_order = true;
};

/// Fibers with these scripts. `!` in front: it may be killed.
auto scripts(std::vector<std::string> all, How how = {}) {
    return [=](Execution& run) {
        Scene scene(run, how.capacity);
        scene.on_death = how.on_death;
        scene.checks_order = how.checks_order;
        for (const std::string& script : all) {
            const auto body = [&] { act(scene, script); };
            if (script[0] == '!') scene.checks_order = false;
            script[0] == '!' ? run.killable_fiber(script, body) : run.fiber(script, body);
        }
        run.run();
        scene.conclude();
    };
}

}  // namespace

TEST(writers_exclude_all_and_no_sleeper_is_forgotten) {
    schedule::check("rwlock, 2 writers", dfs(check::scale(2u, 3u)).no_timeouts(), scripts({"w", "w"}));
    schedule::check("rwlock, a reader and a writer", dfs(check::scale(3u, 4u)).no_timeouts(), scripts({"r", "w"}));
    schedule::check("rwlock, 2 readers, 1 writer", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"r", "r", "w"}));
    schedule::check("rwlock, 1 reader, 2 writers", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"r", "w", "w"}));
    schedule::check("rwlock, 2 of each", dfs(check::scale(0u, 1u)).no_timeouts(), scripts({"r", "r", "w", "w"}));
    schedule::check("rwlock, any sleeper is woken", dfs(check::scale(0u, 1u)).no_timeouts().waking_in_any_order(),
                    scripts({"r", "w", "w", "w"}));
}

// The order of service is checked in all of these; here it is what they are about.
TEST(neither_side_starves_the_other) {
    schedule::check("rwlock, a stream of writers", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"www", "r"}));
    schedule::check("rwlock, 2 streams of writers", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"ww", "ww", "r"}));
    schedule::check("rwlock, a stream of readers", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"rrr", "w"}));
    schedule::check("rwlock, 2 streams of readers", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"rr", "rr", "w"}));
}

TEST(who_reads_may_read_again_though_a_writer_waits) {
    schedule::check("rwlock, nested", dfs(2).no_timeouts(), scripts({"n", "w"}));
    schedule::check("rwlock, 2 nested", dfs(check::scale(1u, 2u)).no_timeouts(), scripts({"n", "n", "w"}));
}

TEST(the_table_grows_under_racing_readers) {
    schedule::check("rwlock, growth from 1", dfs(2).no_timeouts(), scripts({"r", "r"}, {.capacity = 1}));
    schedule::check("rwlock, growth by those who wait", dfs(check::scale(1u, 2u)).no_timeouts(),
                    scripts({"w", "r", "r"}, {.capacity = 1}));
}

TEST(it_survives_weak_failures_and_waits_that_run_out_at_any_time) {
    schedule::check("rwlock, 1 disturbance", dfs(1).no_timeouts().with_spurious(1), scripts({"r", "w", "w"}));
    schedule::check("rwlock, 2 disturbances", dfs(1).no_timeouts().with_spurious(2), scripts({"r", "w"}));
}

TEST(who_gives_up_takes_neither_a_wakeup_nor_the_claim_with_it) {
    const How how{.checks_order = false};
    schedule::check("rwlock, a writer gives up", dfs(check::scale(1u, 2u)).no_timeouts().with_spurious(1),
                    scripts({"r", "W", "r"}, how));
    schedule::check("rwlock, one of 2 writers gives up", dfs(check::scale(1u, 2u)).no_timeouts().with_spurious(1),
                    scripts({"r", "W", "w"}, how));
    schedule::check("rwlock, a reader gives up", dfs(check::scale(1u, 2u)).no_timeouts().with_spurious(1),
                    scripts({"R", "w", "r"}, how));
    schedule::check("rwlock, both give up", dfs(check::scale(1u, 2u)).no_timeouts().with_spurious(2),
                    scripts({"R", "W", "w"}, how));
}

TEST(a_reader_that_dies_is_forgotten_and_a_writer_s_death_is_told) {
    const unsigned most = check::scale(1u, 2u);
    schedule::check("rwlock, a reader dies", dfs(most + 1, 1), scripts({"!r", "w"}));
    schedule::check("rwlock, a writer dies, a reader comes", dfs(most + 1, 1), scripts({"!w", "r"}));
    schedule::check("rwlock, a writer dies, a writer comes", dfs(most + 1, 1), scripts({"!w", "w"}));
    schedule::check("rwlock, one of 2 readers dies", dfs(most, 1), scripts({"!r", "r", "w"}));
    schedule::check("rwlock, a writer dies beside a reader", dfs(most, 1), scripts({"!w", "r", "w"}));
    schedule::check("rwlock, a reader dies beside 2 writers", dfs(most, 1), scripts({"!r", "w", "w"}));
    schedule::check("rwlock, all may die, 1 death", dfs(most, 1), scripts({"!r", "!w", "!w"}));
    schedule::check("rwlock, all may die, 2 deaths", dfs(check::scale(0u, 1u), 2), scripts({"!r", "!w", "!r", "w"}));
}

TEST(a_lock_is_adopted_from_the_dead) {
    const unsigned most = check::scale(1u, 2u);
    const How how{.on_death = OnDeath::adopt};
    schedule::check("rwlock, adopted by a reader", dfs(most + 1, 1), scripts({"!w", "r"}, how));
    schedule::check("rwlock, adopted by a writer", dfs(most + 1, 1), scripts({"!w", "w"}, how));
    schedule::check("rwlock, adopted by one of 2", dfs(most, 1), scripts({"!w", "r", "w"}, how));
    schedule::check("rwlock, the adopter dies, too", dfs(0, 2), scripts({"!w", "!w", "r", "w"}, how));
}

TEST(a_death_while_the_table_grows_loses_nothing) {
    schedule::check("rwlock, one dies in growth", dfs(2, 1), scripts({"!r", "r"}, {.capacity = 1}));
    schedule::check("rwlock, the dead make room", dfs(1, 1), scripts({"!r", "!r", "r"}, {.capacity = 1}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 200000);
    const auto body = scripts({"rnr", "wrw", "rr", "ww", "nr"}, {.capacity = 2});
    schedule::check("rwlock, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("rwlock, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
    schedule::check("rwlock, random, giving up", schedule::random(1, executions).no_timeouts().with_spurious(4),
                    scripts({"RwR", "WrW", "rW", "wR", "n"}, {.capacity = 2, .checks_order = false}));
    schedule::check("rwlock, random deaths", schedule::random(1, executions, 3),
                    scripts({"!rw", "!wr", "!rnr", "rwr", "!ww"}, {.capacity = 1}));
    schedule::check("rwlock, random deaths, adopted", schedule::random(1, executions, 3),
                    scripts({"!rw", "!wr", "!rnr", "rwr", "!ww"}, {.on_death = OnDeath::adopt, .capacity = 1}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
