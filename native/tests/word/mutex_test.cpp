// The owner word: its states one by one, then on real threads.
#include <atomic>
#include <cstdint>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/mutex.hpp"

using namespace threads;

namespace {

template <class World>
using Mutex = treadle::word::Mutex<World>;
using Word = Mutex<SharedWorld>;

constexpr unsigned kThreads = 4;

unsigned rounds() { return check::scale(check::sanitized ? 3000u : 30000u, check::sanitized ? 100000u : 1000000u); }

const auto acquire = [](auto& mutex) {
    return [&mutex](auto& who, Wait& wait) { return mutex.attempt_acquire(who, wait); };
};
const auto enter = [](auto& mutex) {
    return [&mutex](auto& who, Wait& wait) { return mutex.attempt_enter(who, wait); };
};

}  // namespace

TEST(a_free_mutex_is_taken_once_and_released_once) {
    Word mutex{};
    CHECK(!mutex.held());
    CHECK_EQ(mutex.owner(), 0u);
    CHECK(mutex.try_acquire(5));
    CHECK(mutex.held());
    CHECK_EQ(mutex.owner(), 5u);
    CHECK(!mutex.try_acquire(5), "it is not reentrant");
    CHECK(!mutex.try_acquire(6));
    CHECK_EQ(mutex.release(), Result::done);
    CHECK_EQ(mutex.release(), Result::not_held);
    CHECK_EQ(mutex.peek(), 0u);
}

TEST(a_token_of_60_bits_keeps_its_bits) {
    Word mutex{};
    const Token largest = (Token{1} << 60) - 1;
    CHECK(mutex.try_acquire(largest));
    CHECK_EQ(mutex.owner(), largest);
}

TEST(who_only_spins_leaves_no_mark) {
    Word mutex{};
    Deaths deaths;
    CHECK(mutex.try_acquire(1));
    Caller who{2, deaths};
    Wait wait;
    wait.announce = false;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::blocked);
    CHECK_EQ(mutex.peek(), Word::held_by(1));
    wait.announce = true;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::blocked);
    CHECK(wait.word != nullptr);
    CHECK_EQ(mutex.peek(), Word::held_by(1) | Word::kWaiters);
    CHECK_EQ(wait.expected, static_cast<std::uint32_t>(mutex.peek()));
    CHECK(!wait.section);
    CHECK_EQ(mutex.attempt_enter(who, wait), Result::blocked);
    CHECK(wait.section);
}

TEST(who_has_slept_announces_the_others) {
    Word mutex{};
    Deaths deaths;
    CHECK(mutex.try_acquire(1));
    Caller who{2, deaths};
    Wait wait;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::blocked);
    CHECK_EQ(mutex.release(), Result::done);
    CHECK_EQ(mutex.peek(), 0u);
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::done);
    CHECK_EQ(mutex.peek(), Word::held_by(2) | Word::kWaiters);
}

TEST(a_dead_owner_is_reported_once_then_the_lock_is_inconsistent_until_restored) {
    Word mutex{};
    Deaths deaths;
    CHECK(mutex.try_acquire(1));
    deaths.kill(1);
    Caller who{2, deaths};
    Wait wait;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::blocked, "it is not asked after before a park has run out");
    who.look = true;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::owner_died);
    CHECK(mutex.inconsistent());
    CHECK(!mutex.held());
    CHECK_EQ(mutex.owner(), 1u);
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::inconsistent);
    CHECK_EQ(mutex.release(), Result::not_held);
    CHECK_EQ(mutex.restore(2), Result::not_held);

    CHECK_EQ(mutex.recover(2, true), Result::done);
    CHECK(mutex.held());
    CHECK_EQ(mutex.recover(3, true), Result::not_held);
    CHECK_EQ(mutex.restore(3), Result::not_held, "only who recovers restores");
    CHECK_EQ(mutex.release(), Result::done);
    CHECK(mutex.inconsistent(), "a recovery that was abandoned repaired nothing");
    CHECK_EQ(mutex.owner(), 2u);
    CHECK_EQ(mutex.recover(2, true), Result::done);
    CHECK_EQ(mutex.restore(2), Result::done);
    CHECK_EQ(mutex.peek(), 0u);
}

