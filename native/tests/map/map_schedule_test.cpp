// Shared maps under systematic schedules: linearizable while readers take no lock, whole values, the user's lock, and nothing
// committed lost or half there when a fiber dies.
#include <cstdint>
#include <cstring>
#include <ostream>
#include <vector>

#include "arena/model_memory.hpp"
#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/map/map.hpp"

using namespace modelled;
using namespace treadle::map;
using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;

namespace {

using MapT = Map<StillWorld, Member>;
using State = MapT::State;

struct Call {
    enum Kind { put, insert, add, get, remove, pop, count, clear, newest, lock, unlock } kind;
    int key = 0, value = 0;

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"put", "insert", "add", "get", "remove", "pop", "count", "clear", "newest", "lock", "unlock"};
        return out << names[call.kind] << ' ' << call.key << ' ' << call.value;
    }
};
// The reply: a value, a count, or a Result, negated.
using Calls = History<Call, int>;
constexpr int number(Result result) { return -1 - static_cast<int>(result); }

/// The sequential map: pairs in order.
struct Sequential {
    std::uint32_t dead = 0;  // fibers, as bits
    std::vector<std::pair<int, int>> pairs;
    std::uint32_t holder = Execution::no_fiber;

    std::pair<int, int>* find(int key) {
        for (auto& pair : pairs)
            if (pair.first == key) return &pair;
        return nullptr;
    }
    bool apply(const Operation<Call, int>& op) {
        // Who holds the lock keeps the others out, until its death.
        const bool held = holder < 32 && (dead >> holder & 1) == 0;
        if (held && holder != op.fiber) return false;
        Sequential after = *this;
        auto* pair = after.find(op.call.key);
        int reply = number(Result::done);
        switch (op.call.kind) {
            case Call::put:
                if (pair != nullptr) pair->second = op.call.value;
                else after.pairs.emplace_back(op.call.key, op.call.value);
                break;
            case Call::insert:
                if (pair != nullptr) reply = number(Result::gone);
                else after.pairs.emplace_back(op.call.key, op.call.value);
                break;
            case Call::add:
                if (pair != nullptr) pair->second += op.call.value;
                else after.pairs.emplace_back(op.call.key, op.call.value);
                break;
            case Call::get: reply = pair == nullptr ? number(Result::empty) : pair->second; break;
            case Call::remove:
            case Call::pop:
                reply = pair == nullptr ? number(Result::empty) : op.call.kind == Call::pop ? pair->second : reply;
                if (pair != nullptr) after.pairs.erase(after.pairs.begin() + (pair - after.pairs.data()));
                break;
            case Call::count: reply = static_cast<int>(pairs.size()); break;
            case Call::clear: after.pairs.clear(); break;
            case Call::newest: reply = pairs.empty() ? number(Result::empty) : pairs.back().first * 1000 + pairs.back().second; break;
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
        state = MapT::make(place.self());
        place.self().handles.add(place.arena(), place.self().process, &state->block);
        run.label(*state, "map");
        run.label(state->words.mutex, "section");
        run.label(state->words.version, "version");
        run.label(state->words.lock, "lock");
        run.label(place.arena().header().mutex, "arena section");
        act(there);
    }

    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? kMembers - 1 : Model::self(); }
    MapT map() { return MapT(state, place.self()); }
    // Both keys in one bucket, one behind the other; the value is as long as it is large, so that sizes differ.
    Key key(int number) {
        static const std::int64_t keys[] = {0, 1, 2, 3};
        return {reinterpret_cast<const char*>(&keys[number]), 8, 32};
    }
    static constexpr std::uint32_t bytes_of(int value) { return 8 + static_cast<std::uint32_t>(value % 3) * 8; }
    static void write(char* out, int value) {
        for (std::uint32_t i = 0; i < bytes_of(value); i += 4) std::memcpy(out + i, &value, 4);
    }
    static int value_in(const char* at, std::uint32_t bytes) {
        int value, other;
        std::memcpy(&value, at, 4);
        SCHEDULE_CHECK(value >= 0 && bytes == bytes_of(value), "a torn value");
        for (std::uint32_t i = 4; i < bytes; i += 4) {
            std::memcpy(&other, at + i, 4);
            SCHEDULE_CHECK(other == value, "a torn value");
        }
        return value;
    }
    template <class Attempt>
    Result operate(Attempt attempt) {
        return insist(Caller{place}, attempt);
    }

