// The queue under systematic schedules: linearizable as a FIFO with leases, no sleeper forgotten, and nothing committed
// lost or doubled when a fiber dies.
#include <cstdint>
#include <cstring>

#include "ring/queue_scene.hpp"
#include "treadle/ring/queue.hpp"

using namespace queue_scene;

namespace {

struct Fifo {
    using Queue = treadle::ring::Queue<StillWorld, Member>;
    using State = QueueState<StillWorld>;
    static constexpr Sequence kOrder = Sequence::oldest_first;

    static State* make(Scene<Fifo>& scene) { return Queue::make(scene.place.self(), scene.options.bound, 0); }
    static void label(Execution& run, State& state) {
        run.label(state.tail.mutex, "tail section");
        run.label(state.head.mutex, "head section");
        run.label(state.tail.version, "tail version");
        run.label(state.head.version, "head version");
    }
    static void write(char* out, int value) {
        const Frame frame{8, FrameKind::bytes, 0, 0, 0};
        std::memcpy(out, &frame, sizeof frame);
        std::memcpy(out + sizeof frame, &value, sizeof value);
    }
    /// At the edge the next item but one is the first of a new chunk.
    static void lay_out(Scene<Fifo>& scene) {
        if (!scene.options.at_the_edge) return;
        // One large item through the first chunk leaves room for one more small one.
        alignas(8) static char large[kFirstChunk];
        const std::uint32_t room = kFirstChunk - sizeof(Chunk<StillWorld>) - 2 * frame_bytes(8) - sizeof(Frame);
        const Frame frame{room - static_cast<std::uint32_t>(sizeof(Frame)), FrameKind::bytes, 0, 0, 0};
        std::memcpy(large, &frame, sizeof frame);
        Taken taken;
        Wait wait;
        Caller who{scene.place};
        SCHEDULE_CHECK(scene.queue().attempt_put(who, large, 1, taken, wait) == Result::done);
        SCHEDULE_CHECK(scene.queue().attempt_get(who, 1, scene.basket(), sizeof scene.baskets[0], taken, wait) == Result::done);
        SCHEDULE_CHECK(scene.queue().attempt_done(who, 1, wait) == Result::done);
    }
};

auto scripts(Options options, Scripts all) { return queue_scene::scripts<Fifo>(options, all); }
auto mortal(Options options, Scripts all) { return queue_scene::mortal<Fifo>(options, all); }

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
