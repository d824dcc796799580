// Shared lists under systematic schedules: linearizable while readers take no lock, whole values, batches that are one change,
// the user's lock, and nothing committed lost or half there when a fiber dies.
#include <cstdint>
#include <cstring>
#include <ostream>
#include <vector>

#include "arena/model_memory.hpp"
#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/map/list.hpp"
#include "treadle/map/plain_cells.hpp"

using namespace modelled;
using namespace treadle::map;
using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;

namespace {

using ListT = List<StillWorld, Member>;
using State = ListT::State;

struct Call {
    enum Kind { append, extend, insert, set, get, take, pop, add, count, sum, cut, clear, reverse, lock, unlock } kind;
    int index = 0, value = 0;

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"append", "extend", "insert", "set",   "get",     "take", "pop",   "add",
                                         "count",  "sum",    "cut",    "clear", "reverse", "lock", "unlock"};
        return out << names[call.kind] << ' ' << call.index << ' ' << call.value;
    }
};
// The reply: a value, a count, or a Result, negated.
using Calls = History<Call, int>;
constexpr int number(Result result) { return -1 - static_cast<int>(result); }
// All items, in order.
int digest(const std::vector<int>& items) {
    int sum = 0;
    for (const int item : items) sum = (sum * 131 + item) % 10'000'019;
    return sum;
}

/// The sequential list.
struct Sequential {
    std::uint32_t dead = 0;  // fibers, as bits
    std::vector<int> items;
    std::uint32_t holder = Execution::no_fiber;

    bool apply(const Operation<Call, int>& op) {
        // Who holds the lock keeps the others out, until its death.
        const bool held = holder < 32 && (dead >> holder & 1) == 0;
        if (held && holder != op.fiber) return false;
        Sequential after = *this;
        auto& now = after.items;
        const int length = static_cast<int>(items.size());
        const int at = op.call.index < 0 ? op.call.index + length : op.call.index;
        const bool there = at >= 0 && at < length;
        int reply = number(Result::done);
        switch (op.call.kind) {
            case Call::append: now.push_back(op.call.value); break;
            case Call::extend: for (int i = 0; i < 8; ++i) now.push_back(op.call.value + i); break;
            case Call::insert: now.insert(now.begin() + (at < length ? at : length), op.call.value); break;
            case Call::set:
                if (there) now[static_cast<std::size_t>(at)] = op.call.value;
                else reply = number(Result::empty);
                break;
            case Call::add:
                if (there) now[static_cast<std::size_t>(at)] += op.call.value;
                else reply = number(Result::empty);
                break;
            case Call::get: reply = there ? items[static_cast<std::size_t>(at)] : number(Result::empty); break;
            case Call::take:
            case Call::pop:
                reply = !there ? number(Result::empty) : op.call.kind == Call::pop ? items[static_cast<std::size_t>(at)] : reply;
                if (there) now.erase(now.begin() + at);
                break;
            case Call::count: reply = length; break;
            case Call::sum: reply = digest(items); break;
            case Call::cut: now.erase(now.begin(), now.begin() + std::min(length, 2)); break;
            case Call::clear: now.clear(); break;
            case Call::reverse: now = {items.rbegin(), items.rend()}; break;
            case Call::lock: after.holder = op.fiber; break;
            case Call::unlock: after.holder = Execution::no_fiber; break;
        }
        if (op.reply && *op.reply != reply) return false;
        *this = after;
        return true;
    }
    friend bool operator==(const Sequential&, const Sequential&) = default;
};

struct Scene {
    Execution& run;
    Place place;
    State* state;
    Calls calls{run};
    Sequential start;
    std::uint32_t fibers = 0;
    alignas(8) char rooms[kMembers][kLargestPart];

