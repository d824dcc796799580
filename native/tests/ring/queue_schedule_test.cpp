// The queue under systematic schedules: linearizable as a FIFO with leases, no sleeper forgotten, and nothing committed
// lost or doubled when a fiber dies.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "arena/model_memory.hpp"
#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"
#include "treadle/ring/queue.hpp"

using namespace modelled;
using namespace treadle::ring;
using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;

namespace {

using RingQueue = Queue<StillWorld, Member>;

struct Call {
    enum Kind { put, try_put, get, try_get, lease, try_lease, ack, nack, done, join, size, shut, shut_now, drained } kind;
    int value = 0;  // of the item; ack, nack: too

    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        constexpr const char* names[] = {"put",  "try_put", "get",  "try_get", "lease", "try_lease", "ack",
                                         "nack", "done",    "join", "size",    "shut",  "shut_now",  "drained"};
        out << names[call.kind];
        return call.value == 0 ? out : out << ' ' << call.value;
    }
};

// The reply: the item's value (or the size), or a Result, negated.
using Calls = History<Call, int>;
constexpr int number(Result result) { return -1 - static_cast<int>(result); }

struct FifoItem {
    int birth, value;
    std::uint32_t holder = Execution::no_fiber;  // of its lease
    auto operator<=>(const FifoItem&) const = default;
};

/// The sequential queue. Items are named by their values, which are different. What the dead hold on lease is given back
/// at some time: it may be delivered again from their death on.
struct Fifo {
    unsigned bound = 0;
    std::uint32_t dead = 0;              // fibers, as bits
    int born = 0;
    std::vector<FifoItem> items, leased;  // in the order of birth
    int unfinished = 0;
    int mode = 0;

    static bool remove(std::vector<FifoItem>& from, int value, FifoItem& found) {
        const auto at = std::find_if(from.begin(), from.end(), [=](auto& item) { return item.value == value; });
        if (at == from.end()) return false;
        found = *at;
        from.erase(at);
        return true;
    }
    bool held_by_the_dead(const FifoItem& item) const { return item.holder < 32 && (dead >> item.holder & 1) != 0; }
    bool give_back(int value) {
        FifoItem item;
        if (!remove(leased, value, item)) return false;
        item.holder = Execution::no_fiber;
        items.push_back(item);
        std::sort(items.begin(), items.end());
        return true;
    }

    bool apply(const Operation<Call, int>& op) {
        Fifo after = *this;
        int reply = number(Result::done);
        switch (op.call.kind) {
            case Call::put:
            case Call::try_put:
                if (mode != 0) {
                    reply = number(Result::shut);
                } else if (bound != 0 && items.size() >= bound) {
                    if (op.call.kind == Call::put) return false;
                    reply = number(Result::full);
                } else {
                    after.items.push_back({after.born++, op.call.value});
                    ++after.unfinished;
                }
                break;
            case Call::get:
            case Call::try_get:
            case Call::lease:
            case Call::try_lease: {
                const bool waits = op.call.kind == Call::get || op.call.kind == Call::lease;
                const bool leases = op.call.kind == Call::lease || op.call.kind == Call::try_lease;
                if (op.reply && *op.reply > 0 && (items.empty() || items.front().value != *op.reply))
                    for (const FifoItem& item : leased)
                        if (item.value == *op.reply && held_by_the_dead(item)) {
                            Fifo inspected = *this;
                            inspected.give_back(item.value);
                            if (inspected.items.front().value != *op.reply || !inspected.apply(op)) return false;
                            *this = inspected;
                            return true;
                        }
                if (mode == 2 || (mode == 1 && items.empty() && leased.empty())) {
                    reply = number(Result::shut);
                } else if (items.empty()) {
                    if (waits) return false;
                    reply = number(Result::empty);
                } else {
                    reply = items.front().value;
                    if (leases) after.leased.push_back({items.front().birth, items.front().value, op.fiber});
                    after.items.erase(after.items.begin());
                }
                break;
            }
            case Call::ack:
            case Call::nack: {
                FifoItem item;
                if (op.call.kind == Call::nack ? !after.give_back(op.call.value) : !remove(after.leased, op.call.value, item))
                    return false;
                after.unfinished -= op.call.kind == Call::ack;
                break;
            }
            case Call::done:
                if (unfinished == 0) return false;
                --after.unfinished;
                break;
            case Call::join:
                if (unfinished != 0 && mode != 2) return false;
                break;
            case Call::size: reply = static_cast<int>(items.size()); break;
            case Call::shut: after.mode = std::max(after.mode, 1); break;
            case Call::shut_now: after.mode = 2; break;
            case Call::drained:
                if (!items.empty() || !leased.empty()) return false;
                break;
        }
        if (op.reply && *op.reply != reply) return false;
        *this = after;
        return true;
    }
    friend bool operator==(const Fifo&, const Fifo&) = default;
};

