// The readers-writer lock: its states and its books; then on real threads.
#include <atomic>
#include <cstdint>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/rwlock.hpp"

using namespace threads;

namespace {

using RWLock = treadle::word::RWLock<SharedWorld>;
using treadle::word::kNobody;
using treadle::word::OnDeath;
using treadle::word::ReaderCell;
using treadle::word::ReadTicket;

constexpr std::uint32_t kCells = 4;

unsigned rounds() { return check::scale(check::sanitized ? 1000u : 5000u, check::sanitized ? 30000u : 300000u); }

// A table is reached through its distance from the object, which the compiler takes for a place inside the object.
[[gnu::noinline]] void discard(ReaderCell* table) { delete[] table; }

/// A reader who waits, from one attempt to the next.
struct Reader {
    Token token;
    ReadTicket ticket{};
    Wait wait{};
};

struct Library {
    RWLock lock{};
    ReaderCell* const cells = new ReaderCell[1 + kCells]{};  // the first table; the library frees the last
    Deaths deaths;

    Library() { lock.initialise(cells, kCells); }
    Library(const Library&) = delete;
    ~Library() { discard(lock.table()); }

    Result try_read(Token token, OnDeath on_death = OnDeath::report, bool look = false, Token* dead = nullptr) {
        Reader reader{token};
        reader.wait.announce = false;
        return attempt_read(reader, on_death, look, dead);
    }
    Result attempt_read(Reader& reader, OnDeath on_death = OnDeath::report, bool look = false, Token* dead = nullptr) {
        Caller who{reader.token, deaths, look};
        Token found;
        const Result result = lock.attempt_read(who, who.token, true, on_death, reader.ticket, found, reader.wait);
        if (dead != nullptr) *dead = found;
        return result;
    }
    Result cancel_read(Reader& reader) {
        return insist<SharedWorld>(Caller{reader.token, deaths}, [&](auto& who, Wait& wait) {
            return lock.attempt_cancel_read(who, who.token, reader.ticket, wait);
        });
    }
    Result try_write(Token token, OnDeath on_death = OnDeath::report, bool look = false, Token* dead = nullptr,
                     bool announce = false) {
        Caller who{token, deaths, look};
        Wait wait;
        wait.announce = announce;
        Token found;
        const Result result = lock.attempt_write(who, token, on_death, found, wait);
        if (dead != nullptr) *dead = found;
        return result;
    }
    Result claim(Token token) { return try_write(token, OnDeath::report, false, nullptr, true); }
    Result cancel_write(Token token) {
        return insist<SharedWorld>(Caller{token, deaths},
                                   [&](auto& who, Wait& wait) { return lock.attempt_cancel_write(who, token, wait); });
    }
    Result end_read(Token token) {
        return insist<SharedWorld>(Caller{token, deaths},
                                   [&](auto& who, Wait& wait) { return lock.attempt_end_read(who, token, wait); });
    }
    Result end_write(Token token) {
        return insist<SharedWorld>(Caller{token, deaths},
                                   [&](auto& who, Wait& wait) { return lock.attempt_end_write(who, token, wait); });
    }
    Result restore(Token token) {
        return insist<SharedWorld>(Caller{token, deaths},
                                   [&](auto& who, Wait& wait) { return lock.attempt_restore(who, token, wait); });
    }
    Result grow(ReaderCell* larger, std::uint32_t capacity, ReaderCell*& old) {
        return insist<SharedWorld>(Caller{50, deaths}, [&](auto& who, Wait& wait) {
            return lock.attempt_grow(who, larger, capacity, old, wait);
        });
    }
    std::uint32_t reads_of(Token token) {
        std::uint32_t reads = 0;
        insist<SharedWorld>(Caller{token, deaths},
                            [&](auto& who, Wait& wait) { return lock.attempt_count_of(who, token, reads, wait); });
        return reads;
    }
    std::uint32_t living_reads() {
        std::uint32_t reads = 0;
        insist<SharedWorld>(Caller{50, deaths}, [&](auto& who, Wait& wait) { return lock.attempt_count(who, reads, wait); });
        return reads;
    }

