// The checker of histories tells linearizable ones from others, and finds queues that are not.
#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "schedule/linearizability.hpp"
#include "schedule/schedule.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::History;
using schedule::Model;
using schedule::Operation;

namespace {

constexpr int none = -1;
constexpr std::uint32_t slots = 4;  // of every queue here

/// A call on a queue: put(value), or get() if the value is `none`. A put replies 1 (0 if full), a get the value or `none`.
struct Call {
    int value = none;
    friend std::ostream& operator<<(std::ostream& out, const Call& call) {
        return call.value == none ? out << "get()" : out << "put(" << call.value << ")";
    }
};
using Entry = Operation<Call, int>;

struct SequentialQueue {
    std::deque<int> items{};

    bool apply(const Entry& entry) {
        int reply = none;
        if (entry.call.value != none) {
            reply = items.size() < slots ? 1 : 0;
            if (reply == 1) items.push_back(entry.call.value);
        } else if (!items.empty()) {
            reply = items.front();
            items.pop_front();
        }
        return !entry.reply || *entry.reply == reply;
    }
    friend bool operator==(const SequentialQueue&, const SequentialQueue&) = default;
};

/// As a queue, but a get may find it empty though something is in it.
struct ShyQueue : SequentialQueue {
    bool apply(const Entry& entry) {
        return (entry.call.value == none && entry.reply == none) || SequentialQueue::apply(entry);
    }
    friend bool operator==(const ShyQueue&, const ShyQueue&) = default;
};

/// A history written by hand: `returned` 0 means pending.
Entry put(int value, std::uint64_t called, std::uint64_t returned, int reply = 1) {
    if (returned == 0) return {0, {value}, std::nullopt, called, Entry::never};
    return {0, {value}, reply, called, returned};
}
Entry get(int reply, std::uint64_t called, std::uint64_t returned) {
    if (returned == 0) return {1, {none}, std::nullopt, called, Entry::never};
    return {1, {none}, reply, called, returned};
}

bool holds(const std::vector<Entry>& history) { return schedule::linearizable(history, SequentialQueue{}).holds; }

// ------------------------------------------------------------------------------------------------------- the queues

/// A bounded queue of Vyukov's kind: each slot has a turn, which is what a put or get claims and passes on. With two
/// producers it is known not to be linearizable: it calls itself empty while the first one is late, though the second
/// one's put has returned.
struct Queue {
    struct Slot {
        Model::Atom<std::uint32_t> turn;
        Model::Atom<std::uint32_t> value;
    };
    std::array<Slot, slots> ring{};
    Model::Atom<std::uint32_t> tail{}, head{};

    Queue() {
        for (std::uint32_t i = 0; i < slots; ++i) ring[i].turn.store(i);
    }

    int put(int value) {
        std::uint32_t at = tail.load();
        for (;;) {
            Slot& slot = ring[at % slots];
            const auto difference = static_cast<std::int32_t>(slot.turn.load() - at);
            if (difference < 0) return 0;
            if (difference == 0 && tail.compare_exchange_weak(at, at + 1)) {
                slot.value.store(static_cast<std::uint32_t>(value));
                slot.turn.store(at + 1);
                return 1;
            }
            if (difference > 0) at = tail.load();
        }
    }

    int get() {
        std::uint32_t at = head.load();
        for (;;) {
            Slot& slot = ring[at % slots];
            const auto difference = static_cast<std::int32_t>(slot.turn.load() - (at + 1));
            if (difference < 0) return none;
            if (difference == 0 && head.compare_exchange_weak(at, at + 1)) {
                const auto value = static_cast<int>(slot.value.load());
                slot.turn.store(at + slots);
                return value;
            }
            if (difference > 0) at = head.load();
        }
    }
};

/// Wrong: the tail is published before the value is in its slot.
struct HastyQueue {
    std::array<Model::Atom<std::uint32_t>, slots> ring{};
    Model::Atom<std::uint32_t> tail{}, head{};