TEST(a_death_in_the_recovery_is_found_like_the_first) {
    Word mutex{};
    Deaths deaths;
    CHECK(mutex.try_acquire(1));
    deaths.kill(1);
    Caller who{3, deaths, true};
    Wait wait;
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::owner_died);
    CHECK_EQ(mutex.recover(2, true), Result::done);
    deaths.kill(2);
    CHECK_EQ(mutex.attempt_acquire(who, wait), Result::owner_died);
    CHECK_EQ(mutex.owner(), 2u);
    CHECK_EQ(mutex.recover(3, false), Result::done);
    CHECK_EQ(mutex.peek(), Word::held_by(3), "adopted: held, and as good as new");
}

TEST(one_at_a_time) {
    const auto hammer = [](auto mutex_of) {
        auto mutex = mutex_of();
        using World = typename decltype(mutex)::World_;
        Deaths deaths;
        std::uint64_t count = 0;  // plain: the lock is what guards it
        run_threads(kThreads, [&](unsigned i) {
            for (unsigned n = 0; n < rounds(); ++n) {
                Caller who{i + 1, deaths};
                if (!mutex.value.try_acquire(who.token)) insist<World>(who, acquire(mutex.value));
                CHECK_EQ(mutex.value.owner(), i + 1);
                ++count;
                mutex.value.release();
            }
        });
        CHECK_EQ(count, std::uint64_t{kThreads} * rounds());
        CHECK_EQ(mutex.value.peek() & ~Word::kWaiters, 0u);
    };
    struct Shared {
        using World_ = SharedWorld;
        Mutex<SharedWorld> value{};
    };
    struct Private {
        using World_ = PrivateWorld;
        Mutex<PrivateWorld> value{};
    };
    hammer([] { return Shared{}; });
    hammer([] { return Private{}; });
}

TEST(one_at_a_time_in_an_internal_section) {
    Word mutex{};
    Deaths deaths;
    std::uint64_t count = 0;
    run_threads(kThreads, [&](unsigned i) {
        for (unsigned n = 0; n < rounds(); ++n) {
            insist<SharedWorld>(Caller{i + 1, deaths}, enter(mutex));
            ++count;
            mutex.release();
        }
    });
    CHECK_EQ(count, std::uint64_t{kThreads} * rounds());
}

TEST(what_the_former_owner_wrote_is_seen_when_another_thread_releases) {
    // A baton: each thread waits for its turn by acquiring, and the next one's lock is released by the one before.
    Word gates[kThreads]{};
    Deaths deaths;
    for (unsigned i = 1; i < kThreads; ++i) CHECK(gates[i].try_acquire(63));
    std::uint64_t baton = 0;
    const unsigned laps = rounds() / 20;
    run_threads(kThreads, [&](unsigned i) {
        for (unsigned lap = 0; lap < laps; ++lap) {
            insist<SharedWorld>(Caller{i + 1, deaths}, acquire(gates[i]));
            CHECK_EQ(baton, lap * kThreads + i);
            ++baton;
            gates[(i + 1) % kThreads].release();
        }
    });
    CHECK_EQ(baton, std::uint64_t{laps} * kThreads);
}

TEST(of_many_waiters_one_learns_of_the_death_and_one_recovers) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 50u); ++lap) {
        Word mutex{};
        Deaths deaths;
        CHECK(mutex.try_acquire(60));
        deaths.kill(60);
        std::atomic<unsigned> told{0}, recovered{0};
        std::uint64_t guarded = 0;
        run_threads(kThreads, [&](unsigned i) {
            Caller who{i + 1, deaths};
            for (;;) {
                const Result result = insist<SharedWorld>(who, acquire(mutex), Result::blocked, 1'000'000);
                if (result == Result::owner_died) told.fetch_add(1);
                if (result == Result::done) break;
                if (mutex.recover(who.token, true) == Result::done) {
                    recovered.fetch_add(1);
                    ++guarded;
                    CHECK_EQ(mutex.restore(who.token), Result::done);
                }
            }
            ++guarded;
            mutex.release();
        });
        CHECK_EQ(told.load(), 1u);
        CHECK_EQ(recovered.load(), 1u);
        CHECK_EQ(guarded, kThreads + 1);
    }
}

TEST(a_section_of_the_dead_is_entered_by_one_who_is_told) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 50u); ++lap) {
        Word mutex{};
        Deaths deaths;
        CHECK(mutex.try_acquire(60));
        deaths.kill(60);
        unsigned told = 0, inside = 0;
        run_threads(kThreads, [&](unsigned i) {
            const Result result = insist<SharedWorld>(Caller{i + 1, deaths}, enter(mutex));
            told += result == Result::owner_died;
            ++inside;
            mutex.release();
        });
        CHECK_EQ(told, 1u);
        CHECK_EQ(inside, kThreads);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