    Scene(Execution& execution, const char* there) : run(execution) {
        state = ListT::make(place.self());
        place.self().handles.add(place.arena(), place.self().process, &state->block);
        run.label(*state, "list");
        run.label(state->words.mutex, "section");
        run.label(state->words.version, "version");
        run.label(state->words.lock, "lock");
        run.label(place.arena().header().mutex, "arena section");
        act(there);
    }

    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? kMembers - 1 : Model::self(); }
    ListT list() { return ListT(state, place.self()); }
    template <class Attempt>
    Result operate(Attempt attempt) {
        return insist(Caller{place}, attempt);
    }
    // Odd values lie in blocks, as long as they are large; even ones in their cells.
    static constexpr std::uint32_t bytes_of(int value) { return 8 + static_cast<std::uint32_t>(value % 3) * 8; }
    static Item item_of(int value, char* room) {
        if (value % 2 == 0) return Item{cell_of(std::int64_t{value}), {}};
        for (std::uint32_t i = 0; i < bytes_of(value); i += 4) std::memcpy(room + i, &value, 4);
        return Item{0, Part{room, bytes_of(value), 0}};
    }
    static int value_in(Cell cell, const char* at, std::uint32_t bytes) {
        if (is_plain(cell)) return static_cast<int>(integer_in(cell));
        int value, other;
        std::memcpy(&value, at, 4);
        SCHEDULE_CHECK(value >= 0 && bytes == bytes_of(value), "a torn value");
        for (std::uint32_t i = 4; i < bytes; i += 4) {
            std::memcpy(&other, at + i, 4);
            SCHEDULE_CHECK(other == value, "a torn value");
        }
        return value;
    }

    void replace(Call call, const Slice& slice, int count) {
        calls.record(call, [&] {
            Item items[8];
            std::uint64_t replaced;
            for (int i = 0; i < count; ++i) items[i] = item_of(call.value + i, rooms[me()] + 40 * i);
            return number(operate([&](auto& who, Wait& wait) {
                return list().attempt_replace(who, slice, items, static_cast<std::uint64_t>(count), {}, replaced, wait);
            }));
        });
    }
    void set(Call::Kind kind, int index, int value) {
        calls.record({kind, index, value}, [&] {
            Item item;
            if (kind == Call::set) item = item_of(value, rooms[me()]);
            return number(operate([&](auto& who, Wait& wait) {
                if (kind != Call::add) return list().attempt_set(who, index, kind == Call::set ? &item : nullptr, {}, wait);
                return list().attempt_alter(who, index, item, [&](Cell cell, const char* bytes, std::uint64_t size, Item& to) {
                    to = item_of(value + value_in(cell, bytes, static_cast<std::uint32_t>(size)), rooms[me()]);
                    return true;
                }, wait);
            }));
        });
    }
    void get(Call::Kind kind, int index) {
        calls.record({kind, index}, [&] {
            FoundItem found;
            const Result result = operate([&](auto& who, Wait& wait) {
                if (kind == Call::get) return list().attempt_find(who, index, rooms[me()], found, wait);
                return list().attempt_pop(who, index, rooms[me()], found, [](const char*) { return true; }, wait);
            });
            return result == Result::done ? value_in(found.cell, rooms[me()], found.bytes) : number(result);
        });
    }
    void count() {
        calls.record({Call::count}, [&] {
            std::uint64_t count = 0;
            operate([&](auto& who, Wait& wait) { return list().attempt_count(who, count, wait); });
            return static_cast<int>(count);
        });
    }
    void sum() {
        calls.record({Call::sum}, [&] {
            ItemBasket basket;
            basket.data = rooms[me()];
            basket.room = sizeof rooms[0];
            operate([&](auto& who, Wait& wait) { return list().attempt_copy(who, kAll, basket, wait); });
            std::vector<int> items;
            const char* at = basket.data;
            for (std::uint64_t i = 0; i < basket.items; ++i) {
                Cell cell;
                CopiedItem item{};
                std::memcpy(&cell, at, sizeof cell);
                at += sizeof cell;
                if (!is_plain(cell)) std::memcpy(&item, at, sizeof item), at += sizeof item;
                items.push_back(value_in(cell, at, item.bytes));
                at += padded(item.bytes);
            }
            return digest(items);
        });
    }
    void reverse() {
        calls.record({Call::reverse}, [&] {
            return number(operate([&](auto& who, Wait& wait) {
                return list().attempt_arrange(who, [](std::uint64_t i, std::uint64_t length) { return length - 1 - i; }, {}, wait);
            }));
        });
    }
    void cut(Call::Kind kind) {
        calls.record({kind}, [&] {
            const Slice slice = kind == Call::clear ? kAll : Slice{0, 2, 1};
            return number(operate([&](auto& who, Wait& wait) { return list().attempt_remove(who, slice, {}, wait); }));
        });
    }
    void lock() {
        calls.record({Call::lock}, [&] {
            Caller who{place};
            for (;;) {
                const Result result = insist(who, [&](auto& w, Wait& wait) { return state->words.lock.attempt_acquire(w, wait); });
                if (result == Result::done || state->words.lock.recover(who.token, false) == Result::done) break;
            }
            return number(operate([&](auto& w, Wait& wait) { return list().attempt_pass(w, wait); }));
        });
    }
    void unlock() {
        calls.record({Call::unlock}, [&] {
            state->words.lock.release();
            return number(Result::done);
        });
    }

    /// p append, e extend by eight, n count, m sum of all, x cut the first two, c clear, v reverse, l lock, u unlock; and with the
    /// index behind it (9 is the last): i insert, s set, a add, g get, t take, o pop. A dot means nothing.
    void act(const char* script) {
        int next = static_cast<int>(me() + 1) * 10 + 1;
        for (; *script != 0; ++script) {
            const char what = *script;
            const int k = std::strchr("isagto", what) != nullptr ? *++script - '0' : 0;
            const int index = k == 9 ? -1 : k;
            switch (what) {
                case 'p': replace({Call::append, 0, next}, kAtTheEnd, 1), ++next; break;
                case 'e': replace({Call::extend, 0, next}, kAtTheEnd, 8), next += 8; break;
                case 'i': replace({Call::insert, k, next}, {k, k, 1}, 1), ++next; break;
                case 's': set(Call::set, index, next++); break;
                case 'a': set(Call::add, index, 1); break;
                case 't': set(Call::take, index, 0); break;
                case 'g': get(Call::get, index); break;
                case 'o': get(Call::pop, index); break;
                case 'n': count(); break;
                case 'm': sum(); break;
                case 'x': cut(Call::cut); break;
                case 'c': cut(Call::clear); break;
                case 'v': reverse(); break;
                case 'l': lock(); break;
                case 'u': unlock(); break;
                default: break;
            }
        }
    }
    /// After deaths: one who lives finds everything in order, and the list is as good as new.
    void survive() {
        for (std::uint32_t i = 0; i < fibers; ++i)
            if (run.died(i)) start.dead |= 1u << i;
        run.fiber("survivor", [this] { act("g0g9nmpi1mt0m"); });
        run.run();
    }
    void conclude() {
        const auto verdict = schedule::linearizable(calls, start);
        SCHEDULE_CHECK(verdict.holds, verdict.why);
        // Every block of the list is one that it uses.
        std::uint64_t children = 0;
        place.arena().heap.for_each_child(&state->block, [&](ModelBlock*) { ++children; });
        SCHEDULE_CHECK(children == state->values + 1, "blocks are left over");
    }
};

