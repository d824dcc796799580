// Mutex, permits, semaphore, event and latch under death at every instruction.
#include <atomic>
#include <cstdint>
#include <string>

#include "crash/word_fixture.hpp"
#include "treadle/word/event.hpp"
#include "treadle/word/latch.hpp"
#include "treadle/word/mutex.hpp"
#include "treadle/word/permits.hpp"
#include "treadle/word/semaphore.hpp"

namespace arena_crash {
namespace {

using Mutex = treadle::word::Mutex<SharedWorld>;

// --- Mutex -----------------------------------------------------------------------------------------------------------

struct Lock {
    Mutex mutex;
    std::uint64_t before;  // a neighbour that nobody touches
    std::atomic<int> peer_came;
};

// The keeper finds the lock free, or its holder dead: told exactly once, and the lock is then inconsistent for everybody
// until it has been recovered.
std::string lock_can_be_had(Lock& lock) {
    const auto acquire = [&] {
        return at_once(keeper->caller(), [&](auto& who, Wait& wait) { return lock.mutex.attempt_acquire(who, wait); });
    };
    const Token owner = lock.mutex.owner();
    const bool was_inconsistent = lock.mutex.inconsistent();
    Result result = acquire();
    if (owner != kNobody) {
        CRASH_REQUIRE(result == (was_inconsistent ? Result::inconsistent : Result::owner_died), "%d",
                      static_cast<int>(result));
        CRASH_REQUIRE(lock.mutex.owner() == owner, "the name of the dead is lost");
        CRASH_REQUIRE(acquire() == Result::inconsistent && !lock.mutex.try_acquire(keeper->token));
        CRASH_REQUIRE(lock.mutex.release() == Result::not_held);
        CRASH_REQUIRE(lock.mutex.recover(keeper->token, true) == Result::done);
        CRASH_REQUIRE(lock.mutex.restore(keeper->token) == Result::done);
        result = acquire();
    }
    CRASH_REQUIRE(result == Result::done && lock.mutex.owner() == keeper->token);
    CRASH_REQUIRE(lock.mutex.release() == Result::done && lock.mutex.owner() == kNobody);
    CRASH_REQUIRE(lock.mutex.try_acquire(keeper->token) && lock.mutex.release() == Result::done);
    CRASH_REQUIRE(lock.before == 0);
    return "";
}

void acquire_lock(Lock& lock) {
    if (!lock.mutex.try_acquire(self->token())) give_up("the lock is not free");
}

void add_mutex_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Lock>(name, Kind::lock, parts...));
    };
    add("mutex/acquire", nothing<Lock>, nothing<Lock>,
        [](Lock& lock) {
            Mapping::Caller who = victim();
            Wait wait;
            lock.mutex.attempt_acquire(who, wait);
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.held());
            return lock_can_be_had(lock);
        });
    add("mutex/release", nothing<Lock>, acquire_lock, [](Lock& lock) { lock.mutex.release(); },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.peek() == 0);
            return lock_can_be_had(lock);
        });
    add("mutex/timed acquire", [](Lock& lock) { lock.mutex.try_acquire(keeper->token); }, nothing<Lock>,
        [](Lock& lock) { patiently([&](auto& who, Wait& wait) { return lock.mutex.attempt_acquire(who, wait); }, 2); },
        [](Lock& lock, const Crash&) -> std::string {
            CRASH_REQUIRE(lock.mutex.held() && lock.mutex.owner() == keeper->token);
            CRASH_REQUIRE(lock.mutex.release() == Result::done);
            return lock_can_be_had(lock);
        });
    add("mutex/taking over from the dead", [](Lock& lock) { lock.mutex.try_acquire(ghost()); }, nothing<Lock>,
        [](Lock& lock) {
            Mapping::Caller who = victim();
            who.look = true;
            Wait wait;
            lock.mutex.attempt_acquire(who, wait);
            lock.mutex.recover(who.token, true);
            lock.mutex.restore(who.token);
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.peek() == 0);
            return lock_can_be_had(lock);
        });
    add("mutex/recovery abandoned", [](Lock& lock) { lock.mutex.try_acquire(ghost()); }, nothing<Lock>,
        [](Lock& lock) {
            Mapping::Caller who = victim();
            who.look = true;
            Wait wait;
            lock.mutex.attempt_acquire(who, wait);
            lock.mutex.recover(who.token, true);
            lock.mutex.release();
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.inconsistent());
            CRASH_REQUIRE(lock.mutex.peek() != 0);
            return lock_can_be_had(lock);
        });
    add("mutex/adopting from the dead", [](Lock& lock) { lock.mutex.try_acquire(ghost()); }, nothing<Lock>,
        [](Lock& lock) {
            Mapping::Caller who = victim();
            who.look = true;
            Wait wait;
            lock.mutex.attempt_acquire(who, wait);
            lock.mutex.recover(who.token, false);
            lock.mutex.release();
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.peek() == 0);
            return lock_can_be_had(lock);
        });
    add("mutex/a section taken over", [](Lock& lock) { lock.mutex.try_acquire(ghost()); }, nothing<Lock>,
        [](Lock& lock) {
            Mapping::Caller who = victim();
            who.look = true;
            Wait wait;
            lock.mutex.attempt_enter(who, wait);
            lock.mutex.release();
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            const bool left = lock.mutex.held();
            CRASH_REQUIRE(!crash.finished || !left);
            const Result entered = at_once(
                keeper->caller(), [&](auto& who, Wait& wait) { return lock.mutex.attempt_enter(who, wait); });
            CRASH_REQUIRE(entered == (left ? Result::owner_died : Result::done), "%d", static_cast<int>(entered));
            CRASH_REQUIRE(lock.mutex.release() == Result::done);
            return lock_can_be_had(lock);
        });

    // A live process holds the lock and lets go of it while the victim waits.
    Case contended = word_case<Lock>(
        "mutex/contended acquire", Kind::lock, nothing<Lock>,
        [](Lock& lock) { while (lock.peer_came == 0) usleep(50); },
        [](Lock& lock) {
            patiently([&](auto& who, Wait& wait) { return lock.mutex.attempt_acquire(who, wait); }, 1'000'000);
        },
        [](Lock& lock, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || lock.mutex.held());
            return lock_can_be_had(lock);
        });
    contended.peer = [](Memory&) -> std::string {
        join("peer");
        Lock& lock = body_of<Lock>(own(object));
        acquire_lock(lock);
        lock.peer_came = 1;
        for (int i = 0; i < 20 && (lock.mutex.peek() & Mutex::kWaiters) == 0; ++i) usleep(100);
        CRASH_REQUIRE(lock.mutex.owner() == self->token());
        CRASH_REQUIRE(lock.mutex.release() == Result::done);
        return "";
    };
    suite.add(std::move(contended));
}