    void read(Token token) {
        ReadTicket ticket;
        for (;;) {
            const Result result = insist<SharedWorld>(Caller{token, deaths}, [&](auto& who, Wait& wait) {
                Token dead;
                return lock.attempt_read(who, token, true, OnDeath::report, ticket, dead, wait);
            });
            if (result == Result::done) return;
            CHECK_EQ(result, Result::no_room);
            const std::uint32_t capacity = lock.capacity() * 2;
            auto* larger = new ReaderCell[RWLock::table_cells(capacity)]{};
            ReaderCell* old = nullptr;
            discard(grow(larger, capacity, old) == Result::done ? old : larger);
        }
    }
    void write(Token token) {
        CHECK_EQ(insist<SharedWorld>(Caller{token, deaths},
                                     [&](auto& who, Wait& wait) {
                                         Token dead;
                                         return lock.attempt_write(who, token, OnDeath::report, dead, wait);
                                     }),
                 Result::done);
    }
};

}  // namespace

TEST(many_read_or_one_writes) {
    Library l;
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.try_read(2), Result::done);
    CHECK_EQ(l.lock.reading(), 2u);
    CHECK_EQ(l.try_write(3), Result::blocked);
    CHECK_EQ(l.end_read(1), Result::done);
    CHECK_EQ(l.try_write(3), Result::blocked);
    CHECK_EQ(l.end_read(2), Result::done);
    CHECK_EQ(l.try_write(3), Result::done);
    CHECK_EQ(l.lock.writer().owner(), 3u);
    CHECK_EQ(l.try_read(1), Result::blocked);
    CHECK_EQ(l.try_write(1), Result::blocked);
    CHECK_EQ(l.end_write(3), Result::done);
    CHECK_EQ(l.try_read(1), Result::done);
}

TEST(only_the_holder_releases) {
    Library l;
    CHECK_EQ(l.end_read(1), Result::not_held);
    CHECK_EQ(l.end_write(1), Result::not_held);
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.end_read(2), Result::not_held);
    CHECK_EQ(l.end_write(1), Result::not_held);
    CHECK_EQ(l.end_read(1), Result::done);
    CHECK_EQ(l.end_read(1), Result::not_held);
    CHECK_EQ(l.try_write(1), Result::done);
    CHECK_EQ(l.end_write(2), Result::not_held);
    CHECK_EQ(l.restore(1), Result::not_held, "it is no recovery");
    CHECK_EQ(l.end_write(1), Result::done);
}

TEST(reads_are_counted_by_thread) {
    Library l;
    for (const Token token : {1, 1, 2}) CHECK_EQ(l.try_read(token), Result::done);
    CHECK_EQ(l.reads_of(1), 2u);
    CHECK_EQ(l.reads_of(2), 1u);
    CHECK_EQ(l.reads_of(3), 0u);
    l.deaths.kill(1);
    CHECK_EQ(l.living_reads(), 1u);
    CHECK_EQ(l.lock.reading(), 3u, "until somebody waits for it");
}

TEST(a_claim_keeps_newcomers_out_but_not_who_reads) {
    Library l;
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.claim(2), Result::blocked);
    CHECK_EQ(l.try_read(3), Result::blocked);
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.end_read(1), Result::done);
    CHECK_EQ(l.end_read(1), Result::done);
    CHECK_EQ(l.try_read(3), Result::blocked, "the claim outlasts the readers");
    CHECK_EQ(l.try_write(4), Result::done, "and keeps no writer out");
    CHECK_EQ(l.end_write(4), Result::done);
    CHECK_EQ(l.try_write(2), Result::done);
    CHECK_EQ(l.end_write(2), Result::done);
    CHECK_EQ(l.try_read(3), Result::done);
}