using Scripts = std::vector<const char*>;

auto scripts(const char* there, Scripts all) {
    return [=](Execution& run) {
        Scene scene(run, there);
        for (const char* script : all) run.fiber(script, [&scene, script] { scene.act(script); });
        run.run();
        scene.conclude();
    };
}
/// All of them may be killed but those whose script begins with a dot.
auto mortal(const char* there, Scripts all) {
    return [=](Execution& run) {
        Scene scene(run, there);
        scene.place.memory().mortals = static_cast<std::uint32_t>(all.size());
        for (const char* script : all) {
            const auto body = [&scene, script] { scene.act(script); };
            scene.fibers = 1 + (*script == '.' ? run.fiber(script, body) : run.killable_fiber(script, body));
        }
        run.run();
        scene.survive();
        scene.conclude();
    };
}

constexpr std::uint32_t kMostSteps = 100'000;
schedule::Plan within(unsigned preemptions, unsigned deaths = 0) {
    const unsigned most = check::sanitized ? preemptions - (preemptions != 0) : check::scale(preemptions, preemptions + 1);
    return dfs(most, deaths).with_max_steps(kMostSteps);
}
schedule::Plan deaths() { return dfs(0, 1).with_max_steps(kMostSteps); }

}  // namespace

TEST(readers_without_a_lock_see_one_instant) {
    schedule::check("g s", within(2).no_timeouts(), scripts("pp", {"g0", "s0"}));
    schedule::check("g- ps", within(2).no_timeouts(), scripts("pp", {"g9", "ps1"}));
    schedule::check("g op", within(2).no_timeouts(), scripts("pp", {"g1", "o1p"}));
    schedule::check("gn t", within(1).no_timeouts(), scripts("ppp", {"g1n", "t0"}));
    schedule::check("g- i", within(1).no_timeouts(), scripts("ppp", {"g9g1", "i1"}));
    schedule::check("g e", within(1).no_timeouts(), scripts("pp", {"g2g9", "e"}));
    schedule::check("n c", within(2).no_timeouts(), scripts("pp", {"nn", "cp"}));
}

