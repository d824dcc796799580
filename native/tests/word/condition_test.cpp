// The condition's waiters: tickets, holes, the dead, growth; then on real threads.
#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/word/condition.hpp"

using namespace threads;

namespace {

using Condition = treadle::word::Condition<SharedWorld>;
using Mutex = treadle::word::Mutex<SharedWorld>;

constexpr std::uint32_t kTickets = 4;

unsigned rounds() { return check::scale(check::sanitized ? 500u : 3000u, check::sanitized ? 20000u : 200000u); }

// A table is reached through its distance from the object, which the compiler takes for a place inside the object.
[[gnu::noinline]] void discard(Token* table) { delete[] table; }

struct Room {
    Condition condition{};
    Token* const first = new Token[Condition::table_words(kTickets)]{};  // the room frees the last table
    Mutex lock{};
    Deaths deaths;

    Room() { condition.initialise(first, kTickets); }
    Room(const Room&) = delete;
    ~Room() { discard(condition.table()); }

    Caller caller(Token token) const { return {token, deaths}; }

    Result enlist(Token me, std::uint32_t& ticket) {
        return insist<SharedWorld>(caller(me), [&](auto& who, Wait& wait) { return condition.attempt_enlist(who, ticket, wait); });
    }
    /// As the public class does: a full table is replaced.
    void enlist_or_grow(Token me, std::uint32_t& ticket) {
        while (enlist(me, ticket) == Result::no_room) {
            const std::uint32_t capacity = condition.capacity() * 2;
            auto* larger = new Token[Condition::table_words(capacity)]{};
            Token* old = nullptr;
            discard(grow(larger, capacity, old) == Result::done ? old : larger);
        }
    }
    Result grow(Token* larger, std::uint32_t capacity, Token*& old) {
        return insist<SharedWorld>(caller(62), [&](auto& who, Wait& wait) {
            return condition.attempt_grow(who, larger, capacity, old, wait);
        });
    }
    Result cancel(Token me, std::uint32_t ticket) {
        return insist<SharedWorld>(caller(me), [&](auto& who, Wait& wait) { return condition.attempt_cancel(who, ticket, wait); });
    }
    std::uint32_t notify(Token me, std::uint32_t count) {
        std::uint32_t released = 0;
        insist<SharedWorld>(caller(me),
                            [&](auto& who, Wait& wait) { return condition.attempt_notify(who, count, released, wait); });
        return released;
    }
    bool released(std::uint32_t ticket) {
        Wait wait;
        return condition.attempt_wait(ticket, wait) == Result::done;
    }
    void wait(std::uint32_t ticket) {
        insist<SharedWorld>(Anybody{}, [&](auto&, Wait& wait) { return condition.attempt_wait(ticket, wait); });
    }
    void acquire(Token me) {
        insist<SharedWorld>(caller(me), [&](auto& who, Wait& wait) { return lock.attempt_acquire(who, wait); });
    }
};

}  // namespace

TEST(a_notify_releases_as_many_as_it_says_the_longest_waiting_first) {
    Room room;
    std::uint32_t tickets[4];
    for (Token me = 1; me <= 4; ++me) CHECK_EQ(room.enlist(me, tickets[me - 1]), Result::done);
    CHECK_EQ(room.condition.waiting(), 4u);
    CHECK_EQ(room.notify(9, 1), 1u);
    CHECK(room.released(tickets[0]));
    CHECK(!room.released(tickets[1]));
    CHECK_EQ(room.notify(9, 2), 2u);
    CHECK(room.released(tickets[1]) && room.released(tickets[2]) && !room.released(tickets[3]));
    CHECK_EQ(room.notify(9, 99), 1u);
    CHECK(room.released(tickets[3]));
    CHECK_EQ(room.notify(9, 1), 0u, "nobody waits");
    CHECK_EQ(room.condition.waiting(), 0u);
    std::uint32_t late = 0;
    CHECK_EQ(room.enlist(5, late), Result::done);
    CHECK(!room.released(late), "a notification is not stored");
}

