// The barrier: rounds, breaks, resets and deaths; then on real threads.
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/barrier.hpp"

using namespace threads;

namespace {

using Barrier = treadle::word::Barrier<SharedWorld>;
using treadle::word::BarrierCell;

constexpr unsigned kParties = 4;

unsigned rounds() { return check::scale(check::sanitized ? 300u : 3000u, check::sanitized ? 10000u : 100000u); }

struct Room {
    Barrier barrier{};
    BarrierCell cells[kParties]{};
    Deaths deaths;

    explicit Room(std::uint32_t parties = kParties) { barrier.initialise(parties, cells); }
    Caller caller(Token token, bool look = false) const { return {token, deaths, look}; }

    Result arrive(Caller who, std::uint32_t& phase, std::uint32_t& index) {
        return insist<SharedWorld>(who, [&](auto& w, Wait& wait) { return barrier.attempt_arrive(w, phase, index, wait); });
    }
    Result wait(Caller who, std::uint32_t phase, std::int64_t slice = kPatience) {
        return insist<SharedWorld>(
            who, [&](auto& w, Wait& wait) { return barrier.attempt_wait(w, phase, wait); }, Result::blocked, slice);
    }
    Result trip(Caller who, std::uint32_t phase) {
        return insist<SharedWorld>(who, [&](auto& w, Wait& wait) { return barrier.attempt_trip(w, phase, wait); });
    }
    Result break_off(Caller who) {
        return insist<SharedWorld>(who, [&](auto& w, Wait& wait) { return barrier.attempt_break(w, wait); });
    }
    Result reset(Caller who) {
        return insist<SharedWorld>(who, [&](auto& w, Wait& wait) { return barrier.attempt_reset(w, wait); });
    }
    /// As Barrier.wait() does: the last to arrive trips.
    Result pass(Caller who, std::uint32_t& index, std::int64_t slice = kPatience) {
        std::uint32_t phase = 0;
        const Result arrived = arrive(who, phase, index);
        if (arrived != Result::done) return arrived;
        if (index == barrier.parties() - 1 && trip(who, phase) == Result::done) return Result::done;
        return wait(who, phase, slice);
    }
};

}  // namespace

TEST(a_barrier_of_one_never_waits) {
    Room room(1);
    std::uint32_t index = 9;
    for (int n = 0; n < 200; ++n) {
        CHECK_EQ(room.pass(room.caller(1), index), Result::done);
        CHECK_EQ(index, 0u);
    }
    CHECK_EQ(room.barrier.waiting(), 0u);
}

TEST(arrivals_are_numbered_and_counted) {
    Room room(3);
    std::uint32_t phase = 0, index = 0;
    CHECK_EQ(room.barrier.parties(), 3u);
    for (std::uint32_t i = 0; i < 3; ++i) {
        CHECK_EQ(room.barrier.waiting(), i);
        CHECK_EQ(room.arrive(room.caller(i + 1), phase, index), Result::done);
        CHECK_EQ(index, i);
        CHECK_EQ(phase, 0u);
    }
    CHECK_EQ(room.barrier.waiting(), 0u, "the round is full: nobody waits for a party");
    Wait wait;
    Caller early = room.caller(4);
    CHECK_EQ(room.barrier.attempt_arrive(early, phase, index, wait), Result::blocked, "the last round is not over yet");
    CHECK_EQ(room.trip(room.caller(3), 0), Result::done);
    CHECK_EQ(room.trip(room.caller(3), 0), Result::gone);
    CHECK_EQ(room.wait(room.caller(1), 0), Result::done);
    CHECK_EQ(room.arrive(room.caller(4), phase, index), Result::done);
    CHECK_EQ(phase, 1u);
    CHECK_EQ(index, 0u);
}

TEST(a_break_reaches_who_waits_and_who_comes_until_a_reset) {
    Room room(2);
    std::uint32_t phase = 0, index = 0;
    CHECK_EQ(room.arrive(room.caller(1), phase, index), Result::done);
    CHECK_EQ(room.break_off(room.caller(2)), Result::done);
    CHECK(room.barrier.is_broken());
    CHECK_EQ(room.barrier.waiting(), 0u);
    CHECK_EQ(room.barrier.culprit(), 0u);
    CHECK_EQ(room.wait(room.caller(1), phase), Result::broken);
    CHECK_EQ(room.arrive(room.caller(2), phase, index), Result::broken);
    CHECK_EQ(room.reset(room.caller(2)), Result::done);
    CHECK(!room.barrier.is_broken());
    CHECK_EQ(room.wait(room.caller(1), 0), Result::broken, "it learns late how its own round ended");
    CHECK_EQ(room.arrive(room.caller(1), phase, index), Result::done);
    CHECK_EQ(index, 0u);
    CHECK_EQ(room.reset(room.caller(2)), Result::done);
    CHECK_EQ(room.wait(room.caller(1), phase), Result::broken, "a reset breaks the round of who waits");
    CHECK(!room.barrier.is_broken());
    CHECK_EQ(room.reset(room.caller(2)), Result::done);
    CHECK_EQ(room.arrive(room.caller(1), phase, index), Result::done);
    CHECK_EQ(phase, 2u, "the reset of an idle barrier begins no round");
}

