// The readers-writer lock under death at every instruction.
#include <atomic>
#include <cstdint>
#include <string>

#include "crash/word_fixture.hpp"
#include "treadle/word/rwlock.hpp"

namespace arena_crash {
namespace {

using RWLock = treadle::word::RWLock<SharedWorld>;
using treadle::word::OnDeath;
using treadle::word::ReaderCell;
using treadle::word::ReadTicket;

constexpr std::uint32_t kCells = 2;

struct Library {
    RWLock lock;
    ReaderCell table[1 + kCells];
    ReadTicket ticket;  // the keeper's
    Token victim;
    std::atomic<int> peer_came;
};

// --- What the keeper does --------------------------------------------------------------------------------------------

Result keeper_reads(Library& l, OnDeath on_death = OnDeath::report) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        Token dead;
        return l.lock.attempt_read(who, keeper->token, true, on_death, l.ticket, dead, wait);
    });
}
Result keeper_ends_read(Library& l) {
    return at_once(keeper->caller(),
                   [&](auto& who, Wait& wait) { return l.lock.attempt_end_read(who, keeper->token, wait); });
}
Result keeper_writes(Library& l, OnDeath on_death, Token& dead) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return l.lock.attempt_write(who, keeper->token, on_death, dead, wait);
    });
}
Result keeper_ends_write(Library& l) {
    return at_once(keeper->caller(),
                   [&](auto& who, Wait& wait) { return l.lock.attempt_end_write(who, keeper->token, wait); });
}
Result keeper_restores(Library& l) {
    return at_once(keeper->caller(),
                   [&](auto& who, Wait& wait) { return l.lock.attempt_restore(who, keeper->token, wait); });
}

// The keeper, who holds nothing, can have the lock both ways; a dead writer is told of once, and until it is recovered.
// Nothing is left of anybody.
std::string lock_can_be_had(Library& l, bool victim_may_write) {
    Token dead;
    const bool was_inconsistent = l.lock.writer().inconsistent();
    Result result = keeper_writes(l, OnDeath::report, dead);
    if (result != Result::done) {
        CRASH_REQUIRE(victim_may_write || was_inconsistent, "%d, though no writer can have died", static_cast<int>(result));
        CRASH_REQUIRE(result == (was_inconsistent ? Result::inconsistent : Result::owner_died), "%d", static_cast<int>(result));
        const Token owner = l.lock.writer().owner();
        CRASH_REQUIRE(owner != kNobody && owner != keeper->token, "the name of the dead is lost");
        CRASH_REQUIRE(keeper_reads(l) == Result::inconsistent && keeper_writes(l, OnDeath::report, dead) == Result::inconsistent);
        CRASH_REQUIRE(keeper_ends_write(l) == Result::not_held);
        CRASH_REQUIRE(keeper_writes(l, OnDeath::mark, dead) == Result::done && dead == owner);
        CRASH_REQUIRE(keeper_restores(l) == Result::done);
        result = keeper_writes(l, OnDeath::report, dead);
    }
    CRASH_REQUIRE(result == Result::done && l.lock.writer().owner() == keeper->token, "%d", static_cast<int>(result));
    CRASH_REQUIRE(keeper_ends_write(l) == Result::done && l.lock.writer().peek() == 0);
    CRASH_REQUIRE(keeper_reads(l) == Result::done && l.lock.reading() == 1, "%u read", l.lock.reading());
    CRASH_REQUIRE(keeper_ends_read(l) == Result::done && l.lock.reading() == 0);
    const ReaderCell* table = l.lock.table();
    for (std::uint32_t i = 1; i <= table[0].holder; ++i) CRASH_REQUIRE(table[i].counts == 0, "a reader is left");
    return "";
}

// --- What the victim does --------------------------------------------------------------------------------------------

void read_as_victim(Library& l) {
    ReadTicket ticket;
    self->insist([&](auto& who, Wait& wait) {
        Token dead;
        return l.lock.attempt_read(who, self->token(), true, OnDeath::report, ticket, dead, wait);
    });
}
void end_read_as_victim(Library& l) {
    self->insist([&](auto& who, Wait& wait) { return l.lock.attempt_end_read(who, self->token(), wait); });
}
void write_as_victim(Library& l) {
    self->insist([&](auto& who, Wait& wait) {
        Token dead;
        return l.lock.attempt_write(who, self->token(), OnDeath::report, dead, wait);
    });
}
void end_write_as_victim(Library& l) {
    self->insist([&](auto& who, Wait& wait) { return l.lock.attempt_end_write(who, self->token(), wait); });
}
Result read_seeing(Library& l, OnDeath on_death) {
    Mapping::Caller who = victim();
    who.look = true;
    Wait wait;
    ReadTicket ticket;
    Token dead;
    return l.lock.attempt_read(who, who.token, true, on_death, ticket, dead, wait);
}
Result write_seeing(Library& l, OnDeath on_death) {
    Mapping::Caller who = victim();
    who.look = true;
    Wait wait;
    Token dead;
    return l.lock.attempt_write(who, who.token, on_death, dead, wait);
}