TEST(who_gave_up_is_passed_over) {
    Room room;
    std::uint32_t tickets[3];
    for (Token me = 1; me <= 3; ++me) room.enlist(me, tickets[me - 1]);
    CHECK_EQ(room.cancel(1, tickets[0]), Result::done);
    CHECK_EQ(room.notify(9, 1), 1u);
    CHECK(room.released(tickets[1]));
    CHECK(!room.released(tickets[2]));
    CHECK_EQ(room.cancel(2, tickets[1]), Result::gone, "it was released before it gave up");
    CHECK_EQ(room.cancel(3, tickets[2]), Result::done);
    CHECK_EQ(room.condition.waiting(), 0u);
    CHECK_EQ(room.notify(9, 1), 0u);
}

TEST(the_dead_are_passed_over) {
    Room room;
    std::uint32_t tickets[3];
    for (Token me = 1; me <= 3; ++me) room.enlist(me, tickets[me - 1]);
    room.deaths.kill(1);
    room.deaths.kill(2);
    CHECK_EQ(room.notify(9, 1), 1u);
    CHECK(room.released(tickets[2]));
    CHECK_EQ(room.notify(9, 1), 0u);
}

TEST(holes_are_used_again_before_the_table_has_to_grow) {
    Room room;
    std::uint32_t tickets[kTickets], ticket = 0;
    for (Token me = 1; me <= kTickets; ++me) room.enlist(me, tickets[me - 1]);
    CHECK_EQ(room.enlist(9, ticket), Result::no_room);
    CHECK_EQ(room.cancel(2, tickets[1]), Result::done);
    CHECK_EQ(room.enlist(9, ticket), Result::done);
    CHECK_EQ(ticket, tickets[1]);
    CHECK_EQ(room.enlist(10, ticket), Result::no_room);
    room.deaths.kill(3);
    CHECK_EQ(room.enlist(10, ticket), Result::done);
    CHECK_EQ(ticket, tickets[2]);
    for (int n = 0; n < 100; ++n) {  // waits that time out beside sleepers do not fill the table
        CHECK_EQ(room.cancel(10, ticket), Result::done);
        CHECK_EQ(room.enlist(10, ticket), Result::done);
    }
    CHECK_EQ(room.notify(11, 99), kTickets);
}

TEST(a_larger_table_keeps_the_places) {
    Room room;
    std::uint32_t tickets[2 * kTickets];
    std::uint32_t ticket = 0;
    for (int n = 0; n < 3; ++n) {  // so that the tickets wrap around the first table
        room.enlist(1, ticket);
        room.notify(9, 1);
    }
    for (Token me = 1; me <= kTickets; ++me) room.enlist(me, tickets[me - 1]);
    CHECK_EQ(room.enlist(5, ticket), Result::no_room);
    Token* old = nullptr;
    CHECK_EQ(room.grow(room.first, kTickets, old), Result::overflow);
    auto* larger = new Token[Condition::table_words(2 * kTickets)]{};
    CHECK_EQ(room.grow(larger, 2 * kTickets, old), Result::done);
    CHECK(old == room.first);
    discard(old);
    CHECK_EQ(room.condition.capacity(), 2 * kTickets);
    for (Token me = kTickets + 1; me <= 2 * kTickets; ++me) CHECK_EQ(room.enlist(me, tickets[me - 1]), Result::done);
    for (std::uint32_t ticket_released : tickets) {
        CHECK(!room.released(ticket_released));
        CHECK_EQ(room.notify(9, 1), 1u);
        CHECK(room.released(ticket_released));
    }
}

