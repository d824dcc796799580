// Condition and barrier, where waiters meet, under death at every instruction.
#include <cstdint>
#include <string>

#include "crash/word_fixture.hpp"
#include "treadle/word/barrier.hpp"
#include "treadle/word/condition.hpp"

namespace arena_crash {
namespace {

// --- Condition -------------------------------------------------------------------------------------------------------

using Condition = treadle::word::Condition<SharedWorld>;
constexpr std::uint32_t kTickets = 2;

struct Waiters {
    Condition condition;
    Token table[1 + kTickets];
    std::uint32_t tickets[4];  // of the keeper
};

Result enlist_keeper(Waiters& w, int index) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return w.condition.attempt_enlist(who, w.tickets[index], wait);
    });
}
Result notify(Waiters& w, std::uint32_t count, std::uint32_t& released) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return w.condition.attempt_notify(who, count, released, wait);
    });
}
bool is_released(Waiters& w, int index) {
    Wait wait;
    return w.condition.attempt_wait(w.tickets[index], wait) == Result::done;
}

void enlist_victim(Waiters& w) {
    std::uint32_t ticket = 0;
    self->insist([&](auto& who, Wait& wait) { return w.condition.attempt_enlist(who, ticket, wait); });
}

// Whatever the victim was about: a live waiter that comes now is the one that a notification reaches.
std::string a_newcomer_is_notified(Waiters& w) {
    CRASH_REQUIRE(enlist_keeper(w, 3) == Result::done);
    std::uint32_t released = 0;
    CRASH_REQUIRE(!is_released(w, 3));
    CRASH_REQUIRE(notify(w, 1, released) == Result::done && released == 1, "%u released", released);
    CRASH_REQUIRE(is_released(w, 3));
    CRASH_REQUIRE(notify(w, 9, released) == Result::done && released == 0 && w.condition.waiting() == 0);
    return "";
}

void add_condition_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Waiters>(name, Kind::condition, parts...));
    };
    constexpr auto empty = [](Waiters& w) { w.condition.initialise(w.table, kTickets); };
    constexpr auto keeper_waits = [](Waiters& w) {
        w.condition.initialise(w.table, kTickets);
        enlist_keeper(w, 0);
    };
    constexpr auto keeper_fills = [](Waiters& w) {
        w.condition.initialise(w.table, kTickets);
        enlist_keeper(w, 0);
        enlist_keeper(w, 1);
    };
    add("condition/enlist", empty, nothing<Waiters>, enlist_victim, [](Waiters& w, const Crash& crash) -> std::string {
        CRASH_REQUIRE(!crash.finished || w.condition.waiting() == 1);
        return a_newcomer_is_notified(w);
    });
    add("condition/cancel", keeper_waits, enlist_victim,
        [](Waiters& w) {
            std::uint32_t ticket = w.tickets[0] + 1;
            self->insist([&](auto& who, Wait& wait) { return w.condition.attempt_cancel(who, ticket, wait); });
        },
        [](Waiters& w, const Crash&) -> std::string {
            CRASH_REQUIRE(!is_released(w, 0));
            std::uint32_t released = 0;
            CRASH_REQUIRE(notify(w, 2, released) == Result::done && released == 1 && is_released(w, 0));
            return a_newcomer_is_notified(w);
        });
    add("condition/notify", keeper_fills, nothing<Waiters>,
        [](Waiters& w) {
            std::uint32_t released = 0;
            self->insist([&](auto& who, Wait& wait) { return w.condition.attempt_notify(who, 1, released, wait); });
        },
        [](Waiters& w, const Crash& crash) -> std::string {
            CRASH_REQUIRE(is_released(w, 0) || !crash.finished);
            CRASH_REQUIRE(!is_released(w, 1));
            const bool first = is_released(w, 0);
            std::uint32_t released = 0;
            CRASH_REQUIRE(notify(w, 9, released) == Result::done && released == (first ? 1u : 2u), "%u", released);
            CRASH_REQUIRE(is_released(w, 0) && is_released(w, 1));
            return a_newcomer_is_notified(w);
        });
    add("condition/taking the place of one who gave up",
        [](Waiters& w) {
            w.condition.initialise(w.table, kTickets);
            enlist_keeper(w, 0);
            enlist_keeper(w, 1);
            at_once(keeper->caller(),
                    [&](auto& who, Wait& wait) { return w.condition.attempt_cancel(who, w.tickets[1], wait); });
        },
        nothing<Waiters>, enlist_victim,
        [](Waiters& w, const Crash&) -> std::string {
            std::uint32_t released = 0;
            CRASH_REQUIRE(!is_released(w, 0));
            CRASH_REQUIRE(notify(w, 9, released) == Result::done && released == 1 && is_released(w, 0), "%u", released);
            return a_newcomer_is_notified(w);
        });
    add("condition/growth of the table", keeper_fills, nothing<Waiters>,
        [](Waiters& w) {
            Mapping::Caller who = victim();
            std::uint32_t ticket = 0;
            Wait none;
            if (w.condition.attempt_enlist(who, ticket, none) != Result::no_room) return;
            constexpr std::uint32_t capacity = 2 * kTickets;
            SharedBlock* block = nullptr;
            self->insist([&](auto& caller, Wait& wait) {
                if (self->arena.enter(caller, wait) == Result::blocked) return Result::blocked;
                block = self->arena.heap.allocate(kBlockHeader + Condition::table_words(capacity) * sizeof(Token),
                                                  Kind::table, own(object));
                self->arena.leave();
                return Result::done;
            });
            Token* old;
            self->insist([&](auto& caller, Wait& wait) {
                return w.condition.attempt_grow(caller, reinterpret_cast<Token*>(block + 1), capacity, old, wait);
            });
            enlist_victim(w);
        },
        [](Waiters& w, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || (w.condition.waiting() == 3 && w.condition.capacity() == 2 * kTickets));
            std::uint32_t released = 0;
            CRASH_REQUIRE(!is_released(w, 0) && !is_released(w, 1));
            CRASH_REQUIRE(notify(w, 1, released) == Result::done && is_released(w, 0) && !is_released(w, 1));
            CRASH_REQUIRE(notify(w, 9, released) == Result::done && released == 1 && is_released(w, 1), "%u", released);
            return a_newcomer_is_notified(w);
        });
}