TEST(who_waits_to_read_is_in_when_the_writer_is_out) {
    Library l;
    CHECK_EQ(l.try_write(1), Result::done);
    Reader reader{2}, other{3};
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.attempt_read(other), Result::blocked);
    CHECK_EQ(l.claim(4), Result::blocked);
    CHECK_EQ(l.end_write(1), Result::done);
    CHECK_EQ(l.lock.reading(), 2u, "before they know");
    CHECK_EQ(l.try_write(4), Result::blocked);
    CHECK_EQ(l.attempt_read(reader), Result::done);
    CHECK_EQ(l.cancel_read(other), Result::gone, "too late to give up");
    CHECK_EQ(l.end_read(2), Result::done);
    CHECK_EQ(l.try_read(2), Result::blocked, "the claim");
    CHECK_EQ(l.end_read(3), Result::done);
    CHECK_EQ(l.try_write(4), Result::done);
}

TEST(who_gives_up_waiting_to_read_is_not_let_in) {
    Library l;
    CHECK_EQ(l.try_write(1), Result::done);
    Reader reader{2};
    CHECK_EQ(l.cancel_read(reader), Result::done, "it has not waited yet");
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK(reader.ticket.enlisted);
    CHECK_EQ(l.cancel_read(reader), Result::done);
    CHECK(!reader.ticket.enlisted);
    CHECK_EQ(l.end_write(1), Result::done);
    CHECK_EQ(l.lock.reading(), 0u);
}

TEST(a_claim_that_is_given_up_lets_the_readers_in) {
    Library l;
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.claim(2), Result::blocked);
    Reader reader{3};
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.cancel_write(9), Result::done, "that is not its own");
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.cancel_write(2), Result::done);
    CHECK_EQ(l.attempt_read(reader), Result::done);
    CHECK_EQ(l.lock.reading(), 2u);
}

TEST(a_claim_of_the_dead_is_void_for_who_looks) {
    Library l;
    CHECK_EQ(l.try_read(1), Result::done);
    CHECK_EQ(l.claim(2), Result::blocked);
    l.deaths.kill(2);
    Reader reader{3};
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.attempt_read(reader, OnDeath::report, true), Result::done);
    CHECK_EQ(l.try_read(4), Result::done);
}

TEST(readers_that_died_are_forgotten_by_who_waits_for_them) {
    Library l;
    for (const Token token : {8, 8, 9, 1}) CHECK_EQ(l.try_read(token), Result::done);
    l.deaths.kill(8);
    l.deaths.kill(9);
    CHECK_EQ(l.try_write(2), Result::blocked);
    CHECK_EQ(l.try_write(2, OnDeath::report, true), Result::blocked, "one of them lives");
    CHECK_EQ(l.lock.reading(), 1u);
    CHECK_EQ(l.end_read(1), Result::done);
    CHECK_EQ(l.try_write(2), Result::done);
}

// A task of the process that the caller's was forked from.
TEST(who_was_taken_for_dead_gives_up_waiting_to_read) {
    for (const bool cell_is_another_s : {false, true}) {
        Library l;
        CHECK_EQ(l.try_read(1), Result::done);
        CHECK_EQ(l.claim(3), Result::blocked);
        Reader reader{2}, other{4};
        CHECK_EQ(l.attempt_read(reader), Result::blocked);
        l.deaths.kill(2);
        CHECK_EQ(l.try_write(3, OnDeath::report, true), Result::blocked, "and forgets the dead");
        if (cell_is_another_s) CHECK_EQ(l.attempt_read(other), Result::blocked);
        CHECK_EQ(l.cancel_read(reader), Result::done);
        CHECK(!reader.ticket.enlisted);
        CHECK_EQ(l.end_read(1), Result::done);
        CHECK_EQ(l.try_write(3), Result::done);
        CHECK_EQ(l.end_write(3), Result::done);
        CHECK_EQ(l.lock.reading(), cell_is_another_s ? 1u : 0u);
    }
}