TEST(a_bounded_buffer_of_plain_data) {
    // The textbook's use: two conditions over one lock, and every wake-up counts.
    constexpr unsigned kProducers = 2, kConsumers = 2, kRoom = 3;
    Room not_empty, not_full;
    Mutex& lock = not_empty.lock;
    std::deque<std::uint64_t> buffer;
    std::vector<std::uint64_t> taken[kConsumers];
    const auto sleep_on = [&](Room& room, Token me) {
        std::uint32_t ticket = 0;
        room.enlist_or_grow(me, ticket);
        lock.release();
        room.wait(ticket);
        not_empty.acquire(me);
    };
    run_threads(kProducers + kConsumers, [&](unsigned i) {
        const Token me = i + 1;
        for (std::uint64_t n = 0; n < rounds(); ++n) {
            not_empty.acquire(me);
            if (i < kProducers) {
                while (buffer.size() == kRoom) sleep_on(not_full, me);
                buffer.push_back(std::uint64_t{i} << 32 | n);
                not_empty.notify(me, 1);
            } else {
                while (buffer.empty()) sleep_on(not_empty, me);
                taken[i - kProducers].push_back(buffer.front());
                buffer.pop_front();
                not_full.notify(me, 1);
            }
            lock.release();
        }
    });
    CHECK(buffer.empty());
    std::vector<unsigned> seen(kProducers * rounds());
    for (const auto& items : taken) {
        std::uint64_t next[kProducers]{};
        for (const std::uint64_t item : items) {
            ++seen[(item >> 32) * rounds() + (item & 0xffffffff)];
            CHECK((item & 0xffffffff) >= next[item >> 32], "the order of a producer's items");
            next[item >> 32] = (item & 0xffffffff) + 1;
        }
    }
    unsigned wrong = 0;
    for (const unsigned count : seen) wrong += count != 1;
    CHECK_EQ(wrong, 0u);
}

TEST(what_was_notified_was_received_though_many_give_up) {
    constexpr unsigned kWaiters = 4;
    Room room;
    std::atomic<std::uint64_t> received{0}, gave_up{0}, notified{0};
    std::atomic<unsigned> left{kWaiters};
    run_threads(kWaiters + 1, [&](unsigned i) {
        const Token me = i + 1;
        Random random(i + 1);
        if (i == kWaiters) {
            while (left.load() != 0) {
                room.acquire(me);
                notified += room.notify(me, 1 + static_cast<std::uint32_t>(random.below(3)));
                CHECK(room.condition.waiting() <= 2 * kWaiters, room.condition.waiting());
                room.lock.release();
            }
            return;
        }
        for (unsigned n = 0; n < rounds(); ++n) {
            std::uint32_t ticket = 0;
            room.acquire(me);
            room.enlist_or_grow(me, ticket);
            room.lock.release();
            if (random.below(2) == 0) {
                room.wait(ticket);
                ++received;
            } else {
                ++(room.cancel(me, ticket) == Result::done ? gave_up : received);
            }
        }
        left.fetch_sub(1);
    });
    CHECK_EQ(received.load(), notified.load());
    CHECK_EQ(received.load() + gave_up.load(), std::uint64_t{kWaiters} * rounds());
    CHECK_EQ(room.condition.waiting(), 0u);
}

TEST(the_table_grows_under_racing_waiters_and_all_are_released) {
    constexpr unsigned kWaiters = 12;
    for (unsigned lap = 0; lap < (check::sanitized ? 10u : 50u); ++lap) {
        Room room;
        std::atomic<unsigned> enlisted{0}, gone{0};
        run_threads(kWaiters + 1, [&](unsigned i) {
            if (i == kWaiters) {
                await([&] { return enlisted.load() == kWaiters; });
                CHECK_EQ(room.condition.waiting(), kWaiters);
                CHECK_EQ(room.notify(60, 99), kWaiters);
                return;
            }
            std::uint32_t ticket = 0;
            room.enlist_or_grow(i + 1, ticket);
            enlisted.fetch_add(1);
            room.wait(ticket);
            gone.fetch_add(1);
        });
        CHECK_EQ(gone.load(), kWaiters);
        CHECK(room.condition.capacity() >= kWaiters);
    }
}

int main(int argc, char** argv) { return check::main(argc, argv); }