struct Options {
    unsigned bound = 0;        // 0: none
    unsigned there = 0;        // items put before, named 901, 902, …
    bool at_the_edge = false;  // the next item but one is the first of a new chunk
};

struct Scene {
    Execution& run;
    Place place;
    QueueState<StillWorld>* state;
    Calls calls{run};
    Fifo start;
    char frames[kMembers][64];
    char baskets[kMembers][frame_bytes(kLargestFrame)];
    struct {
        LeaseName name;
        int value = 0;
    } leases[kMembers];
    int next[kMembers] = {};
    bool looking = false;

    Scene(Execution& execution, Options options) : run(execution) {
        state = RingQueue::make(place.self(), options.bound, 0);
        place.self().handles.add(place.arena(), place.self().process, &state->block);
        run.label(*state, "queue");
        run.label(state->tail.mutex, "tail section");
        run.label(state->head.mutex, "head section");
        run.label(state->tail.version, "tail version");
        run.label(state->head.version, "head version");
        run.label(state->getters, "getters");
        run.label(state->putters, "putters");
        run.label(place.arena().header().mutex, "arena section");
        if (options.at_the_edge) {
            // One large item through the first chunk leaves room for one more small one.
            static char large[kFirstChunk];
            const std::uint32_t room = kFirstChunk - sizeof(Chunk<StillWorld>) - 2 * frame_bytes(8) - sizeof(Frame);
            const Frame frame{room - static_cast<std::uint32_t>(sizeof(Frame)), FrameKind::bytes, 0, 0, 0};
            std::memcpy(large, &frame, sizeof frame);
            Taken taken;
            Wait wait;
            Caller who{place};
            SCHEDULE_CHECK(queue().attempt_put(who, large, 1, taken, wait) == Result::done);
            SCHEDULE_CHECK(queue().attempt_get(who, 1, basket(), sizeof baskets[0], taken, wait) == Result::done);
            SCHEDULE_CHECK(queue().attempt_done(who, 1, wait) == Result::done);
        }
        start.bound = options.bound;
        for (unsigned n = 1; n <= options.there; ++n) {
            put(Call::put, 900 + static_cast<int>(n));
        }
    }
    using Taken = RingQueue::Taken;

    RingQueue queue() { return RingQueue(state, place.self()); }
    std::uint32_t me() const { return Model::self() == Execution::no_fiber ? kMembers - 1 : Model::self(); }
    char* basket() { return baskets[me()]; }

    /// Forever, or once, and then it looks, as polling does.
    template <class Attempt>
    Result operate(bool waits, Result waiting, Attempt attempt) {
        Caller who{place};
        who.look = !waits && looking;
        return insist(who, attempt, waits ? waiting : Result::blocked);
    }
    int value_in_basket() {
        int value;
        std::memcpy(&value, basket() + sizeof(Frame), sizeof value);
        return value;
    }