// --- Barrier ---------------------------------------------------------------------------------------------------------

using Barrier = treadle::word::Barrier<SharedWorld>;

struct Gate {
    Barrier barrier;
    treadle::word::BarrierCell cells[3];
    Token victim;
    std::uint32_t phase, index;  // of the keeper's arrival
};

Result keeper_arrives(Gate& g) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return g.barrier.attempt_arrive(who, g.phase, g.index, wait);
    });
}
Result keeper_waits(Gate& g) {
    return at_once(keeper->caller(),
                   [&](auto& who, Wait& wait) { return g.barrier.attempt_wait(who, g.phase, wait); });
}

// After a reset the barrier serves a round of live parties: here the keeper, `parties` times.
std::string a_new_round_goes_through(Gate& g) {
    CRASH_REQUIRE(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                      return g.barrier.attempt_reset(who, wait);
                  }) == Result::done);
    CRASH_REQUIRE(!g.barrier.is_broken() && g.barrier.culprit() == kNobody);
    for (std::uint32_t i = 0; i < g.barrier.parties(); ++i)
        CRASH_REQUIRE(keeper_arrives(g) == Result::done && g.index == i, "index %u, not %u", g.index, i);
    CRASH_REQUIRE(keeper_waits(g) == Result::blocked);
    CRASH_REQUIRE(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                      return g.barrier.attempt_trip(who, g.phase, wait);
                  }) == Result::done);
    CRASH_REQUIRE(keeper_waits(g) == Result::done && g.barrier.waiting() == 0);
    return "";
}

void arrive_as_victim(Gate& g) {
    std::uint32_t phase, index;
    self->insist([&](auto& who, Wait& wait) { return g.barrier.attempt_arrive(who, phase, index, wait); });
}

void add_barrier_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Gate>(name, Kind::barrier, parts...));
    };
    constexpr auto tell_name = [](Gate& g) { g.victim = self->token(); };
    add("barrier/arrive",
        [](Gate& g) {
            g.barrier.initialise(3, g.cells);
            keeper_arrives(g);
        },
        tell_name, arrive_as_victim,
        [](Gate& g, const Crash& crash) -> std::string {
            const bool arrived = g.barrier.waiting() == 2;
            CRASH_REQUIRE(arrived || !crash.finished);
            CRASH_REQUIRE(keeper_waits(g) == (arrived ? Result::broken : Result::blocked));
            CRASH_REQUIRE(g.barrier.culprit() == (arrived ? g.victim : kNobody));
            return a_new_round_goes_through(g);
        });
    add("barrier/the last arrives and trips it",
        [](Gate& g) {
            g.barrier.initialise(2, g.cells);
            keeper_arrives(g);
        },
        tell_name,
        [](Gate& g) {
            std::uint32_t phase, index;
            self->insist([&](auto& who, Wait& wait) { return g.barrier.attempt_arrive(who, phase, index, wait); });
            self->insist([&](auto& who, Wait& wait) { return g.barrier.attempt_trip(who, phase, wait); });
        },
        [](Gate& g, const Crash& crash) -> std::string {
            const Result result = keeper_waits(g);
            CRASH_REQUIRE(result == Result::done || !crash.finished, "%d", static_cast<int>(result));
            if (result == Result::blocked) CRASH_REQUIRE(g.cells[1].phase == 0);
            else if (result == Result::broken) CRASH_REQUIRE(g.barrier.culprit() == g.victim && g.barrier.is_broken());
            else CRASH_REQUIRE(result == Result::done && !g.barrier.is_broken() && g.barrier.waiting() == 0);
            return a_new_round_goes_through(g);
        });
    add("barrier/break",
        [](Gate& g) {
            g.barrier.initialise(3, g.cells);
            keeper_arrives(g);
        },
        nothing<Gate>,
        [](Gate& g) { self->insist([&](auto& who, Wait& wait) { return g.barrier.attempt_break(who, wait); }); },
        [](Gate& g, const Crash& crash) -> std::string {
            const bool broken = g.barrier.is_broken();
            CRASH_REQUIRE(broken || !crash.finished);
            CRASH_REQUIRE(keeper_waits(g) == (broken ? Result::broken : Result::blocked));
            return a_new_round_goes_through(g);
        });
    add("barrier/reset",
        [](Gate& g) {
            g.barrier.initialise(3, g.cells);
            keeper_arrives(g);
        },
        nothing<Gate>,
        [](Gate& g) { self->insist([&](auto& who, Wait& wait) { return g.barrier.attempt_reset(who, wait); }); },
        [](Gate& g, const Crash& crash) -> std::string {
            const Result result = keeper_waits(g);
            CRASH_REQUIRE(result == Result::broken || (result == Result::blocked && !crash.finished));
            CRASH_REQUIRE(!g.barrier.is_broken() && g.barrier.culprit() == kNobody);
            return a_new_round_goes_through(g);
        });
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    step_kill::Suite suite;
    arena_crash::add_condition_cases(suite);
    arena_crash::add_barrier_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
