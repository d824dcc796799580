// The semaphore that knows its holders: books, bounds, growth and reclaiming; then on real threads.
#include <atomic>
#include <cstdint>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/permits.hpp"

using namespace threads;

namespace {

using Permits = treadle::word::Permits<SharedWorld>;
using treadle::word::kNobody;
using treadle::word::PermitCell;

constexpr std::uint32_t kCells = 4;

unsigned rounds() { return check::scale(check::sanitized ? 2000u : 10000u, check::sanitized ? 50000u : 500000u); }

// A table is reached through its distance from the object, which the compiler takes for a place inside the object.
[[gnu::noinline]] void discard(PermitCell* table) { delete[] table; }

struct Pool {
    Permits permits{};
    PermitCell* const cells = new PermitCell[1 + kCells]{};  // the first table; the pool frees the last
    Deaths deaths;

    Pool(std::uint32_t count, std::uint32_t bound) { permits.initialise(count, bound, cells, kCells); }
    Pool(const Pool&) = delete;
    ~Pool() { discard(permits.table()); }

    Result acquire(Token home, Token* dead = nullptr, std::int64_t slice = kPatience) {
        return insist<SharedWorld>(
            Caller{home, deaths},
            [&](auto& who, Wait& wait) {
                Token found = kNobody;
                const Result result = permits.attempt_acquire(who, home, found, wait);
                if (found != kNobody && dead != nullptr) *dead = found;
                return result;
            },
            Result::empty, slice);
    }
    Result try_acquire(Token home, bool look = false, Token* dead = nullptr) {
        Caller who{home, deaths, look};
        Wait wait;
        wait.announce = false;
        Token found = kNobody;
        const Result result = permits.attempt_acquire(who, home, found, wait);
        if (dead != nullptr) *dead = found;
        return result;
    }
    Result release(Token home, std::uint32_t count = 1) {
        return insist<SharedWorld>(Caller{home, deaths}, [&](auto& who, Wait& wait) {
            return permits.attempt_release(who, home, count, wait);
        });
    }
    Result grow(PermitCell* larger, std::uint32_t capacity, PermitCell*& old) {
        return insist<SharedWorld>(Caller{50, deaths}, [&](auto& who, Wait& wait) {
            return permits.attempt_grow(who, larger, capacity, old, wait);
        });
    }
    std::uint32_t held_by(Token home) {
        std::uint32_t held = 0;
        for (std::uint32_t i = 0; i < permits.capacity(); ++i) {
            const PermitCell& cell = permits.table()[1 + i];
            if (cell.holder == home) held += cell.count;
        }
        return held;
    }
};

}  // namespace

TEST(permits_are_booked_to_their_holders) {
    Pool pool(3, 3);
    CHECK_EQ(pool.permits.value(), 3u);
    CHECK_EQ(pool.try_acquire(1), Result::done);
    CHECK_EQ(pool.try_acquire(1), Result::done);
    CHECK_EQ(pool.try_acquire(2), Result::done);
    CHECK_EQ(pool.try_acquire(2), Result::empty);
    CHECK_EQ(pool.held_by(1), 2u);
    CHECK_EQ(pool.held_by(2), 1u);
    CHECK_EQ(pool.release(1), Result::done);
    CHECK_EQ(pool.held_by(1), 1u);
    CHECK_EQ(pool.permits.value(), 1u);
}

TEST(a_release_takes_from_its_own_first_then_from_the_others) {
    Pool pool(3, 3);
    for (const Token home : {1, 2, 2}) CHECK_EQ(pool.try_acquire(home), Result::done);
    CHECK_EQ(pool.release(1, 2), Result::done);
    CHECK_EQ(pool.held_by(1), 0u);
    CHECK_EQ(pool.held_by(2), 1u);
    CHECK_EQ(pool.release(9), Result::done, "another process may release, as with the standard library's");
    CHECK_EQ(pool.permits.value(), 3u);
}

TEST(a_release_beyond_the_bound_changes_nothing) {
    Pool pool(2, 3);
    CHECK_EQ(pool.try_acquire(1), Result::done);
    CHECK_EQ(pool.release(1, 3), Result::overflow);
    CHECK_EQ(pool.permits.value(), 1u);
    CHECK_EQ(pool.held_by(1), 1u);
    CHECK_EQ(pool.release(1, 2), Result::done, "one comes back, one is new");
    CHECK_EQ(pool.permits.value(), 3u);
    CHECK_EQ(pool.release(1), Result::overflow);
}

TEST(the_dead_give_back_what_they_held_one_holder_a_call) {
    Pool pool(4, 4);
    for (const Token home : {8, 9, 9, 1}) CHECK_EQ(pool.try_acquire(home), Result::done);
    pool.deaths.kill(8);
    pool.deaths.kill(9);
    Token dead = kNobody;
    CHECK_EQ(pool.try_acquire(1, false, &dead), Result::empty);
    CHECK_EQ(dead, kNobody);
    CHECK_EQ(pool.try_acquire(1, true, &dead), Result::done);
    CHECK_EQ(dead, 8u);
    CHECK_EQ(pool.try_acquire(1, true, &dead), Result::done);
    CHECK_EQ(dead, 9u);
    CHECK_EQ(pool.permits.value(), 1u);
    CHECK_EQ(pool.held_by(1), 3u);
}

TEST(a_cell_without_permits_is_taken_over_and_a_full_table_says_so) {
    Pool pool(10, 10);
    for (Token home = 1; home <= kCells; ++home) CHECK_EQ(pool.try_acquire(home), Result::done);
    CHECK_EQ(pool.try_acquire(9), Result::no_room);
    CHECK_EQ(pool.permits.value(), 10u - kCells, "nothing happened");
    CHECK_EQ(pool.release(2), Result::done);
    CHECK_EQ(pool.try_acquire(9), Result::done);
    CHECK_EQ(pool.held_by(9), 1u);
}

