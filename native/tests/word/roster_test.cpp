// The roster: seats and marks.
#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/roster.hpp"

namespace {

using Seat = treadle::word::Seat<threads::SharedWorld>;
using Marks = treadle::word::Marks<threads::SharedWorld>;

}  // namespace

TEST(a_seat_tells_what_its_worker_is_at) {
    Seat seat{};
    CHECK_EQ(seat.task(), 0u);
    seat.begin(7, 1000);
    CHECK_EQ(seat.since(), 1000u);
    seat.step(3, 1500);
    CHECK_EQ(seat.task(), 7u);
    CHECK_EQ(seat.since(), 1500u, "each step has a clock of its own");
    CHECK_EQ(seat.step(), 3u);
    CHECK_EQ(seat.finish(), true);
    CHECK_EQ(seat.task(), 0u);
    seat.begin(8, 2000);
    CHECK_EQ(seat.step(), 0u, "a new task begins at its first step");
}

TEST(only_the_task_that_is_run_can_be_stopped_and_nothing_follows_it) {
    Seat seat{};
    CHECK_EQ(seat.stop(7), false, "an idle worker");
    seat.begin(7, 0);
    CHECK_EQ(seat.stop(6), false, "another task");
    CHECK_EQ(seat.stop(7), true);
    CHECK_EQ(seat.stop(7), false, "a second time");
    CHECK_EQ(seat.task(), 7u);
    CHECK_EQ(seat.finish(), false);
    CHECK_EQ(seat.task(), 7u, "it is left for whoever sees the worker off");
    seat.vacate();
    CHECK_EQ(seat.task(), 0u);
}

TEST(marks_are_of_tasks_and_of_those_that_share_them) {
    Marks marks{};
    for (std::uint64_t task : {1u, 63u, 64u, 4095u, 4096u}) {
        CHECK_EQ(marks.has(task), false);
        marks.set(task);
        CHECK_EQ(marks.has(task), true);
        CHECK_EQ(marks.has(task + 1), false);
        CHECK_EQ(marks.has(task + Marks::kMarks), true, "a false positive");
        marks.clear(task);
        CHECK_EQ(marks.has(task), false);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