    void put(Call::Kind kind, int k, int value) {
        char* out = rooms[me()];
        calls.record({kind, k, value}, [&] {
            if (kind == Call::add) {
                Found found;
                return number(operate([&](auto& who, Wait& wait) {
                    return map().attempt_change(who, key(k), Part{}, out, found, [&](const char* old, std::uint32_t bytes, char* to) {
                        const int sum = value + (old == nullptr ? 0 : value_in(old, bytes));
                        write(to, sum);
                        return bytes_of(sum);
                    }, wait);
                }));
            }
            write(out, value);
            BlockRef made;
            const Condition condition{kind == Call::insert ? Condition::absent : Condition::always};
            return number(operate([&](auto& who, Wait& wait) {
                return map().attempt_put(who, key(k), Part{}, Part{out, bytes_of(value), 0}, condition, made, wait);
            }));
        });
    }
    void get(int k) {
        calls.record({Call::get, k}, [&] {
            Found found;
            const Result result = operate([&](auto& who, Wait& wait) { return map().attempt_find(who, key(k), rooms[me()], found, wait); });
            return result == Result::done ? value_in(rooms[me()], found.bytes) : number(result);
        });
    }
    void remove(Call::Kind kind, int k) {
        calls.record({kind, k}, [&] {
            if (kind == Call::remove)
                return number(operate([&](auto& who, Wait& wait) { return map().attempt_remove(who, key(k), {}, wait); }));
            Found found;
            const Result result = operate([&](auto& who, Wait& wait) {
                return map().attempt_pop(who, key(k), rooms[me()], found, [](const char*) { return true; }, wait);
            });
            return result == Result::done ? value_in(rooms[me()], found.bytes) : number(result);
        });
    }
    void count() {
        calls.record({Call::count}, [&] {
            std::uint64_t count = 0;
            operate([&](auto& who, Wait& wait) { return map().attempt_count(who, count, wait); });
            return static_cast<int>(count);
        });
    }
    void clear() {
        calls.record({Call::clear}, [&] { return number(operate([&](auto& who, Wait& wait) { return map().attempt_clear(who, wait); })); });
        operate([&](auto& who, Wait& wait) { return map().attempt_free_waste(who, wait); });
    }
    void newest() {
        calls.record({Call::newest}, [&] {
            Basket basket;
            basket.data = rooms[me()];
            basket.room = sizeof rooms[0];
            const Result result = operate([&](auto& who, Wait& wait) { return map().attempt_copy_newest(who, basket, wait); });
            if (result != Result::done) return number(result);
            Record record;
            std::memcpy(&record, basket.data, sizeof record);
            const Sizes sizes = Sizes::of(record.sizes);
            std::int64_t k;
            std::memcpy(&k, basket.data + sizeof record, 8);
            return static_cast<int>(k) * 1000 + value_in(basket.data + sizeof record + sizes.value_at(), sizes.value);
        });
    }
    void lock() {
        calls.record({Call::lock}, [&] {
            Caller who{place};
            for (;;) {
                const Result result = insist(who, [&](auto& w, Wait& wait) { return state->words.lock.attempt_acquire(w, wait); });
                if (result == Result::done || state->words.lock.recover(who.token, false) == Result::done) break;
            }
            return number(operate([&](auto& w, Wait& wait) { return map().attempt_pass(w, wait); }));
        });
    }
    void unlock() {
        calls.record({Call::unlock}, [&] {
            state->words.lock.release();
            return number(Result::done);
        });
    }

