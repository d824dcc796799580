// The roster under every schedule: withdrawing against beginning, stopping against finishing.
#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/word/roster.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using word_test::Model;

TEST(whoever_withdraws_a_task_sees_it_begun_or_it_is_not_run) {
    schedule::check("roster, withdraw against begin", dfs(6).no_timeouts(), [](Execution& run) {
        treadle::word::Seat<Model> seat{};
        treadle::word::Marks<Model> marks{};
        bool ran = false, over = false, seen = false, over_when_looked = false;
        run.fiber("worker", [&] {
            seat.begin(1, 0);
            ran = !marks.has(1);
            over = true;
            SCHEDULE_CHECK(seat.finish());
        });
        run.fiber("pool", [&] {
            marks.set(1);
            seen = seat.task() == 1;
            over_when_looked = over;
        });
        run.run();
        SCHEDULE_CHECK(!ran || seen || over_when_looked, "it ran behind the back of who had withdrawn it");
    });
}

TEST(nothing_is_begun_after_a_stop) {
    schedule::check("roster, stop against finish", dfs(6).no_timeouts(), [](Execution& run) {
        treadle::word::Seat<Model> seat{};
        bool stopped = false, second = false;
        run.fiber("worker", [&] {
            seat.begin(1, 0);
            if (!seat.finish()) return;
            second = true;
            seat.begin(2, 0);
            seat.finish();
        });
        run.fiber("pool", [&] { stopped = seat.stop(1); });
        run.run();
        SCHEDULE_CHECK(!(stopped && second), "another task was begun");
        SCHEDULE_CHECK(seat.task() == (stopped ? 1u : 0u));
    });
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
