// The one-word semaphore: its limits, then on real threads.
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/semaphore.hpp"

using namespace threads;

namespace {

using Semaphore = treadle::word::Semaphore<SharedWorld>;

unsigned rounds() { return check::scale(check::sanitized ? 3000u : 20000u, check::sanitized ? 100000u : 1000000u); }

void acquire(Semaphore& semaphore) {
    if (semaphore.try_acquire()) return;
    insist<SharedWorld>(Anybody{}, [&](auto&, Wait& wait) { return semaphore.attempt_acquire(wait); });
}

}  // namespace

TEST(permits_go_and_come_back) {
    Semaphore semaphore{};
    semaphore.initialise(2);
    CHECK_EQ(semaphore.value(), 2u);
    CHECK(semaphore.try_acquire());
    CHECK(semaphore.try_acquire());
    CHECK(!semaphore.try_acquire());
    CHECK_EQ(semaphore.release(3, Semaphore::kMax), Result::done);
    CHECK_EQ(semaphore.value(), 3u);
}

TEST(a_release_beyond_the_bound_changes_nothing) {
    Semaphore semaphore{};
    semaphore.initialise(2);
    CHECK_EQ(semaphore.release(1, 2), Result::overflow);
    CHECK(semaphore.try_acquire());
    CHECK_EQ(semaphore.release(2, 2), Result::overflow);
    CHECK_EQ(semaphore.release(3, 2), Result::overflow);
    CHECK_EQ(semaphore.value(), 1u);
    CHECK_EQ(semaphore.release(1, 2), Result::done);
    semaphore.initialise(Semaphore::kMax);
    CHECK_EQ(semaphore.release(1, Semaphore::kMax), Result::overflow);
    CHECK_EQ(semaphore.value(), Semaphore::kMax);
}

TEST(who_waits_is_announced_and_a_release_takes_the_mark_away) {
    Semaphore semaphore{};
    Wait wait;
    wait.announce = false;
    CHECK_EQ(semaphore.attempt_acquire(wait), Result::blocked);
    wait.announce = true;
    CHECK_EQ(semaphore.attempt_acquire(wait), Result::blocked);
    CHECK_EQ(wait.expected, Semaphore::kWaiters);
    CHECK_EQ(semaphore.value(), 0u, "the mark is not counted");
    CHECK(!semaphore.try_acquire());
    CHECK_EQ(semaphore.release(2, Semaphore::kMax), Result::done);
    CHECK_EQ(semaphore.value(), 2u);
    CHECK_EQ(semaphore.attempt_acquire(wait), Result::done);
    CHECK_EQ(semaphore.value(), 1u);
}

TEST(never_more_inside_than_permits) {
    constexpr unsigned kThreads = 5, kPermits = 2;
    Semaphore semaphore{};
    semaphore.initialise(kPermits);
    std::atomic<unsigned> inside{0};
    run_threads(kThreads, [&](unsigned) {
        for (unsigned n = 0; n < rounds(); ++n) {
            acquire(semaphore);
            CHECK(inside.fetch_add(1) < kPermits);
            inside.fetch_sub(1);
            semaphore.release(1, kPermits);
        }
    });
    CHECK_EQ(semaphore.value(), kPermits);
}

TEST(one_permit_guards_plain_data) {
    Semaphore semaphore{};
    semaphore.initialise(1);
    std::uint64_t count = 0;
    run_threads(4, [&](unsigned) {
        for (unsigned n = 0; n < rounds(); ++n) {
            acquire(semaphore);
            ++count;
            semaphore.release(1, Semaphore::kMax);
        }
    });
    CHECK_EQ(count, 4u * std::uint64_t{rounds()});
}

TEST(each_signal_is_taken_once_and_brings_its_data) {
    // One writes slots and gives a permit for each, in lots of 1 to 3; the others take them, and nobody waits in vain.
    constexpr unsigned kTakers = 3;
    const unsigned items = rounds() / kTakers * kTakers;
    Semaphore semaphore{};
    std::vector<unsigned> slots(items);
    std::vector<unsigned> seen(items);
    std::atomic<unsigned> next{0};
    run_threads(kTakers + 1, [&](unsigned i) {
        if (i == kTakers) {
            for (unsigned n = 0; n < items;) {
                const unsigned lot = n % 3 + 1 < items - n ? n % 3 + 1 : items - n;
                for (unsigned k = 0; k < lot; ++k, ++n) slots[n] = n + 1;
                CHECK_EQ(semaphore.release(lot, Semaphore::kMax), Result::done);
            }
            return;
        }
        for (unsigned n = 0; n < items / kTakers; ++n) {
            acquire(semaphore);
            const unsigned at = next.fetch_add(1, std::memory_order_acq_rel);
            seen[at] = slots[at];
        }
    });
    unsigned wrong = 0;
    for (unsigned n = 0; n < items; ++n) wrong += seen[n] != n + 1;
    CHECK_EQ(wrong, 0u);
    CHECK_EQ(semaphore.value(), 0u);
}

TEST(all_sleepers_go_when_enough_is_released) {
    constexpr unsigned kSleepers = 6;
    for (unsigned lap = 0; lap < (check::sanitized ? 30u : 100u); ++lap) {
        Semaphore semaphore{};
        std::atomic<unsigned> gone{0};
        run_threads(kSleepers + 1, [&](unsigned i) {
            if (i < kSleepers) {
                acquire(semaphore);
                gone.fetch_add(1);
            } else {
                semaphore.release(1, Semaphore::kMax);
                semaphore.release(2, Semaphore::kMax);
                semaphore.release(3, Semaphore::kMax);
            }
        });
        CHECK_EQ(gone.load(), kSleepers);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