TEST(changes_are_linearizable) {
    schedule::check("p p", within(1).no_timeouts(), scripts("p", {"pg1", "pg9"}));
    schedule::check("a a", within(1).no_timeouts(), scripts("p", {"a0a0", "a0g0"}));
    schedule::check("o o", within(1).no_timeouts(), scripts("pp", {"o9m", "o9o9"}));
    schedule::check("i t", within(1).no_timeouts(), scripts("ppp", {"i1m", "t0"}));
    schedule::check("v x m", within(1).no_timeouts(), scripts("ppp", {"v", "x", "m"}));
    schedule::check("e m", within(1).no_timeouts(), scripts("ppp", {"e", "mc"}));
}

TEST(the_lock_makes_one_of_several) {
    schedule::check("l g", within(1), scripts("pp", {"ls0s1u", "g0g1"}));
    schedule::check("l p", within(1), scripts("p", {"lg9g9u", "p"}));
    schedule::check("l n", within(0), scripts("pp", {"lo9pu", "n", "t0"}));
}

TEST(a_death_at_any_step_changes_all_or_nothing) {
    schedule::check("deaths, p", deaths(), mortal("pp", {"pp"}));
    schedule::check("deaths, s", deaths(), mortal("pp", {"s0s1"}));
    schedule::check("deaths, i", deaths(), mortal("pppp", {"i1"}));
    schedule::check("deaths, t", deaths(), mortal("pppp", {"t1"}));
    schedule::check("deaths, e within", deaths(), mortal("p", {"e"}));
    schedule::check("deaths, e beyond", deaths(), mortal("ppp", {"e"}));
    schedule::check("deaths, x", deaths(), mortal("pppp", {"x"}));
    schedule::check("deaths, v", deaths(), mortal("ppp", {"v"}));
    schedule::check("deaths, c", deaths(), mortal("ppp", {"cp"}));
    schedule::check("deaths, shrinking", deaths(), mortal("peep", {"xxo9"}));
    schedule::check("deaths, a g", within(0, 1), mortal("pp", {"a0", ".g0g0"}));
    schedule::check("deaths, i t", within(0, 1), mortal("ppp", {"i1", "t1"}));
}

TEST(a_death_within_the_lock_frees_it) {
    schedule::check("deaths, l g", within(0, 1), mortal("pp", {"ls0s1u", ".g0"}));
    schedule::check("deaths, l p", within(0, 1), mortal("pp", {"ls0u", ".pn"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(check::sanitized ? 50 : 1500, 100000);
    schedule::check("random", schedule::random(1, executions).no_timeouts(), scripts("pppp", {"g0g9g2", "t0i1p", "nmg0", "a1o0x"}));
    schedule::check("random, lock", schedule::random(2, executions), scripts("pp", {"ls0s1u", "g0g1n", "a0cp"}));
    schedule::check("pct, deaths", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps), mortal("ppp", {"i0t1", "a2s0", "g0g2n"}));
    schedule::check("random, two deaths", schedule::random(3, executions, 2).with_max_steps(kMostSteps), mortal("ppp", {"ls0t1u", "vi2", "pg0"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