// On behalf of the keeper, in the victim's preparation.
void keeper_enlists(Library& l) {
    Mapping::Caller who{keeper->token, false, self};
    Wait wait;
    Token dead;
    if (l.lock.attempt_read(who, who.token, true, OnDeath::report, l.ticket, dead, wait) != Result::blocked || !l.ticket.enlisted)
        give_up("the keeper does not wait");
}

// As the extension module does it: the table is a block that belongs to the object.
void grow_and_read(Library& l) {
    constexpr std::uint32_t capacity = 2 * kCells;
    constexpr std::size_t bytes = RWLock::table_cells(capacity) * sizeof(ReaderCell);
    SharedBlock* block = nullptr;
    self->insist([&](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        block = self->arena.heap.allocate(kBlockHeader + bytes, Kind::table, own(object));
        std::memset(static_cast<void*>(block + 1), 0, bytes);
        self->arena.leave();
        return Result::done;
    });
    ReaderCell* old;
    self->insist([&](auto& who, Wait& wait) {
        return l.lock.attempt_grow(who, reinterpret_cast<ReaderCell*>(block + 1), capacity, old, wait);
    });
    read_as_victim(l);
}

// --- Cases -----------------------------------------------------------------------------------------------------------

constexpr auto fresh = [](Library& l) { l.lock.initialise(l.table, kCells); };

void ghost_reads(Library& l) {
    fresh(l);
    Keeper::Caller who{ghost(), false, keeper.get()};
    Wait wait;
    ReadTicket ticket;
    Token dead;
    l.lock.attempt_read(who, who.token, true, OnDeath::report, ticket, dead, wait);
    l.lock.attempt_read(who, who.token, true, OnDeath::report, ticket, dead, wait);
}
void ghost_writes(Library& l) {
    fresh(l);
    Keeper::Caller who{ghost(), false, keeper.get()};
    Wait wait;
    Token dead;
    l.lock.attempt_write(who, who.token, OnDeath::report, dead, wait);
}

void add_reader_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Library>(name, Kind::rwlock, parts...));
    };
    add("rwlock/read", fresh, nothing<Library>, read_as_victim, [](Library& l, const Crash& crash) -> std::string {
        CRASH_REQUIRE(!crash.finished || l.lock.reading() == 1);
        return lock_can_be_had(l, false);
    });
    add("rwlock/end of a read", fresh,
        [](Library& l) {
            read_as_victim(l);
            read_as_victim(l);
        },
        [](Library& l) {
            end_read_as_victim(l);
            end_read_as_victim(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || l.lock.reading() == 0);
            return lock_can_be_had(l, false);
        });
    add("rwlock/a read that waits, and gives up",
        [](Library& l) {
            fresh(l);
            Token dead;
            keeper_writes(l, OnDeath::report, dead);
        },
        nothing<Library>,
        [](Library& l) {
            ReadTicket ticket;
            patiently(
                [&](auto& who, Wait& wait) {
                    Token dead;
                    return l.lock.attempt_read(who, who.token, true, OnDeath::report, ticket, dead, wait);
                },
                1);
            self->insist([&](auto& who, Wait& wait) { return l.lock.attempt_cancel_read(who, self->token(), ticket, wait); });
        },
        [](Library& l, const Crash&) -> std::string {
            CRASH_REQUIRE(l.lock.writer().owner() == keeper->token);
            CRASH_REQUIRE(keeper_ends_write(l) == Result::done);
            return lock_can_be_had(l, false);
        });
    add("rwlock/taking the lock from dead readers", ghost_reads, nothing<Library>,
        [](Library& l) {
            write_seeing(l, OnDeath::report);
            end_write_as_victim(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || (l.lock.reading() == 0 && l.lock.writer().peek() == 0));
            return lock_can_be_had(l, true);
        });
    add("rwlock/growth of the table",
        [](Library& l) {
            fresh(l);
            // Other live threads have all the cells.
            for (std::uint32_t i = 0; i < kCells; ++i) {
                Keeper::Caller who{keeper->arena.registry.add_participant(keeper->process, kNoRecord, getpid(), 1, "thread"),
                                   false, keeper.get()};
                Wait wait;
                ReadTicket ticket;
                Token dead;
                if (l.lock.attempt_read(who, who.token, true, OnDeath::report, ticket, dead, wait) != Result::done)
                    give_up("no read");
            }
        },
        nothing<Library>,
        [](Library& l) {
            if (read_seeing(l, OnDeath::report) == Result::no_room) grow_and_read(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || (l.lock.reading() == kCells + 1 && l.lock.capacity() == 2 * kCells));
            // On behalf of those threads.
            for (std::uint32_t i = 0; i < kCells; ++i) {
                const Token holder = l.lock.table()[1 + i].holder;
                CRASH_REQUIRE(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                                  return l.lock.attempt_end_read(who, holder, wait);
                              }) == Result::done);
            }
            return lock_can_be_had(l, false);
        });
}