    /// Two letters an act: what is done, and the key. p put, i insert, a add, g get, r remove, o pop, n count, c clear, w newest,
    /// l lock, u unlock. A dot means nothing.
    void act(const char* script) {
        int next = static_cast<int>(me() + 1) * 10;
        for (; *script != 0; ++script) {
            const char what = *script;
            const bool keyed = std::strchr("piagro", what) != nullptr;
            const int k = keyed ? *++script - '0' : 0;
            switch (what) {
                case 'p': put(Call::put, k, next++); break;
                case 'i': put(Call::insert, k, next++); break;
                case 'a': put(Call::add, k, 1); break;
                case 'g': get(k); break;
                case 'r': remove(Call::remove, k); break;
                case 'o': remove(Call::pop, k); break;
                case 'n': count(); break;
                case 'c': clear(); break;
                case 'w': newest(); break;
                case 'l': lock(); break;
                case 'u': unlock(); break;
                default: break;
            }
        }
    }
    /// After deaths: one who lives finds everything in order, and the map is as good as new.
    void survive() {
        for (std::uint32_t i = 0; i < fibers; ++i)
            if (run.died(i)) start.dead |= 1u << i;
        run.fiber("survivor", [this] { act("g0g1g2nwp3g3r3w"); });
        run.run();
    }
    void conclude() {
        const auto verdict = schedule::linearizable(calls, start);
        SCHEDULE_CHECK(verdict.holds, verdict.why);
        // Every block of the map is one that it uses.
        std::uint64_t children = 0;
        place.arena().heap.for_each_child(&state->block, [&](ModelBlock*) { ++children; });
        SCHEDULE_CHECK(children == state->count.load() + state->segments, "blocks are left over");
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

}  // namespace

TEST(readers_without_a_lock_see_one_instant) {
    schedule::check("g p", within(2).no_timeouts(), scripts("p0p1", {"g0", "p0"}));
    schedule::check("g rp", within(2).no_timeouts(), scripts("p0p1", {"g0", "r1p2"}));
    schedule::check("gg pp", within(1).no_timeouts(), scripts("p0p1", {"g0g1", "p1p0"}));
    schedule::check("n rp", within(2).no_timeouts(), scripts("p0p1", {"nn", "r0p2"}));
    schedule::check("g g p", within(1).no_timeouts(), scripts("p0p1p2", {"g0g2", "g1", "p0r1"}));
    schedule::check("g c", within(2).no_timeouts(), scripts("p0p1", {"g0n", "c"}));
}

TEST(changes_are_linearizable) {
    schedule::check("p p", within(1).no_timeouts(), scripts("p0", {"p0g0", "p0g0"}));
    schedule::check("a a", within(1).no_timeouts(), scripts("", {"a0a0", "a0g0"}));
    schedule::check("i i", within(1).no_timeouts(), scripts("", {"i0g0", "i0w"}));
    schedule::check("o o", within(1).no_timeouts(), scripts("p0p1", {"o0w", "o0r1"}));
    schedule::check("c p w", within(1).no_timeouts(), scripts("p0p1", {"c", "p2w", "g0"}));
}

TEST(the_lock_makes_one_of_several) {
    schedule::check("l g", within(1), scripts("p0p1", {"lp0p1u", "g0g1"}));
    schedule::check("l p", within(1), scripts("p0", {"lg0g0u", "p0"}));
    schedule::check("l l", within(1), scripts("p0", {"lg0p0u", "lg0p0u"}));
    schedule::check("l n r", within(0), scripts("p0p1", {"lr0p2u", "n", "r1"}));
}

TEST(a_death_at_any_step_changes_all_or_nothing) {
    schedule::check("deaths, p", dfs(0, 1).with_max_steps(kMostSteps), mortal("p0p1", {"p0"}));
    schedule::check("deaths, p new", dfs(0, 1).with_max_steps(kMostSteps), mortal("p0p1", {"p2"}));
    schedule::check("deaths, r", dfs(0, 1).with_max_steps(kMostSteps), mortal("p0p1p2", {"r1"}));
    schedule::check("deaths, c", dfs(0, 1).with_max_steps(kMostSteps), mortal("p0p1p2", {"cp1"}));
    schedule::check("deaths, a g", within(0, 1), mortal("p0p1", {"a0", ".g0g0"}));
    schedule::check("deaths, p r", within(0, 1), mortal("p0p1", {"p0", "r1"}));
}

TEST(a_death_within_the_lock_frees_it) {
    schedule::check("deaths, l g", within(0, 1), mortal("p0p1", {"lp0p1u", ".g0"}));
    schedule::check("deaths, l p", within(0, 1), mortal("p0p1", {"lp0u", ".p1n"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(check::sanitized ? 50 : 1500, 100000);
    schedule::check("random", schedule::random(1, executions).no_timeouts(), scripts("p0p1", {"g0g1g2", "p0r1p2", "nwg0", "a1o0"}));
    schedule::check("random, lock", schedule::random(2, executions), scripts("p0p1", {"lp0p1u", "g0g1n", "a0cp1"}));
    schedule::check("pct, deaths", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps),
                    mortal("p0p1p2", {"p0r1", "a2p0", "g0g2n"}));
    schedule::check("random, two deaths", schedule::random(3, executions, 2).with_max_steps(kMostSteps),
                    mortal("p0p1p2", {"lp0r1u", "a2c", "p1g0"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