    void put(Call::Kind kind, int value) {
        char* frame = frames[me()];
        const Frame header{8, FrameKind::bytes, 0, 0, 0};
        std::memcpy(frame, &header, sizeof header);
        std::memcpy(frame + sizeof header, &value, sizeof value);
        calls.record({kind, value}, [&] {
            Taken accepted;
            return number(operate(kind == Call::put, Result::full, [&](auto& who, Wait& wait) {
                return queue().attempt_put(who, frame, 1, accepted, wait);
            }));
        });
    }
    int get(Call::Kind kind) {
        return calls.record({kind}, [&] {
            Taken got;
            const Result result = operate(kind == Call::get, Result::empty, [&](auto& who, Wait& wait) {
                return queue().attempt_get(who, 1, basket(), sizeof baskets[0], got, wait);
            });
            return result == Result::done ? value_in_basket() : number(result);
        });
    }
    bool lease(Call::Kind kind) {
        auto& mine = leases[me()];
        const int reply = calls.record({kind}, [&] {
            Taken got;
            const Result result = operate(kind == Call::lease, Result::empty, [&](auto& who, Wait& wait) {
                return queue().attempt_lease(who, basket(), mine.name, got, wait);
            });
            return result == Result::done ? value_in_basket() : number(result);
        });
        mine.value = reply;
        return reply >= 0;
    }
    void settle(Call::Kind kind) {
        auto& mine = leases[me()];
        if (mine.value <= 0) return;
        calls.record({kind, mine.value}, [&] {
            return number(insist(Caller{place}, [&](auto& who, Wait& wait) {
                return kind == Call::ack ? queue().attempt_ack(who, mine.name, wait) : queue().attempt_nack(who, mine.name, wait);
            }));
        });
        mine.value = 0;
    }
    void done() {
        calls.record({Call::done}, [&] {
            return number(insist(Caller{place}, [&](auto& who, Wait& wait) { return queue().attempt_done(who, 1, wait); }));
        });
    }
    void join() {
        calls.record({Call::join}, [&] {
            return number(insist(Caller{place}, [&](auto& who, Wait& wait) { return queue().attempt_join(who, wait); }, Result::empty));
        });
    }
    void size() {
        calls.record({Call::size}, [&] { return static_cast<int>(queue().size()); });
    }
    void shut_down(QueueMode mode) {
        calls.record({mode == QueueMode::shut ? Call::shut : Call::shut_now}, [&] {
            return number(insist(Caller{place}, [&](auto& who, Wait& wait) { return queue().attempt_shut_down(who, mode, wait); }));
        });
    }

    /// After deaths: one who lives takes everything, and the queue is as good as new.
    void survive() {
        for (std::uint32_t i = 0; i + 1 < kMembers; ++i)
            if (i < fibers && run.died(i)) start.dead |= 1u << i;
        looking = true;
        run.fiber("survivor", [this] {
            while (get(Call::try_get) >= 0) {
            }
            calls.record({Call::drained}, [] { return number(Result::done); });
            if (queue().mode() == QueueMode::open) act_of_survivor();
        });
        run.run();
    }
    void act_of_survivor() {
        put(Call::put, 990);
        if (lease(Call::lease)) settle(Call::nack);
        if (lease(Call::lease)) settle(Call::ack);
        SCHEDULE_CHECK(queue().bytes() == 0 && queue().size() == 0 && state->leased.load() == 0);
    }
    std::uint32_t fibers = 0;