// --- Permits ---------------------------------------------------------------------------------------------------------

using Permits = treadle::word::Permits<SharedWorld>;
using treadle::word::PermitCell;

constexpr std::uint32_t kCells = 2;
struct Pool {
    Permits permits;
    PermitCell table[1 + kCells];
};

Result take_permit(Pool& pool, Token& dead) {
    return at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return pool.permits.attempt_acquire(who, keeper->token, dead, wait);
    });
}

// The keeper, who holds `held` of them, can take all others; of whom the dead held is told once.
std::string all_permits_are_there(Pool& pool, std::uint32_t held, std::uint32_t total, bool victim_may_hold) {
    std::uint32_t reports = 0;
    Token dead;
    for (; held < total; ++held) {
        const Result result = take_permit(pool, dead);
        CRASH_REQUIRE(result == Result::done, "%d when %u of %u were taken", static_cast<int>(result), held, total);
        if (dead != kNobody) ++reports;
        CRASH_REQUIRE(dead != keeper->token);
    }
    CRASH_REQUIRE(reports <= (victim_may_hold ? 1u : 0u), "%u reports of a death", reports);
    CRASH_REQUIRE(take_permit(pool, dead) == Result::empty && dead == kNobody && pool.permits.value() == 0);
    const Result released = at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return pool.permits.attempt_release(who, keeper->token, total, wait);
    });
    CRASH_REQUIRE(released == Result::done && pool.permits.value() == total, "%u permits", pool.permits.value());
    const Result beyond = at_once(keeper->caller(), [&](auto& who, Wait& wait) {
        return pool.permits.attempt_release(who, keeper->token, 1, wait);
    });
    CRASH_REQUIRE(beyond == Result::overflow);
    return "";
}

void take_as_victim(Pool& pool) {
    Token dead;
    self->insist([&](auto& who, Wait& wait) { return pool.permits.attempt_acquire(who, self->home_token(), dead, wait); });
}