void add_writer_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Library>(name, Kind::rwlock, parts...));
    };
    add("rwlock/write", fresh, nothing<Library>, write_as_victim, [](Library& l, const Crash& crash) -> std::string {
        CRASH_REQUIRE(!crash.finished || l.lock.writer().held());
        return lock_can_be_had(l, true);
    });
    add("rwlock/end of a write, with a reader waiting", fresh,
        [](Library& l) {
            l.victim = self->token();
            write_as_victim(l);
            keeper_enlists(l);
        },
        end_write_as_victim,
        [](Library& l, const Crash& crash) -> std::string {
            const bool released = l.lock.writer().peek() == 0;
            CRASH_REQUIRE(released || (!crash.finished && l.lock.writer().owner() == l.victim));
            const Result result = keeper_reads(l);
            CRASH_REQUIRE(result == (released ? Result::done : Result::owner_died), "%d", static_cast<int>(result));
            CRASH_REQUIRE(!l.ticket.enlisted && l.lock.reading() == (released ? 1u : 0u), "%u read", l.lock.reading());
            if (released) CRASH_REQUIRE(keeper_ends_read(l) == Result::done);
            return lock_can_be_had(l, true);
        });
    add("rwlock/a write that waits, and gives up",
        [](Library& l) {
            fresh(l);
            keeper_reads(l);
        },
        nothing<Library>,
        [](Library& l) {
            patiently(
                [&](auto& who, Wait& wait) {
                    Token dead;
                    return l.lock.attempt_write(who, who.token, OnDeath::report, dead, wait);
                },
                1);
            self->insist([&](auto& who, Wait& wait) { return l.lock.attempt_cancel_write(who, self->token(), wait); });
        },
        [](Library& l, const Crash&) -> std::string {
            // Whatever the victim has claimed is void.
            const Token other = keeper->arena.registry.add_participant(keeper->process, kNoRecord, getpid(), 1, "thread");
            ReadTicket ticket;
            CRASH_REQUIRE(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                              Token dead;
                              return l.lock.attempt_read(who, other, false, OnDeath::report, ticket, dead, wait);
                          }) == Result::done);
            CRASH_REQUIRE(at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                              return l.lock.attempt_end_read(who, other, wait);
                          }) == Result::done);
            CRASH_REQUIRE(keeper_ends_read(l) == Result::done);
            return lock_can_be_had(l, false);
        });
    add("rwlock/recovering it from the dead", ghost_writes, nothing<Library>,
        [](Library& l) {
            write_seeing(l, OnDeath::mark);
            self->insist([&](auto& who, Wait& wait) { return l.lock.attempt_restore(who, self->token(), wait); });
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || l.lock.writer().peek() == 0);
            return lock_can_be_had(l, true);
        });
    add("rwlock/a recovery abandoned", ghost_writes, nothing<Library>,
        [](Library& l) {
            write_seeing(l, OnDeath::mark);
            end_write_as_victim(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || l.lock.writer().inconsistent());
            CRASH_REQUIRE(l.lock.writer().peek() != 0);
            return lock_can_be_had(l, true);
        });
    add("rwlock/adopting it from the dead, to read", ghost_writes, keeper_enlists,
        [](Library& l) {
            read_seeing(l, OnDeath::adopt);
            end_read_as_victim(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            const bool adopted = l.lock.writer().peek() == 0;
            CRASH_REQUIRE(adopted || !crash.finished);
            const Result result = keeper_reads(l);
            if (adopted) CRASH_REQUIRE(result == Result::done && keeper_ends_read(l) == Result::done);
            else CRASH_REQUIRE(result == Result::owner_died || result == Result::inconsistent, "%d", static_cast<int>(result));
            return lock_can_be_had(l, true);
        });
    add("rwlock/adopting it from the dead, to write", ghost_writes, nothing<Library>,
        [](Library& l) {
            write_seeing(l, OnDeath::adopt);
            end_write_as_victim(l);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || l.lock.writer().peek() == 0);
            return lock_can_be_had(l, true);
        });

    // A live process reads, and ends while the victim waits to write.
    Case contended = word_case<Library>(
        "rwlock/contended write", Kind::rwlock, fresh,
        [](Library& l) { while (l.peer_came == 0) usleep(50); },
        [](Library& l) {
            patiently(
                [&](auto& who, Wait& wait) {
                    Token dead;
                    return l.lock.attempt_write(who, who.token, OnDeath::report, dead, wait);
                },
                1'000'000);
        },
        [](Library& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || l.lock.writer().held());
            return lock_can_be_had(l, true);
        });
    contended.peer = [](Memory&) -> std::string {
        join("peer");
        Library& l = body_of<Library>(own(object));
        read_as_victim(l);
        l.peer_came = 1;
        for (int i = 0; i < 20; ++i) usleep(100);
        end_read_as_victim(l);
        return "";
    };
    suite.add(std::move(contended));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    step_kill::Suite suite;
    arena_crash::add_reader_cases(suite);
    arena_crash::add_writer_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