    void conclude() {
        size();
        const auto verdict = schedule::linearizable(calls, start);
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: p put, P put if there is room, g get, G get if there is one, l lease, L lease if there
/// is one, a ack what it leased, n nack it, d done, j join, s size, x shut down, X shut down at once; * lease and ack until
/// the queue is shut.
void act(Scene& scene, const char* script) {
    for (; *script != 0; ++script) {
        int& next = scene.next[scene.me()];
        const int value = static_cast<int>(scene.me() + 1) * 10 + next;
        switch (*script) {
            case 'p': ++next, scene.put(Call::put, value); break;
            case 'P': ++next, scene.put(Call::try_put, value); break;
            case 'g': scene.get(Call::get); break;
            case 'G': scene.get(Call::try_get); break;
            case 'l': scene.lease(Call::lease); break;
            case 'L': scene.lease(Call::try_lease); break;
            case 'a': scene.settle(Call::ack); break;
            case 'n': scene.settle(Call::nack); break;
            case 'd': scene.done(); break;
            case 'j': scene.join(); break;
            case 's': scene.size(); break;
            case 'x': scene.shut_down(QueueMode::shut); break;
            case 'X': scene.shut_down(QueueMode::shut_now); break;
            case '.': break;
            case '*':
                while (scene.lease(Call::lease)) scene.settle(Call::ack);
                break;
        }
    }
}

using Scripts = std::vector<const char*>;

auto scripts(Options options, Scripts all) {
    return [=](Execution& run) {
        Scene scene(run, options);
        for (const char* script : all) run.fiber(script, [&scene, script] { act(scene, script); });
        run.run();
        scene.conclude();
    };
}

/// All of them may be killed but those whose script begins with a dot.
auto mortal(Options options, Scripts all) {
    return [=](Execution& run) {
        Scene scene(run, options);
        for (const char* script : all) {
            const auto body = [&scene, script] { act(scene, script); };
            scene.fibers = 1 + (*script == '.' ? run.fiber(script, body) : run.killable_fiber(script, body));
        }
        run.run();
        scene.survive();
        scene.conclude();
    };
}

// A rebuild of the arena's books reads every record there is.
constexpr std::uint32_t kMostSteps = 100'000;

/// Depth first; in a soak with a preemption more, under a sanitizer with one less.
schedule::Plan within(unsigned preemptions, unsigned deaths = 0) {
    const unsigned most = check::sanitized ? preemptions - (preemptions != 0) : check::scale(preemptions, preemptions + 1);
    return dfs(most, deaths).with_max_steps(kMostSteps);
}

}  // namespace

TEST(puts_and_gets_are_linearizable_and_wake_who_waits) {
    schedule::check("queue, p p gg", within(2).no_timeouts(), scripts({}, {"p", "p", "gg"}));
    schedule::check("queue, pp g g", within(2).no_timeouts(), scripts({}, {"pp", "g", "g"}));
    schedule::check("queue, tries", within(1).no_timeouts(), scripts({.bound = 1}, {"PP", "GG", "sG"}));
}

TEST(a_bound_is_kept_and_wakes_who_waits_for_room) {
    schedule::check("queue of 1, pp gg", within(2).no_timeouts(), scripts({.bound = 1}, {"pp", "gg"}));
    schedule::check("queue of 1, p p gg, full", within(1).no_timeouts(), scripts({.bound = 1, .there = 1}, {"p", "p", "ggg"}));
    schedule::check("queue of 1, pp p ggg", within(1).no_timeouts(), scripts({.bound = 1}, {"pp", "p", "ggg"}));
    schedule::check("queue of 2, p p gg, full", within(1).no_timeouts(), scripts({.bound = 2, .there = 2}, {"p", "p", "g", "g"}));
}

TEST(the_step_into_another_chunk_is_as_any_other) {
    schedule::check("queue, at the edge, pp gg", within(2).no_timeouts(), scripts({.at_the_edge = true}, {"pp", "gg"}));
    schedule::check("queue, over the edge, p p ggg", within(1).no_timeouts(), scripts({.there = 1, .at_the_edge = true}, {"p", "p", "ggg"}));
}

TEST(a_shutdown_loses_no_item_and_no_sleeper) {
    schedule::check("queue, shut, p g x", within(2).no_timeouts(), scripts({}, {"p", "g", "x"}));
    schedule::check("queue, shut, g g x", within(1).no_timeouts(), scripts({}, {"g", "g", "x"}));
    schedule::check("queue, shut, g g p x", within(1).no_timeouts(), scripts({}, {"g", "g", "p", "x"}));
    schedule::check("queue of 1, shut, p p g x", within(0).no_timeouts(), scripts({.bound = 1, .there = 1}, {"p", "p", "g", "x"}));
    schedule::check("queue, shut at once, pG g Xs", within(1).no_timeouts(), scripts({}, {"pG", "g", "Xs"}));
}

TEST(a_join_ends_with_the_last_item) {
    schedule::check("queue, join, gd gd j", within(1).no_timeouts(), scripts({.there = 2}, {"gd", "gd", "j"}));
    schedule::check("queue, join, j X", within(2).no_timeouts(), scripts({.there = 1}, {"j", "X"}));
    schedule::check("queue, join, la j", within(2).no_timeouts(), scripts({.there = 1}, {"la", "j"}));
}

TEST(leases_are_linearizable) {
    schedule::check("queue, leases, la p la", within(1).no_timeouts(), scripts({}, {"la", "pp", "la"}));
    schedule::check("queue, leases, Ln g s", within(1).no_timeouts(), scripts({.there = 1}, {"Ln", "g", "s"}));
    schedule::check("queue, leases, never empty", within(1).no_timeouts(), scripts({.there = 2}, {"ln", "Gs", "p"}));
    schedule::check("queue of 1, leases, Ln p gg", within(1).no_timeouts(), scripts({.bound = 1, .there = 1}, {"Ln", "p", "gg"}));
}

TEST(a_shut_queue_waits_for_what_is_on_lease) {
    schedule::check("queue, shut, la g", within(1).no_timeouts(), scripts({.there = 1}, {"Lxa", "g"}));
    schedule::check("queue, shut, la g g", within(1).no_timeouts(), scripts({.there = 1}, {"Lxa", "g", "g"}));
    schedule::check("queue, shut, ln g g", within(1).no_timeouts(), scripts({.there = 1}, {"Lxn", "g", "g"}));
    schedule::check("queue, shut, ln * g", within(1).no_timeouts(), scripts({.there = 1}, {"Lxn", "*", "g"}));
}

TEST(a_death_at_any_step_loses_and_doubles_nothing_that_was_committed) {
    schedule::check("queue, deaths, p p G", within(1, 1), mortal({}, {"p", "p", "G"}));
    schedule::check("queue, deaths, pG Gp", within(1, 1), mortal({.there = 1}, {"pG", "Gp"}));
    schedule::check("queue, deaths, over the edge", within(0, 1), mortal({.there = 1, .at_the_edge = true}, {"pp", "GG"}));
    schedule::check("queue, deaths, sleepers", within(1, 1), mortal({}, {"g", ".g", ".pp"}));
    if (!check::sanitized)
        schedule::check("queue of 1, deaths, sleepers", within(0, 1), mortal({.bound = 1, .there = 1}, {"p", ".p", ".gg"}));
    schedule::check("queue, deaths, shut", within(0, 1), mortal({.there = 1}, {"pG", "x", ".G"}));
}

TEST(what_the_dead_had_on_lease_is_delivered_again) {
    if (!check::sanitized) {
        schedule::check("queue, deaths, La La", within(0, 1), mortal({.there = 2}, {"La", "La"}));
        schedule::check("queue, deaths, Ln G", within(0, 1), mortal({.there = 1}, {"Ln", "Gp"}));
    }
    schedule::check("queue, deaths, shut with leases", within(0, 1), mortal({.there = 1}, {"Lxn", ".g"}));
    schedule::check("queue, deaths, leases over the edge", within(0, 1), mortal({.there = 2, .at_the_edge = true}, {"LaLa", "p"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(check::sanitized ? 50 : 1000, 100000);
    schedule::check("queue, random", schedule::random(1, executions).no_timeouts(),
                    scripts({.bound = 2, .at_the_edge = true}, {"ppp", "gLnG", "ppp", "ggLag"}));
    schedule::check("queue, pct, deaths", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps),
                    mortal({.there = 1, .at_the_edge = true}, {"ppG", "LnLa", "GpLa"}));
    schedule::check("queue, random, two deaths", schedule::random(2, executions, 2).with_max_steps(kMostSteps),
                    mortal({.there = 2}, {"Ln", "pLa", "La"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
