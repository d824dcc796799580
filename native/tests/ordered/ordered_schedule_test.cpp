// Ordered queues under systematic schedules: linearizable with leases, equals in order of arrival, what comes back in its old
// place, no sleeper forgotten, and nothing committed lost or doubled when a fiber dies.
#include <cstdint>
#include <cstring>

#include "ring/queue_scene.hpp"
#include "treadle/ordered/queue.hpp"

using namespace queue_scene;
using treadle::ordered::Order;
using treadle::ordered::OrderedState;
using treadle::ordered::Record;

namespace {

template <Order kInOrder>
struct Sorted {
    using Queue = treadle::ordered::OrderedQueue<StillWorld, Member>;
    using State = OrderedState<StillWorld>;
    static constexpr Sequence kOrder = kInOrder == Order::by_key ? Sequence::by_key : Sequence::newest_first;

    static State* make(Scene<Sorted>& scene) { return Queue::make(scene.place.self(), kInOrder, scene.options.bound, 0); }
    static void label(Execution& run, State& state) {
        run.label(state.mutex, "section");
        run.label(state.dirty, "dirty");
        run.label(state.size, "size");
        run.label(state.puts, "puts");
        run.label(state.leased, "leased");
    }
    static void write(char* out, int value) {
        const auto key = static_cast<char>(key_of(value));
        const Record record{kInOrder == Order::by_key ? 1u : 0u, 0};
        const Frame frame{8, FrameKind::bytes, 0, 0, 0};
        std::memcpy(out, &record, sizeof record);
        out += sizeof record;
        if (record.key_bytes != 0) {
            *out = key;
            out += padded(1);
        }
        std::memcpy(out, &frame, sizeof frame);
        std::memcpy(out + sizeof frame, &value, sizeof value);
    }
    /// At the edge the table is full: what is on lease, and was declared done before, has filled it, and the next item needs a
    /// larger one.
    static void lay_out(Scene<Sorted>& scene) {
        if (!scene.options.at_the_edge) return;
        Caller who{scene.place};
        Wait wait;
        Taken taken;
        const std::uint64_t missing = treadle::ordered::kFirstCapacity - scene.options.there;
        for (std::uint64_t n = 0; n < missing; ++n) {
            alignas(8) char record[64];
            write(record, 0);
            SCHEDULE_CHECK(scene.queue().attempt_put(who, record, 1, taken, wait) == Result::done);
            SCHEDULE_CHECK(scene.queue().attempt_done(who, 1, wait) == Result::done);
        }
        for (std::uint64_t n = 0; n < missing; ++n) {
            LeaseName name;
            SCHEDULE_CHECK(scene.queue().attempt_lease(who, scene.basket(), name, taken, wait) == Result::done);
            ++scene.out_before;
        }
    }
};
using ByKey = Sorted<Order::by_key>;
using Newest = Sorted<Order::newest_first>;

}  // namespace

TEST(puts_and_gets_are_linearizable_and_wake_who_waits) {
    schedule::check("by key, pp p ggg", within(1).no_timeouts(), scripts<ByKey>({}, {"pp", "p", "ggg"}));
    schedule::check("by key, p p gg", within(1).no_timeouts(), scripts<ByKey>({}, {"p", "p", "gg"}));
    schedule::check("by key, pp g g", within(1).no_timeouts(), scripts<ByKey>({}, {"pp", "g", "g"}));
    schedule::check("newest, pp g g", within(1).no_timeouts(), scripts<Newest>({}, {"pp", "g", "g"}));
    schedule::check("newest, p p gg", within(1).no_timeouts(), scripts<Newest>({}, {"p", "p", "gg"}));
    schedule::check("by key, tries", within(1).no_timeouts(), scripts<ByKey>({.bound = 1}, {"PP", "GG", "sG"}));
}

TEST(a_bound_is_kept_and_wakes_who_waits_for_room) {
    schedule::check("by key, bound 1, pp gg", within(1).no_timeouts(), scripts<ByKey>({.bound = 1}, {"pp", "gg"}));
    schedule::check("by key, bound 1, p p gg, full", within(1).no_timeouts(), scripts<ByKey>({.bound = 1, .there = 1}, {"p", "p", "ggg"}));
    schedule::check("newest, bound 2, p p g g, full", within(0).no_timeouts(), scripts<Newest>({.bound = 2, .there = 2}, {"p", "p", "g", "g"}));
}

TEST(a_shutdown_loses_no_item_and_no_sleeper) {
    schedule::check("by key, shut, p g x", within(1).no_timeouts(), scripts<ByKey>({}, {"p", "g", "x"}));
    schedule::check("by key, shut, g g p x", within(0).no_timeouts(), scripts<ByKey>({}, {"g", "g", "p", "x"}));
    schedule::check("by key, bound 1, shut, p p g x", within(0).no_timeouts(), scripts<ByKey>({.bound = 1, .there = 1}, {"p", "p", "g", "x"}));
    schedule::check("by key, shut at once, pG g Xs", within(1).no_timeouts(), scripts<ByKey>({}, {"pG", "g", "Xs"}));
}

