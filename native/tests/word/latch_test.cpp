// The latch: its states, then on real threads.
#include <atomic>
#include <cstdint>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/latch.hpp"

using namespace threads;

namespace {

using Latch = treadle::word::Latch<SharedWorld>;

void wait_for(Latch& latch) {
    CHECK_EQ(insist<SharedWorld>(Anybody{}, [&](auto&, Wait& wait) { return latch.attempt_wait(wait); }), Result::done);
}

}  // namespace

TEST(it_opens_at_zero_and_stays_open) {
    Latch latch{};
    latch.initialise(3);
    Wait wait;
    CHECK_EQ(latch.attempt_wait(wait), Result::blocked);
    CHECK_EQ(latch.count(), 3u, "the mark of a sleeper is not counted");
    latch.count_down(2);
    CHECK_EQ(latch.count(), 1u);
    CHECK_EQ(latch.attempt_wait(wait), Result::blocked);
    latch.count_down(1);
    CHECK_EQ(latch.count(), 0u);
    CHECK_EQ(latch.attempt_wait(wait), Result::done);
    latch.count_down(1);
    CHECK_EQ(latch.count(), 0u);
    CHECK_EQ(latch.attempt_wait(wait), Result::done);
}

TEST(it_does_not_count_below_zero) {
    Latch latch{};
    latch.initialise(2);
    latch.count_down(Latch::kMax);
    CHECK_EQ(latch.count(), 0u);
    latch.initialise(Latch::kMax);
    latch.count_down(1);
    CHECK_EQ(latch.count(), Latch::kMax - 1);
}

TEST(one_of_zero_is_open_from_the_start) {
    Latch latch{};
    Wait wait;
    CHECK_EQ(latch.attempt_wait(wait), Result::done);
}

TEST(all_are_woken_and_see_what_came_before) {
    constexpr unsigned kCounters = 3, kWaiters = 3;
    for (unsigned lap = 0; lap < (check::sanitized ? 50u : 300u); ++lap) {
        Latch latch{};
        latch.initialise(kCounters);
        unsigned data[kCounters]{};  // plain: the latch is what guards them
        run_threads(kCounters + kWaiters, [&](unsigned i) {
            if (i < kCounters) {
                data[i] = i + 1;
                latch.count_down(1);
                return;
            }
            wait_for(latch);
            for (unsigned n = 0; n < kCounters; ++n) CHECK_EQ(data[n], n + 1);
        });
        CHECK_EQ(latch.count(), 0u);
    }
}

TEST(racing_count_downs_are_all_counted) {
    constexpr unsigned kThreads = 4;
    const unsigned rounds = check::scale(check::sanitized ? 1000u : 20000u, check::sanitized ? 30000u : 500000u);
    Latch latch{};
    latch.initialise(kThreads * rounds + 1);
    run_threads(kThreads, [&](unsigned) {
        for (unsigned n = 0; n < rounds; ++n) latch.count_down(1);
    });
    CHECK_EQ(latch.count(), 1u);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