TEST(a_dead_party_breaks_the_barrier_and_is_named) {
    Room room(3);
    std::uint32_t phase = 0, index = 0;
    CHECK_EQ(room.arrive(room.caller(9), phase, index), Result::done);
    CHECK_EQ(room.arrive(room.caller(1), phase, index), Result::done);
    room.deaths.kill(9);
    Wait wait;
    Caller who = room.caller(1);
    CHECK_EQ(room.barrier.attempt_wait(who, phase, wait), Result::blocked);
    who.look = true;
    CHECK_EQ(room.barrier.attempt_wait(who, phase, wait), Result::broken);
    CHECK(room.barrier.is_broken());
    CHECK_EQ(room.barrier.culprit(), 9u);
    CHECK_EQ(room.reset(who), Result::done);
    CHECK_EQ(room.barrier.culprit(), 0u);
}

TEST(the_death_of_the_party_that_ran_the_action_is_found_by_who_comes_next) {
    Room room(2);
    std::uint32_t phase = 0, index = 0;
    CHECK_EQ(room.arrive(room.caller(1), phase, index), Result::done);
    CHECK_EQ(room.arrive(room.caller(9), phase, index), Result::done);
    room.deaths.kill(9);
    Wait wait;
    Caller late = room.caller(2, true);
    CHECK_EQ(room.barrier.attempt_arrive(late, phase, index, wait), Result::blocked);
    CHECK_EQ(room.barrier.attempt_arrive(late, phase, index, wait), Result::broken);
    CHECK_EQ(room.barrier.culprit(), 9u);
}

TEST(nobody_passes_before_all_have_come) {
    Room room;
    std::vector<unsigned> written(kParties);  // plain: the barrier is what guards it
    std::atomic<std::uint64_t> indices{0};
    run_threads(kParties, [&](unsigned i) {
        for (unsigned n = 1; n <= rounds(); ++n) {
            written[i] = n;
            std::uint32_t index = 99;
            CHECK_EQ(room.pass(room.caller(i + 1), index), Result::done);
            indices.fetch_add(1ull << (16 * (index & 3)));
            for (unsigned other = 0; other < kParties; ++other) CHECK_EQ(written[other], n);
            CHECK_EQ(room.pass(room.caller(i + 1), index), Result::done);
        }
    });
    CHECK_EQ(indices.load(), 0x0001'0001'0001'0001ull * rounds(), "each index is given out once a round");
}

TEST(waiting_can_be_asked_for_at_any_time) {
    Room room;
    std::atomic<bool> ended{false};
    run_threads(kParties + 1, [&](unsigned i) {
        if (i == kParties) {
            while (!ended.load()) CHECK(room.barrier.waiting() < kParties);
            return;
        }
        std::uint32_t index = 0;
        for (unsigned n = 0; n < rounds(); ++n) CHECK_EQ(room.pass(room.caller(i + 1), index), Result::done);
        ended.store(true);
    });
}

TEST(a_break_at_any_time_strands_nobody) {
    for (unsigned lap = 0; lap < (check::sanitized ? 30u : 100u); ++lap) {
        Room room;
        std::atomic<unsigned> broken{0};
        run_threads(kParties + 1, [&](unsigned i) {
            if (i == kParties) return void(room.break_off(room.caller(60)));
            std::uint32_t index = 0;
            for (;;) {
                const Result result = room.pass(room.caller(i + 1), index);
                if (result == Result::done) continue;
                CHECK_EQ(result, Result::broken);
                broken.fetch_add(1);
                break;
            }
        });
        CHECK_EQ(broken.load(), kParties);
        CHECK(room.barrier.is_broken());
    }
}

TEST(resets_at_any_time_break_rounds_and_leave_the_barrier_usable) {
    Room room;
    std::atomic<unsigned> left{kParties};
    std::atomic<unsigned> strange{0};
    run_threads(kParties + 1, [&](unsigned i) {
        std::uint32_t index = 0;
        if (i == kParties) {
            while (left.load() != 0) {
                room.reset(room.caller(60));
                std::this_thread::yield();
            }
            return;
        }
        for (unsigned n = 0; n < rounds() / 10; ++n) {
            const Result result = room.pass(room.caller(i + 1), index);
            strange += result != Result::done && result != Result::broken;
        }
        left.fetch_sub(1);
    });
    CHECK_EQ(strange.load(), 0u);
    CHECK(!room.barrier.is_broken());
}

TEST(a_party_killed_while_it_waits_breaks_it_for_all_the_others) {
    for (unsigned lap = 0; lap < (check::sanitized ? 10u : 30u); ++lap) {
        Room room;
        std::uint32_t phase = 0, index = 0;
        CHECK_EQ(room.arrive(room.caller(60), phase, index), Result::done);
        std::atomic<unsigned> broken{0};
        run_threads(kParties - 1, [&](unsigned i) {
            std::uint32_t place = 0;
            if (i == 0) return void(room.deaths.kill(60));
            broken += room.pass(room.caller(i + 1), place, 1'000'000) == Result::broken;
        });
        CHECK_EQ(broken.load(), kParties - 2);
        CHECK_EQ(room.barrier.culprit(), 60u);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