TEST(a_join_ends_with_the_last_item) {
    schedule::check("by key, join, gd gd j", within(1).no_timeouts(), scripts<ByKey>({.there = 2}, {"gd", "gd", "j"}));
    schedule::check("by key, join, j X", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"j", "X"}));
    schedule::check("by key, join, la j", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"la", "j"}));
}

TEST(leases_are_linearizable_and_what_comes_back_has_its_place) {
    schedule::check("by key, leases, la p la", within(1).no_timeouts(), scripts<ByKey>({}, {"la", "pp", "la"}));
    schedule::check("by key, leases, Ln g s", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"Ln", "g", "s"}));
    schedule::check("by key, leases, Ln Gp G", within(1).no_timeouts(), scripts<ByKey>({.there = 2}, {"Ln", "Gp", "G"}));
    schedule::check("newest, leases, Ln Gp G", within(0).no_timeouts(), scripts<Newest>({.there = 2}, {"Ln", "GpG", "G"}));
    schedule::check("by key, never empty", within(1).no_timeouts(), scripts<ByKey>({.there = 2}, {"ln", "Gs", "p"}));
    schedule::check("by key, bound 1, leases, Ln p gg", within(1).no_timeouts(), scripts<ByKey>({.bound = 1, .there = 1}, {"Ln", "p", "gg"}));
}

TEST(a_shut_queue_waits_for_what_is_on_lease) {
    schedule::check("by key, shut, la g", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"Lxa", "g"}));
    schedule::check("by key, shut, la g g", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"Lxa", "g", "g"}));
    schedule::check("by key, shut, ln g g", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"Lxn", "g", "g"}));
    schedule::check("by key, shut, ln * g", within(1).no_timeouts(), scripts<ByKey>({.there = 1}, {"Lxn", "*", "g"}));
}

TEST(a_death_at_any_step_loses_and_doubles_nothing_that_was_committed) {
    schedule::check("by key, deaths, p G", dfs(1, 1).with_max_steps(kMostSteps), mortal<ByKey>({}, {"p", "G"}));
    schedule::check("by key, deaths, pG Gp", within(0, 1), mortal<ByKey>({.there = 1}, {"pG", "Gp"}));
    schedule::check("newest, deaths, pG Gp", within(0, 1), mortal<Newest>({.there = 2}, {"pG", "Gp"}));
    schedule::check("by key, deaths, sleepers", dfs(0, 1).with_max_steps(kMostSteps), mortal<ByKey>({}, {"g", ".g", ".pp"}));
    if (!check::sanitized)
        schedule::check("by key, bound 1, deaths, sleepers", dfs(0, 1).with_max_steps(kMostSteps), mortal<ByKey>({.bound = 1, .there = 1}, {"p", ".p", ".gg"}));
    schedule::check("by key, deaths, shut", dfs(0, 1).with_max_steps(kMostSteps), mortal<ByKey>({.there = 1}, {"pG", "x", ".G"}));
}

TEST(who_looks_while_a_death_is_recovered_from_finds_what_is_there) {
    // Found by random schedules: it takes a death and two preemptions.
    const auto executions = check::scale<std::uint64_t>(check::sanitized ? 50 : 3000, 300000);
    schedule::check("by key, a look", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps), mortal<ByKey>({.there = 2}, {"Ln", ".p", ".GG"}));
    schedule::check("by key, sizes", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps), mortal<ByKey>({.there = 2}, {"Ln", ".p", ".sss"}));
}

TEST(a_death_while_the_table_grows_changes_nothing) {
    schedule::check("by key, deaths, a full table", within(0, 1), mortal<ByKey>({.there = 2, .at_the_edge = true}, {"pG", "pG"}));
}

TEST(what_the_dead_had_on_lease_is_delivered_again) {
    if (!check::sanitized) {
        schedule::check("by key, deaths, La La", within(0, 1), mortal<ByKey>({.there = 2}, {"La", "La"}));
        schedule::check("by key, deaths, Ln G", within(0, 1), mortal<ByKey>({.there = 1}, {"Ln", "Gp"}));
    }
    schedule::check("by key, deaths, shut with leases", within(0, 1), mortal<ByKey>({.there = 1}, {"Lxn", ".g"}));
    schedule::check("newest, deaths, LaLa p", within(0, 1), mortal<Newest>({.there = 2}, {"LaLa", "p"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(check::sanitized ? 50 : 1000, 100000);
    schedule::check("by key, random", schedule::random(1, executions).no_timeouts(),
                    scripts<ByKey>({.bound = 2}, {"ppp", "gLnG", "ppp", "ggLag"}));
    schedule::check("newest, random", schedule::random(2, executions).no_timeouts(), scripts<Newest>({}, {"pppp", "gLnG", "pp", "ggLa"}));
    schedule::check("by key, pct, deaths", schedule::pct(1, executions, 4, 1).with_max_steps(kMostSteps),
                    mortal<ByKey>({.there = 1}, {"ppG", "LnLa", "GpLa"}));
    schedule::check("by key, random, two deaths", schedule::random(2, executions, 2).with_max_steps(kMostSteps),
                    mortal<ByKey>({.there = 2}, {"Ln", "pLa", "La"}));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