// As the extension module does it: the table is a block that belongs to the object.
void grow_and_take(Pool& pool) {
    constexpr std::uint32_t capacity = 2 * kCells;
    constexpr std::size_t bytes = Permits::table_cells(capacity) * sizeof(PermitCell);
    SharedBlock* block = nullptr;
    self->insist([&](auto& who, Wait& wait) {
        if (self->arena.enter(who, wait) == Result::blocked) return Result::blocked;
        block = self->arena.heap.allocate(kBlockHeader + bytes, Kind::table, own(object));
        std::memset(static_cast<void*>(block + 1), 0, bytes);
        self->arena.leave();
        return Result::done;
    });
    PermitCell* old;
    self->insist([&](auto& who, Wait& wait) {
        return pool.permits.attempt_grow(who, reinterpret_cast<PermitCell*>(block + 1), capacity, old, wait);
    });
    take_as_victim(pool);
}

void add_permit_cases(step_kill::Suite& suite) {
    const auto add = [&](const char* name, auto... parts) {
        suite.add(word_case<Pool>(name, Kind::permits, parts...));
    };
    constexpr auto three = [](Pool& pool) { pool.permits.initialise(3, 3, pool.table, kCells); };
    constexpr auto three_and_one_taken = [](Pool& pool) {
        pool.permits.initialise(3, 3, pool.table, kCells);
        Token dead;
        take_permit(pool, dead);
    };
    add("permits/acquire", three, nothing<Pool>, take_as_victim, [](Pool& pool, const Crash& crash) -> std::string {
        CRASH_REQUIRE(!crash.finished || pool.permits.value() == 2);
        return all_permits_are_there(pool, 0, 3, true);
    });
    add("permits/release", three,
        [](Pool& pool) {
            take_as_victim(pool);
            take_as_victim(pool);
        },
        [](Pool& pool) {
            self->insist([&](auto& who, Wait& wait) {
                return pool.permits.attempt_release(who, self->home_token(), 1, wait);
            });
        },
        [](Pool& pool, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || pool.permits.value() == 2);
            return all_permits_are_there(pool, 0, 3, true);
        });
    add("permits/release on behalf of another", three_and_one_taken, nothing<Pool>,
        [](Pool& pool) {
            self->insist([&](auto& who, Wait& wait) {
                return pool.permits.attempt_release(who, self->home_token(), 1, wait);
            });
        },
        [](Pool& pool, const Crash& crash) -> std::string {
            // The section may be held by the dead: one attempt mends the count.
            Token dead;
            CRASH_REQUIRE(take_permit(pool, dead) == Result::done && dead == kNobody);
            const std::uint32_t held = 3 - pool.permits.value();
            CRASH_REQUIRE(held == 2 || held == 1, "%u held", held);
            CRASH_REQUIRE(!crash.finished || held == 1);
            return all_permits_are_there(pool, held, 3, false);
        });
    add("permits/taking back from the dead",
        [](Pool& pool) {
            pool.permits.initialise(2, 2, pool.table, kCells);
            Keeper::Caller who{ghost(), false, keeper.get()};
            Token dead;
            Wait wait;
            pool.permits.attempt_acquire(who, who.token, dead, wait);
            pool.permits.attempt_acquire(who, who.token, dead, wait);
        },
        nothing<Pool>,
        [](Pool& pool) {
            Mapping::Caller who = victim();
            who.look = true;
            Token dead;
            Wait wait;
            pool.permits.attempt_acquire(who, self->home_token(), dead, wait);
        },
        [](Pool& pool, const Crash&) -> std::string {
            // The ghost's were taken back by the victim or will be now, and then the victim's own.
            return all_permits_are_there(pool, 0, 2, true);
        });
    add("permits/growth of the table",
        [](Pool& pool) {
            pool.permits.initialise(kCells + 2, kCells + 2, pool.table, kCells);
            // Other live processes have all the cells.
            for (std::uint32_t i = 0; i < kCells; ++i) {
                Keeper::Caller who{keeper->arena.registry.add_participant(keeper->process, kNoRecord, getpid(), 1, "thread"),
                                   false, keeper.get()};
                Token dead;
                Wait wait;
                if (pool.permits.attempt_acquire(who, who.token, dead, wait) != Result::done) give_up("no permit");
            }
        },
        nothing<Pool>,
        [](Pool& pool) {
            Mapping::Caller who = victim();
            Token dead;
            Wait wait;
            if (pool.permits.attempt_acquire(who, self->home_token(), dead, wait) == Result::no_room) grow_and_take(pool);
        },
        [](Pool& pool, const Crash& crash) -> std::string {
            CRASH_REQUIRE(!crash.finished || (pool.permits.value() == 1 && pool.permits.capacity() == 2 * kCells));
            // On behalf of the others; the victim's permit, if it has one, is not among the first two.
            const Result released = at_once(keeper->caller(), [&](auto& who, Wait& wait) {
                return pool.permits.attempt_release(who, keeper->token, kCells, wait);
            });
            CRASH_REQUIRE(released == Result::done && pool.permits.value() >= kCells + 1);
            return all_permits_are_there(pool, 0, kCells + 2, true);
        });
}

