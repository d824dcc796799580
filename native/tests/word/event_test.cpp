// The event: its states, then on real threads.
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/event.hpp"

using namespace threads;

namespace {

using Event = treadle::word::Event<SharedWorld>;

unsigned rounds() { return check::scale(check::sanitized ? 1000u : 5000u, check::sanitized ? 30000u : 300000u); }

void wait_for(Event& event, std::uint32_t since) {
    insist<SharedWorld>(Anybody{}, [&](auto&, Wait& wait) { return event.attempt_wait(since, wait); });
}

}  // namespace

TEST(set_and_clear) {
    Event event{};
    CHECK(!event.is_set());
    event.set();
    CHECK(event.is_set());
    event.set();
    CHECK(event.is_set());
    event.clear();
    CHECK(!event.is_set());
    event.clear();
    CHECK(!event.is_set());
}

TEST(a_set_counts_for_who_waited_even_if_a_clear_follows) {
    Event event{};
    Wait wait;
    const std::uint32_t since = event.epoch();
    CHECK_EQ(event.attempt_wait(since, wait), Result::blocked);
    event.set();
    event.clear();
    CHECK_EQ(event.attempt_wait(since, wait), Result::done);
    CHECK_EQ(event.attempt_wait(event.epoch(), wait), Result::blocked, "but not for who comes later");
}

TEST(a_set_of_a_set_event_counts_once) {
    Event event{};
    event.set();
    const std::uint32_t epoch = event.epoch();
    event.set();
    CHECK_EQ(event.epoch(), epoch);
    event.clear();
    CHECK_EQ(event.epoch(), epoch);
    event.set();
    CHECK(event.epoch() != epoch);
}

TEST(a_set_wakes_all_and_shows_what_came_before_it) {
    constexpr unsigned kWaiters = 5;
    for (unsigned lap = 0; lap < (check::sanitized ? 50u : 200u); ++lap) {
        Event event{};
        unsigned data = 0;
        std::atomic<unsigned> seen{0};
        run_threads(kWaiters + 1, [&](unsigned i) {
            if (i == kWaiters) {
                data = 7;
                event.set();
                if (lap % 2 == 0) event.clear();
                return;
            }
            const std::uint32_t since = event.epoch();
            // On even laps the set may be over before this thread began to wait.
            if (lap % 2 == 0 && since != 0) return void(seen.fetch_add(1));
            wait_for(event, since);
            CHECK_EQ(data, 7u);
            seen.fetch_add(1);
        });
        CHECK_EQ(seen.load(), kWaiters);
    }
}

TEST(two_threads_take_turns) {
    Event ping{}, pong{};
    std::uint64_t turns = 0;  // plain: the events are what guards it
    run_threads(2, [&](unsigned i) {
        for (unsigned n = 0; n < rounds(); ++n) {
            Event& mine = i == 0 ? ping : pong;
            Event& other = i == 0 ? pong : ping;
            if (i == 1 || n != 0) {
                wait_for(mine, mine.epoch());
                mine.clear();
            }
            CHECK_EQ(turns, 2u * n + i);
            ++turns;
            other.set();
        }
    });
    CHECK_EQ(turns, 2u * std::uint64_t{rounds()});
}

TEST(who_sets_a_set_event_is_seen_as_well) {
    // Both write, both set: who sees the flag after both must see both writes.
    for (unsigned lap = 0; lap < (check::sanitized ? 100u : 500u); ++lap) {
        Event event{};
        unsigned left = 0, right = 0;
        std::atomic<unsigned> ended{0};
        run_threads(3, [&](unsigned i) {
            if (i == 2) {
                while (ended.load(std::memory_order_relaxed) != 2) std::this_thread::yield();
                CHECK(event.is_set());
                CHECK_EQ(left + right, 3u);
                return;
            }
            (i == 0 ? left : right) = i + 1;
            event.set();
            ended.fetch_add(1, std::memory_order_relaxed);
        });
    }
}

TEST(sets_and_clears_at_random_strand_nobody) {
    constexpr unsigned kWaiters = 3;
    Event event{};
    std::atomic<unsigned> left{kWaiters};
    run_threads(kWaiters + 1, [&](unsigned i) {
        if (i < kWaiters) {
            for (unsigned n = 0; n < rounds(); ++n) wait_for(event, event.epoch());
            left.fetch_sub(1);
            return;
        }
        while (left.load() != 0) {
            event.set();
            event.clear();
        }
    });
    CHECK(!event.is_set());
}

int main(int argc, char** argv) { return check::main(argc, argv); }