TEST(a_writer_s_death_is_told_to_all_until_the_lock_is_recovered) {
    Library l;
    CHECK_EQ(l.try_write(9), Result::done);
    Reader reader{1};
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    l.deaths.kill(9);
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.attempt_read(reader, OnDeath::report, true), Result::owner_died);
    CHECK(!reader.ticket.enlisted);
    CHECK_EQ(l.try_read(2), Result::inconsistent);
    CHECK_EQ(l.try_write(3), Result::inconsistent);
    CHECK_EQ(l.lock.writer().owner(), 9u);
    CHECK_EQ(l.end_write(9), Result::not_held);
    Token dead;
    CHECK_EQ(l.try_write(4, OnDeath::mark, false, &dead), Result::done);
    CHECK_EQ(dead, 9u);
    CHECK_EQ(l.attempt_read(reader), Result::blocked);
    CHECK_EQ(l.end_write(4), Result::done, "it has repaired nothing");
    CHECK_EQ(l.attempt_read(reader), Result::inconsistent);
    CHECK_EQ(l.try_write(4, OnDeath::mark, false, &dead), Result::done);
    CHECK_EQ(dead, 4u);
    CHECK_EQ(l.restore(4), Result::done);
    CHECK_EQ(l.attempt_read(reader), Result::done);
}

TEST(a_writer_that_finds_a_death_leaves_no_claim) {
    Library l;
    CHECK_EQ(l.try_write(9), Result::done);
    CHECK_EQ(l.claim(1), Result::blocked);
    l.deaths.kill(9);
    CHECK_EQ(l.try_write(1, OnDeath::report, true), Result::owner_died);
    CHECK_EQ(l.try_write(2, OnDeath::adopt), Result::done);
    CHECK_EQ(l.end_write(2), Result::done);
    CHECK_EQ(l.try_read(3), Result::done);
}

TEST(it_is_adopted_by_a_writer_or_a_reader) {
    for (const bool writes : {true, false}) {
        Library l;
        CHECK_EQ(l.try_write(9), Result::done);
        Reader waiting{5};
        CHECK_EQ(l.attempt_read(waiting), Result::blocked);
        l.deaths.kill(9);
        Token dead = kNobody;
        CHECK_EQ(writes ? l.try_write(1, OnDeath::adopt, true, &dead) : l.try_read(1, OnDeath::adopt, true, &dead),
                 Result::done);
        CHECK_EQ(dead, 9u);
        CHECK(!l.lock.writer().inconsistent());
        CHECK_EQ(l.attempt_read(waiting), writes ? Result::blocked : Result::done);
        CHECK_EQ(writes ? l.end_write(1) : l.end_read(1), Result::done);
        CHECK_EQ(l.try_read(2, OnDeath::report, true, &dead), Result::done);
        CHECK_EQ(dead, kNobody);
    }
}

TEST(a_full_table_says_so_unless_the_dead_fill_it) {
    Library l;
    for (Token token = 1; token <= kCells; ++token) CHECK_EQ(l.try_read(token), Result::done);
    CHECK_EQ(l.try_read(9), Result::no_room);
    CHECK_EQ(l.try_read(1), Result::done);
    l.deaths.kill(2);
    CHECK_EQ(l.try_read(9), Result::done);
    CHECK_EQ(l.lock.reading(), kCells + 1);
    CHECK_EQ(l.try_read(10), Result::no_room);
    CHECK_EQ(l.end_read(9), Result::done);
    CHECK_EQ(l.try_read(10), Result::done);
}