// --- Semaphore, event and latch: without owners ----------------------------------------------------------------------

using Semaphore = treadle::word::Semaphore<SharedWorld>;
using Event = treadle::word::Event<SharedWorld>;
using Latch = treadle::word::Latch<SharedWorld>;

void add_ownerless_cases(step_kill::Suite& suite) {
    suite.add(word_case<Semaphore>(
        "semaphore/acquire", Kind::semaphore, [](Semaphore& s) { s.initialise(2); }, nothing<Semaphore>,
        [](Semaphore& s) {
            Wait wait;
            s.attempt_acquire(wait);
        },
        [](Semaphore& s, const Crash& crash) -> std::string {
            CRASH_REQUIRE(s.value() == 1 || (s.value() == 2 && !crash.finished), "%u", s.value());
            CRASH_REQUIRE(s.try_acquire() && s.release(1, 2) == Result::done);
            return "";
        }));
    suite.add(word_case<Semaphore>(
        "semaphore/release", Kind::semaphore,
        [](Semaphore& s) {
            s.initialise(0);
            Wait wait;
            s.attempt_acquire(wait);  // leaves the mark of a sleeper
        },
        nothing<Semaphore>, [](Semaphore& s) { s.release(2, 2); },
        [](Semaphore& s, const Crash& crash) -> std::string {
            CRASH_REQUIRE(s.value() == 2 || (s.value() == 0 && !crash.finished), "%u", s.value());
            Wait wait;
            const Result result = s.attempt_acquire(wait);
            CRASH_REQUIRE(s.value() == 1 ? result == Result::done : result == Result::blocked);
            return "";
        }));
    suite.add(word_case<Event>(
        "event/set", Kind::event,
        [](Event& e) {
            Wait wait;
            e.attempt_wait(e.epoch(), wait);
        },
        nothing<Event>, [](Event& e) { e.set(); },
        [](Event& e, const Crash& crash) -> std::string {
            Wait wait;
            CRASH_REQUIRE(e.is_set() || !crash.finished);
            CRASH_REQUIRE(e.attempt_wait(0, wait) == (e.is_set() ? Result::done : Result::blocked));
            e.set();
            CRASH_REQUIRE(e.attempt_wait(0, wait) == Result::done);
            return "";
        }));
    suite.add(word_case<Event>(
        "event/clear", Kind::event, [](Event& e) { e.set(); }, nothing<Event>, [](Event& e) { e.clear(); },
        [](Event& e, const Crash& crash) -> std::string {
            Wait wait;
            CRASH_REQUIRE(!e.is_set() || !crash.finished);
            CRASH_REQUIRE(e.attempt_wait(0, wait) == Result::done, "the set before the clear is forgotten");
            return "";
        }));
    suite.add(word_case<Latch>(
        "latch/count_down to zero", Kind::latch,
        [](Latch& l) {
            l.initialise(2);
            Wait wait;
            l.attempt_wait(wait);  // leaves the mark of a sleeper
        },
        nothing<Latch>,
        [](Latch& l) {
            l.count_down(1);
            l.count_down(1);
        },
        [](Latch& l, const Crash& crash) -> std::string {
            CRASH_REQUIRE(l.count() == 0 || !crash.finished, "%u", l.count());
            Wait wait;
            CRASH_REQUIRE(l.attempt_wait(wait) == (l.count() == 0 ? Result::done : Result::blocked));
            l.count_down(2);
            CRASH_REQUIRE(l.count() == 0 && l.attempt_wait(wait) == Result::done);
            return "";
        }));
}

}  // namespace
}  // namespace arena_crash

int main(int argc, char** argv) {
    step_kill::Suite suite;
    arena_crash::add_mutex_cases(suite);
    arena_crash::add_permit_cases(suite);
    arena_crash::add_ownerless_cases(suite);
    return arena_crash::run(suite, argc, argv);
}