    int put(int value) {
        const std::uint32_t at = tail.fetch_add(1);
        ring[at % slots].store(static_cast<std::uint32_t>(value));
        return 1;
    }
    int get() {
        std::uint32_t at = head.load();
        while (at != tail.load()) {
            if (head.compare_exchange_weak(at, at + 1)) return static_cast<int>(ring[at % slots].load());
        }
        return none;
    }
};

/// Wrong: the item is read, and then claimed by a store: two may get it.
struct DoublingQueue : HastyQueue {
    int get() {
        const std::uint32_t at = head.load();
        if (at == tail.load()) return none;
        const auto value = static_cast<int>(ring[at % slots].load());
        head.store(at + 1);
        return value;
    }
};

/// Puts in one critical section: at any death, an item is in the queue or not.
struct OneStoreQueue {
    std::array<Model::Atom<std::uint32_t>, slots> ring{};
    Model::Atom<std::uint32_t> tail{}, head{};

    int put(int value) {  // one producer
        const std::uint32_t at = tail.load();
        ring[at % slots].store(static_cast<std::uint32_t>(value));
        tail.store(at + 1);
        return 1;
    }
    int get() {
        std::uint32_t at = head.load();
        while (at != tail.load()) {
            const auto value = static_cast<int>(ring[at % slots].load());
            if (head.compare_exchange_weak(at, at + 1)) return value;
        }
        return none;
    }
};

template <class TestedQueue, class Specification = SequentialQueue>
auto producers_and_consumers(int producers, int consumers, int each, bool killable = false) {
    return [=](Execution& run) {
        TestedQueue queue;
        run.label(queue.ring, "ring");
        run.label(queue.tail, "tail");
        run.label(queue.head, "head");
        History<Call, int> history(run);
        for (int p = 0; p < producers; ++p) {
            const auto body = [&, p] {
                for (int i = 0; i < each; ++i) {
                    const int value = 10 * (p + 1) + i;
                    history.record(Call{value}, [&] { return queue.put(value); });
                }
            };
            killable ? run.killable_fiber("producer", body) : run.fiber("producer", body);
        }
        for (int c = 0; c < consumers; ++c) {
            run.fiber("consumer", [&] {
                for (int i = 0; i < each; ++i) history.record(Call{}, [&] { return queue.get(); });
            });
        }
        run.run();
        // What is left is part of the history.
        while (history.record(Call{}, [&] { return queue.get(); }) != none) {
        }
        const auto verdict = schedule::linearizable(history, Specification{});
        SCHEDULE_CHECK(verdict.holds, verdict.why);
    };
}

template <class TestedQueue>
void is_found_out(const char* name, int producers, int consumers, bool killable = false) {
    const auto body = producers_and_consumers<TestedQueue>(producers, consumers, 2, killable);
    for (const auto& plan : {dfs(2, killable), dfs(2, killable).unpruned(), schedule::random(1, 20000, killable)}) {
        const auto result = schedule::explore(plan, body);
        CHECK(result.failed, name);
        CHECK(result.message.find("not linearizable") != std::string::npos, name, ": ", result.message);
        CHECK(schedule::explore(schedule::replay(result.schedule), body).failed, name);
    }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- the checker alone

TEST(sequential_histories_are_judged_by_the_specification) {
    CHECK(holds({}));
    CHECK(holds({put(1, 1, 2), put(2, 3, 4), get(1, 5, 6), get(2, 7, 8), get(none, 9, 10)}));
    CHECK(!holds({put(1, 1, 2), put(2, 3, 4), get(2, 5, 6)}), "not first in, first out");
    CHECK(!holds({put(1, 1, 2), get(none, 3, 4)}), "empty after a put");
    CHECK(!holds({put(1, 1, 2), get(1, 3, 4), get(1, 5, 6)}), "one item twice");
    CHECK(!holds({get(1, 1, 2), put(1, 3, 4)}), "an item from the future");
}

TEST(overlapping_operations_may_take_effect_in_any_order) {
    CHECK(holds({put(1, 1, 4), put(2, 2, 3), get(2, 5, 6), get(1, 7, 8)}));
    CHECK(holds({put(1, 1, 4), get(1, 2, 3)}));
    CHECK(holds({put(1, 1, 4), get(none, 2, 3)}));
    CHECK(!holds({put(1, 1, 4), get(1, 2, 3), get(1, 5, 6)}));
    // Two overlapping puts, but the gets, one after the other, saw different orders.
    CHECK(!holds({put(1, 1, 10), put(2, 2, 10), put(3, 11, 12), get(3, 13, 14)}));
}

TEST(a_pending_operation_may_have_taken_effect_or_not) {
    CHECK(holds({put(1, 1, 0), get(none, 2, 3)}));
    CHECK(holds({put(1, 1, 0), get(1, 2, 3)}));
    CHECK(holds({put(1, 1, 0), get(none, 2, 3), get(1, 4, 5)}), "it took effect late");
    CHECK(!holds({put(1, 1, 0), get(1, 2, 3), get(1, 4, 5)}), "not twice");
    CHECK(!holds({put(1, 1, 0), get(1, 2, 3), get(2, 4, 5)}), "and nothing else");
    CHECK(holds({put(1, 1, 2), get(none, 3, 0), get(none, 4, 5)}), "a pending get took the item");
    CHECK(!holds({get(1, 1, 2), put(1, 3, 0)}), "not before its call");
}

TEST(the_verdict_tells_the_history) {
    const auto verdict = schedule::linearizable(std::vector<Entry>{put(7, 1, 2), get(none, 3, 4)}, SequentialQueue{});
    CHECK(!verdict.holds);
    CHECK(verdict.why.find("put(7) -> 1") != std::string::npos, verdict.why);
    CHECK(verdict.why.find("get() -> -1") != std::string::npos, verdict.why);
}

TEST(histories_agree_with_trying_all_permutations) {
    schedule::detail::Random random(11);
    unsigned yes = 0, no = 0;
    for (int round = 0; round < check::scale(2000, 50000) / (check::sanitized ? 4 : 1); ++round) {
        // Random intervals and replies; some pending.
        std::vector<Entry> history;
        for (unsigned i = 0; i < 5; ++i) {
            const std::uint64_t called = 1 + random.below(12);
            const std::uint64_t returned = random.below(6) == 0 ? 0 : called + 1 + random.below(8);
            const int item = static_cast<int>(random.below(3));
            history.push_back(random.below(2) == 0 ? put(static_cast<int>(i), called, returned)
                                                   : get(random.below(3) == 0 ? none : item, called, returned));
        }
        // The truth: some subset with all completed ones, in some permutation that respects time and specification.
        std::vector<std::size_t> order = {0, 1, 2, 3, 4};
        bool truth = false;
        do {
            for (unsigned left_out = 0; left_out < 32 && !truth; ++left_out) {
                SequentialQueue state;
                bool fits = true;
                for (std::size_t i = 0; i < order.size() && fits; ++i) {
                    const Entry& entry = history[order[i]];
                    if (left_out >> order[i] & 1) {
                        fits = !entry.reply;
                        continue;
                    }
                    for (std::size_t later = i + 1; later < order.size(); ++later) {
                        fits = fits && !(history[order[later]].returned < entry.called);
                    }
                    fits = fits && state.apply(entry);
                }
                truth = fits;
            }
        } while (!truth && std::next_permutation(order.begin(), order.end()));
        CHECK_EQ(holds(history), truth, "round ", round);
        ++(truth ? yes : no);
    }
    CHECK(yes > 50 && no > 50, yes, " yes, ", no, " no");
}

// ------------------------------------------------------------------------------------------------------- with fibers

TEST(wrong_queues_are_found_out) {
    is_found_out<HastyQueue>("published before it is written", 1, 1);
    is_found_out<Queue>("calls itself empty while a put is late", 2, 1);
    is_found_out<DoublingQueue>("read, then claimed by a store", 1, 2);
    is_found_out<HastyQueue>("a producer dies between publishing and writing", 1, 1, true);
}

TEST(right_queues_pass) {
    schedule::check("turn queue, 1 x 1", dfs(3), producers_and_consumers<Queue>(1, 1, 2));
    schedule::check("turn queue, 1 x 2", dfs(2), producers_and_consumers<Queue>(1, 2, 2));
    schedule::check("turn queue, 2 x 1, shy", dfs(check::scale(1u, 2u)), producers_and_consumers<Queue, ShyQueue>(2, 1, 2));
    schedule::check("turn queue, 2 x 2, shy", dfs(check::scale(1u, 2u)), producers_and_consumers<Queue, ShyQueue>(2, 2, 1));
    schedule::check("one-store queue, 1 x 2", dfs(2), producers_and_consumers<OneStoreQueue>(1, 2, 2));
    schedule::check("one-store queue, 1 x 2, unpruned", dfs(1).unpruned(), producers_and_consumers<OneStoreQueue>(1, 2, 2));
}

TEST(a_put_of_the_dead_happened_or_did_not) {
    schedule::check("one-store queue, 1 death", dfs(2, 1), producers_and_consumers<OneStoreQueue>(1, 2, 2, true));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
