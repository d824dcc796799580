// ring/queue_scene.hpp: a queue of any order under systematic schedules: the sequential queue that its calls are compared
// with, and what the fibers of an execution do to it.
//
// A `Flavour` is a queue's type:
//     Queue, State                         as in ring/queue.hpp
//     kOrder                               in which items come out
//     make(Scene&)                         the queue, new
//     label(Execution&, State&)            names for traces
//     write(char* out, int value)          what attempt_put is given for the item of that value
//     lay_out(Scene&)                      what a test wants to be so before it begins
#pragma once

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
#include "treadle/ring/layout.hpp"

namespace queue_scene {

using namespace modelled;
using namespace treadle::ring;
using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Operation;

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

enum class Sequence { oldest_first, newest_first, by_key };

/// Where items have keys there are two, so that some are equal and some come out of turn.
constexpr int key_of(int value) { return value % 2; }

struct PutItem {
    int rank, birth, value;
    std::uint32_t holder = Execution::no_fiber;  // of its lease
    auto operator<=>(const PutItem&) const = default;
};

/// The sequential queue. Items are named by their values, which are different. What the dead hold on lease is given back
/// at some time: it may be delivered again from their death on.
struct Sequential {
    Sequence order = Sequence::oldest_first;
    unsigned bound = 0;
    std::uint32_t dead = 0;              // fibers, as bits
    int born = 0;
    std::vector<PutItem> items, leased;  // the former in the order in which they come out
    int unfinished = 0;
    int mode = 0;

    static bool remove(std::vector<PutItem>& from, int value, PutItem& found) {
        const auto at = std::find_if(from.begin(), from.end(), [=](auto& item) { return item.value == value; });
        if (at == from.end()) return false;
        found = *at;
        from.erase(at);
        return true;
    }
    bool held_by_the_dead(const PutItem& item) const { return item.holder < 32 && (dead >> item.holder & 1) != 0; }
    bool give_back(int value) {
        PutItem item;
        if (!remove(leased, value, item)) return false;
        item.holder = Execution::no_fiber;
        items.push_back(item);
        std::sort(items.begin(), items.end());
        return true;
    }

    bool apply(const Operation<Call, int>& op) {
        Sequential after = *this;
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
                    const int rank = order == Sequence::by_key ? key_of(op.call.value) : order == Sequence::newest_first ? -born : 0;
                    after.items.push_back({rank, after.born++, op.call.value});
                    std::sort(after.items.begin(), after.items.end());
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
                    for (const PutItem& item : leased)
                        if (item.value == *op.reply && held_by_the_dead(item)) {
                            Sequential inspected = *this;
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
                    if (leases) after.leased.push_back({items.front().rank, items.front().birth, items.front().value, op.fiber});
                    after.items.erase(after.items.begin());
                }
                break;
            }
            case Call::ack:
            case Call::nack: {
                PutItem item;
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
    friend bool operator==(const Sequential&, const Sequential&) = default;
};

struct Options {
    unsigned bound = 0;        // 0: none
    unsigned there = 0;        // items put before, named 901, 902, …
    bool at_the_edge = false;  // Flavour::lay_out
};

template <class Flavour>
struct Scene {
    using QueueT = typename Flavour::Queue;

    Execution& run;
    Options options;
    Place place;
    typename Flavour::State* state;
    Calls calls{run};
    Sequential start;
    alignas(8) char frames[kMembers][64];
    char baskets[kMembers][frame_bytes(kLargestFrame)];
    struct {
        LeaseName name;
        int value = 0;
    } leases[kMembers];
    int next[kMembers] = {};
    bool looking = false;
    std::uint32_t fibers = 0;
    std::uint64_t out_before = 0;  // on lease when the test began, to no fiber

    Scene(Execution& execution, Options how) : run(execution), options(how) {
        state = Flavour::make(*this);
        place.self().handles.add(place.arena(), place.self().process, &state->block);
        run.label(*state, "queue");
        run.label(state->getters, "getters");
        run.label(state->putters, "putters");
        run.label(place.arena().header().mutex, "arena section");
        Flavour::label(run, *state);
        Flavour::lay_out(*this);
        start.order = Flavour::kOrder;
        start.bound = options.bound;
        for (unsigned n = 1; n <= options.there; ++n) {
            put(Call::put, 900 + static_cast<int>(n));
        }
    }

    QueueT queue() { return QueueT(state, place.self()); }
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
        Flavour::write(frame, value);
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
        SCHEDULE_CHECK(queue().bytes() == 0 && queue().size() == 0 && state->leased.load() == out_before);
    }
    void conclude() {
        size();
        const auto verdict = schedule::linearizable(calls, start);
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    }
};

/// What one fiber does, as letters: p put, P put if there is room, g get, G get if there is one, l lease, L lease if there
/// is one, a ack what it leased, n nack it, d done, j join, s size, x shut down, X shut down at once; * lease and ack until
/// the queue is shut.
template <class Flavour>
void act(Scene<Flavour>& scene, const char* script) {
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

template <class Flavour>
auto scripts(Options options, Scripts all) {
    return [=](Execution& run) {
        Scene<Flavour> scene(run, options);
        for (const char* script : all) run.fiber(script, [&scene, script] { act(scene, script); });
        run.run();
        scene.conclude();
    };
}

/// All of them may be killed but those whose script begins with a dot.
template <class Flavour>
auto mortal(Options options, Scripts all) {
    return [=](Execution& run) {
        Scene<Flavour> scene(run, options);
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
inline constexpr std::uint32_t kMostSteps = 100'000;

/// Depth first; in a soak with a preemption more, under a sanitizer with one less.
inline schedule::Plan within(unsigned preemptions, unsigned deaths = 0) {
    const unsigned most = check::sanitized ? preemptions - (preemptions != 0) : check::scale(preemptions, preemptions + 1);
    return dfs(most, deaths).with_max_steps(kMostSteps);
}

}  // namespace queue_scene