TEST(a_larger_table_keeps_the_books) {
    Pool pool(10, 10);
    for (Token home = 1; home <= kCells; ++home) CHECK_EQ(pool.try_acquire(home), Result::done);
    auto* larger = new PermitCell[Permits::table_cells(2 * kCells)]{};
    PermitCell* old = nullptr;
    CHECK_EQ(pool.grow(larger, kCells, old), Result::overflow, "it is not larger");
    CHECK(old == nullptr);
    CHECK_EQ(pool.grow(larger, 2 * kCells, old), Result::done);
    CHECK(old == pool.cells);
    discard(old);
    CHECK_EQ(pool.permits.capacity(), 2 * kCells);
    for (Token home = 1; home <= kCells; ++home) CHECK_EQ(pool.held_by(home), 1u);
    CHECK_EQ(pool.try_acquire(9), Result::done);
    CHECK_EQ(pool.permits.value(), 10u - kCells - 1);
}

TEST(a_death_in_the_section_costs_the_next_one_a_recount) {
    Pool pool(3, 3);
    CHECK_EQ(pool.try_acquire(1), Result::done);
    // As one leaves it who dies after its cell was written: the section held, the count of free ones not yet lowered.
    pool.cells[2].holder = 9;
    pool.cells[2].count = 1;
    CHECK(reinterpret_cast<treadle::word::Mutex<SharedWorld>*>(&pool.permits)->try_acquire(9));  // its first member
    pool.deaths.kill(9);
    CHECK_EQ(pool.permits.value(), 2u);
    CHECK_EQ(pool.try_acquire(2), Result::blocked);
    CHECK_EQ(pool.try_acquire(2, true), Result::done);
    CHECK_EQ(pool.permits.value(), 0u);
    Token dead = kNobody;
    CHECK_EQ(pool.try_acquire(2, true, &dead), Result::done);
    CHECK_EQ(dead, 9u);
}

TEST(never_more_inside_than_permits) {
    constexpr unsigned kThreads = 4, kPermits = 2;
    Pool pool(kPermits, kPermits);
    std::atomic<unsigned> inside{0};
    run_threads(kThreads, [&](unsigned i) {
        for (unsigned n = 0; n < rounds(); ++n) {
            CHECK_EQ(pool.acquire(i + 1), Result::done);
            CHECK(inside.fetch_add(1) < kPermits);
            CHECK(pool.permits.value() <= kPermits);
            inside.fetch_sub(1);
            CHECK_EQ(pool.release(i + 1), Result::done);
        }
    });
    CHECK_EQ(pool.permits.value(), kPermits);
}

TEST(one_permit_guards_plain_data) {
    Pool pool(1, 1);
    std::uint64_t count = 0;
    run_threads(3, [&](unsigned i) {
        for (unsigned n = 0; n < rounds(); ++n) {
            CHECK_EQ(pool.acquire(i + 1), Result::done);
            ++count;
            CHECK_EQ(pool.release(i + 1), Result::done);
        }
    });
    CHECK_EQ(count, 3u * std::uint64_t{rounds()});
}

TEST(a_release_of_several_lets_as_many_sleepers_go) {
    constexpr unsigned kSleepers = 3;
    for (unsigned lap = 0; lap < (check::sanitized ? 50u : 200u); ++lap) {
        Pool pool(0, kSleepers);
        std::atomic<unsigned> gone{0};
        run_threads(kSleepers + 1, [&](unsigned i) {
            if (i < kSleepers) gone += pool.acquire(i + 1) == Result::done;
            else CHECK_EQ(pool.release(40, kSleepers), Result::done);
        });
        CHECK_EQ(gone.load(), kSleepers);
        CHECK_EQ(pool.permits.value(), 0u);
    }
}

TEST(sleepers_get_what_the_dead_held) {
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 50u); ++lap) {
        Pool pool(3, 3);
        for (const Token home : {60, 60, 61}) CHECK_EQ(pool.try_acquire(home), Result::done);
        std::atomic<unsigned> told{0};
        run_threads(4, [&](unsigned i) {
            if (i == 3) {
                pool.deaths.kill(60);
                pool.deaths.kill(61);
                return;
            }
            Token dead = kNobody;
            CHECK_EQ(pool.acquire(i + 1, &dead, 1'000'000), Result::done);
            told += dead != kNobody;
        });
        CHECK_EQ(told.load(), 2u, "each of the dead is named once");
        CHECK_EQ(pool.permits.value(), 0u);
    }
}

TEST(the_table_grows_under_racing_holders) {
    constexpr unsigned kThreads = 4, kHomes = 8;
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Pool pool(kThreads * kHomes, kThreads * kHomes);
        run_threads(kThreads, [&](unsigned i) {
            for (Token home = i * kHomes + 1; home <= (i + 1) * kHomes; ++home)
                for (Result result; (result = pool.acquire(home)) != Result::done;) {
                    CHECK_EQ(result, Result::no_room);
                    const std::uint32_t capacity = pool.permits.capacity() * 2;
                    auto* larger = new PermitCell[Permits::table_cells(capacity)]{};
                    PermitCell* old = nullptr;
                    discard(pool.grow(larger, capacity, old) == Result::done ? old : larger);
                }
        });
        CHECK_EQ(pool.permits.value(), 0u);
        for (Token home = 1; home <= kThreads * kHomes; ++home) CHECK_EQ(pool.held_by(home), 1u);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