TEST(a_larger_table_keeps_the_books) {
    Library l;
    for (Token token = 1; token <= kCells; ++token) CHECK_EQ(l.try_read(token), Result::done);
    auto* larger = new ReaderCell[RWLock::table_cells(2 * kCells)]{};
    ReaderCell* old = nullptr;
    CHECK_EQ(l.grow(larger, kCells, old), Result::overflow, "it is not larger");
    CHECK(old == nullptr);
    CHECK_EQ(l.grow(larger, 2 * kCells, old), Result::done);
    CHECK(old == l.cells);
    discard(old);
    CHECK_EQ(l.lock.capacity(), 2 * kCells);
    for (Token token = 1; token <= kCells; ++token) CHECK_EQ(l.reads_of(token), 1u);
    CHECK_EQ(l.try_read(9), Result::done);
}

TEST(an_admission_that_a_death_cut_short_is_completed) {
    Library l;
    CHECK_EQ(l.try_write(9), Result::done);
    Reader first{1}, second{2};
    CHECK_EQ(l.attempt_read(first), Result::blocked);
    CHECK_EQ(l.attempt_read(second), Result::blocked);
    // As one leaves it who dies after it let the first in: the section held, the writer out, the phase not over.
    auto* words = reinterpret_cast<treadle::word::Mutex<SharedWorld>*>(&l.lock);  // its first members: section and writer
    CHECK(words[0].try_acquire(9));
    CHECK_EQ(words[1].release(), Result::done);
    l.cells[1].counts = 1;
    l.deaths.kill(9);
    CHECK_EQ(l.attempt_read(second), Result::blocked);
    CHECK_EQ(l.attempt_read(second, OnDeath::report, true), Result::done);
    CHECK_EQ(l.attempt_read(first), Result::done);
    CHECK_EQ(l.lock.reading(), 2u);
}

TEST(writers_exclude_everybody_on_real_threads) {
    constexpr unsigned kThreads = 4;
    Library l;
    std::uint64_t first = 0, second = 0;  // plain: the lock is what guards them
    run_threads(kThreads, [&](unsigned i) {
        const Token me = i + 1;
        Random random(i);
        for (unsigned n = 0; n < rounds(); ++n) {
            if (random.below(4) == 0) {
                l.write(me);
                ++first;
                ++second;
                CHECK_EQ(l.end_write(me), Result::done);
            } else {
                l.read(me);
                CHECK_EQ(first, second);
                if (random.below(8) == 0) {
                    l.read(me);
                    CHECK_EQ(l.end_read(me), Result::done);
                }
                CHECK_EQ(l.end_read(me), Result::done);
            }
        }
    });
    CHECK_EQ(first, second);
    CHECK_EQ(l.lock.reading(), 0u);
    CHECK_EQ(l.lock.writer().peek(), 0u);
}

TEST(neither_side_starves_the_other_on_real_threads) {
    // The streams end only when the one that they would starve has been served so many times.
    const unsigned laps = check::sanitized ? 50 : 300;
    for (const bool one_writes : {true, false}) {
        Library l;
        std::atomic<bool> served{false};
        run_threads(4, [&](unsigned i) {
            const Token me = i + 1;
            for (unsigned n = 0; i == 0 ? n < laps : !served; ++n) {
                if ((i == 0) == one_writes) {
                    l.write(me);
                    CHECK_EQ(l.end_write(me), Result::done);
                } else {
                    l.read(me);
                    CHECK_EQ(l.end_read(me), Result::done);
                }
            }
            if (i == 0) served = true;
        });
    }
}

TEST(the_table_grows_under_racing_readers) {
    constexpr unsigned kThreads = 4, kTokens = 8;
    for (unsigned lap = 0; lap < (check::sanitized ? 20u : 100u); ++lap) {
        Library l;
        run_threads(kThreads, [&](unsigned i) {
            for (Token token = i * kTokens + 1; token <= (i + 1) * kTokens; ++token) l.read(token);
        });
        CHECK_EQ(l.lock.reading(), kThreads * kTokens);
        for (Token token = 1; token <= kThreads * kTokens; ++token) CHECK_EQ(l.end_read(token), Result::done);
        CHECK_EQ(l.try_write(1), Result::done);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
