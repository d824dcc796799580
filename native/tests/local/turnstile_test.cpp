// The turnstile: what each state says, whom it wakes, and that who has slept passes the wake-up on.
#include <atomic>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/local/turnstile.hpp"
#include "treadle/word/mutex.hpp"

using namespace threads;
using treadle::local::Mode;
using treadle::local::Unguarded;

namespace {

// The real world, which remembers whom it was to wake.
struct Wakes : PrivateWorld {
    struct Each {
        const void* gate;
        int count;
    };
    static inline std::vector<Each> all;
    static void wake(const void* gate, int count, std::uint32_t = kAllBits) noexcept { all.push_back({gate, count}); }
    static int to(const void* gate) noexcept {
        int sum = 0;
        for (const Each& each : all)
            if (each.gate == gate) sum = each.count == treadle::word::kWakeAll ? each.count : sum + each.count;
        return sum;
    }
};

constexpr int kAll = treadle::word::kWakeAll;

// A turnstile and as many items as it says.
struct Gates {
    treadle::local::Turnstile<Wakes, Unguarded> gates{};
    Caller who{1, deaths()};

    explicit Gates(std::uint64_t max_items = 0) {
        gates.initialise(max_items);
        Wakes::all.clear();
    }
    static const Deaths& deaths() {
        static const Deaths nobody;
        return nobody;
    }
    Result put(Wait& wait) {
        const Result result = gates.attempt_begin_put(who, wait);
        if (result == Result::done) gates.end_put(gates.count() + 1, 1, wait);
        return result;
    }
    Result get(Wait& wait) {
        const Result result = gates.attempt_begin_get(who, wait);
        if (result == Result::done) gates.end_get(gates.count() - 1, 1, wait);
        return result;
    }
    Result put() {
        Wait wait;
        return put(wait);
    }
    Result get() {
        Wait wait;
        return get(wait);
    }
    Result done(std::uint64_t count) {
        Wait wait;
        return gates.attempt_done(who, count, wait);
    }
    Result give_back() {
        Wait wait;
        const Result result = gates.attempt_begin_return(who, wait);
        if (result == Result::done) gates.end_return(gates.count() + 1);
        return result;
    }
    void look(std::uint64_t count) {
        Wait wait;
        CHECK_EQ(gates.attempt_begin_look(who, wait), Result::done);
        gates.end_look(count);
    }
    void shut_down(Mode mode, std::uint64_t dropped = 0) {
        Wait wait;
        CHECK_EQ(gates.attempt_begin_shut_down(who, mode, wait), Result::done);
        gates.end_shut_down(gates.count() - dropped, dropped);
    }
    /// Wakes to the word since the last call.
    int wakes(const Wait& sleeper) {
        const int count = Wakes::to(sleeper.word);
        Wakes::all.clear();
        return count;
    }
    static bool would_sleep(const Wait& wait) {
        return static_cast<const std::atomic<std::uint32_t>*>(wait.word)->load() == wait.expected;
    }
};

}  // namespace

TEST(a_bounded_one_is_full_at_its_bound_and_empty_at_zero) {
    Gates g(2);
    CHECK_EQ(g.get(), Result::empty);
    CHECK_EQ(g.put(), Result::done);
    CHECK(!g.gates.full() && g.gates.puttable());
    CHECK_EQ(g.put(), Result::done);
    CHECK(g.gates.full() && !g.gates.puttable());
    CHECK_EQ(g.put(), Result::full);
    CHECK_EQ(g.gates.count(), 2u);
    CHECK_EQ(g.gates.puts(), 2u);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.get(), Result::empty);
    CHECK(!g.gates.gettable());
    CHECK_EQ(g.gates.puts(), 3u);
}

TEST(one_without_a_bound_is_never_full) {
    Gates g;
    for (int i = 0; i < 1000; ++i) CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.gates.count(), 1000u);
}

TEST(who_does_not_announce_leaves_no_mark_and_costs_no_wake) {
    Gates g(1);
    Wait wait;
    wait.announce = false;
    CHECK_EQ(g.get(wait), Result::empty);
    CHECK(!wait.slept_at_gate);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(wait), Result::full);
    CHECK_EQ(g.get(), Result::done);
    CHECK(Wakes::all.empty());
}

TEST(an_item_wakes_a_getter_and_room_a_putter_once) {
    Gates g(1);
    Wait getter, putter;
    CHECK_EQ(g.get(getter), Result::empty);
    CHECK(g.would_sleep(getter) && getter.slept_at_gate);
    CHECK_EQ(g.put(), Result::done);
    CHECK(!g.would_sleep(getter), "who was about to sleep does not");
    CHECK_EQ(g.wakes(getter), 1);
    CHECK_EQ(g.put(putter), Result::full);
    CHECK(putter.word != getter.word);
    CHECK_EQ(g.get(), Result::done);
    CHECK(!g.would_sleep(putter));
    CHECK_EQ(g.wakes(putter), 1);
    CHECK_EQ(g.put(), Result::done);
    CHECK(Wakes::all.empty(), "nobody waits any more");
    CHECK_EQ(g.get(), Result::done);
    Wait second;
    CHECK_EQ(g.get(second), Result::empty);
    CHECK(g.would_sleep(second) && !g.would_sleep(getter), "another has announced itself since");
}

TEST(several_items_at_once_wake_as_many) {
    Gates g;
    Wait getter, putting;
    CHECK_EQ(g.get(getter), Result::empty);
    CHECK_EQ(g.gates.attempt_begin_put(g.who, putting), Result::done);
    g.gates.end_put(3, 3, putting);
    CHECK_EQ(g.wakes(getter), 3);
    CHECK_EQ(g.gates.unfinished(), 3u);
    CHECK_EQ(g.gates.puts(), 3u);
    g.gates.set_max_items(3);
    Wakes::all.clear();
    Wait putter, getting;
    CHECK_EQ(g.put(putter), Result::full);
    CHECK_EQ(g.gates.attempt_begin_get(g.who, getting), Result::done);
    g.gates.end_get(1, 2, getting);
    CHECK_EQ(g.wakes(putter), 2);
}

TEST(a_put_that_came_to_nothing_wakes_no_getter) {
    Gates g;
    Wait getter, putting;
    CHECK_EQ(g.get(getter), Result::empty);
    CHECK_EQ(g.gates.attempt_begin_put(g.who, putting), Result::done);
    g.gates.end_put(0, 0, putting);
    CHECK_EQ(g.wakes(getter), 0);
    CHECK(g.would_sleep(getter));
    CHECK_EQ(g.gates.unfinished(), 0u);
}

TEST(who_has_slept_announces_the_others_and_wakes_one_if_there_is_more) {
    Gates g;
    Wait first, second;
    CHECK_EQ(g.get(first), Result::empty);
    CHECK_EQ(g.get(second), Result::empty);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.wakes(first), 1, "the second put saw no mark");
    CHECK_EQ(g.get(first), Result::done);
    CHECK_EQ(g.wakes(first), 1, "there is one more");
    CHECK_EQ(g.get(second), Result::done);
    CHECK_EQ(g.wakes(first), 0, "there is none");
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.wakes(first), 1, "who has slept cannot know whether it was the last");
}

TEST(a_putter_that_has_slept_does_the_same) {
    Gates g(2);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    Wait first, second;
    CHECK_EQ(g.put(first), Result::full);
    CHECK_EQ(g.put(second), Result::full);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.wakes(first), 1);
    CHECK_EQ(g.put(first), Result::done);
    CHECK_EQ(g.wakes(first), 1, "there is room for one more");
    CHECK_EQ(g.put(second), Result::done);
    CHECK_EQ(g.wakes(first), 0);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.wakes(first), 1);
}

TEST(another_bound_makes_putters_look) {
    Gates g(1);
    CHECK_EQ(g.put(), Result::done);
    Wait putter;
    CHECK_EQ(g.put(putter), Result::full);
    g.gates.set_max_items(2);
    CHECK_EQ(g.wakes(putter), kAll);
    CHECK(!g.would_sleep(putter));
    CHECK_EQ(g.put(putter), Result::done);
    g.gates.set_max_items(1);
    CHECK_EQ(g.put(putter), Result::full);
    CHECK_EQ(g.gates.count(), 2u, "what is there stays");
    g.gates.set_max_items(0);
    CHECK_EQ(g.put(putter), Result::done);
}

TEST(who_waits_looks_again_where_the_items_have_changed_by_themselves) {
    Gates g(2);
    Wait getter, putter;
    CHECK_EQ(g.get(getter), Result::empty);
    g.look(0);
    CHECK_EQ(g.wakes(getter), 0);
    g.look(2);
    CHECK_EQ(g.wakes(getter), kAll);
    CHECK(!g.would_sleep(getter));
    CHECK_EQ(g.put(putter), Result::full);
    g.look(1);
    CHECK_EQ(g.wakes(putter), kAll);
    CHECK(!g.would_sleep(putter));
    CHECK_EQ(g.gates.count(), 1u);
    CHECK_EQ(g.gates.unfinished(), 0u, "nothing was put");
}

TEST(another_count_of_unfinished_work_lets_joiners_go_at_zero) {
    Gates g;
    CHECK_EQ(g.put(), Result::done);
    Wait joiner;
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::empty);
    g.gates.set_unfinished(2);
    CHECK_EQ(g.wakes(joiner), 0);
    g.gates.set_unfinished(0);
    CHECK_EQ(g.wakes(joiner), kAll);
    CHECK(!g.would_sleep(joiner));
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::done);
}

TEST(a_shutdown_counts_what_was_dropped_and_what_is_left_apart) {
    Gates g;
    for (int i = 0; i < 3; ++i) CHECK_EQ(g.put(), Result::done);
    Wait wait;
    CHECK_EQ(g.gates.attempt_begin_shut_down(g.who, Mode::shut_now, wait), Result::done);
    g.gates.end_shut_down(0, 2);
    CHECK_EQ(g.gates.count(), 0u);
    CHECK_EQ(g.gates.unfinished(), 1u);
}

TEST(join_ends_with_the_last_that_is_done) {
    Gates g;
    Wait joiner;
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::done);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::empty);
    CHECK(!g.gates.joinable());
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.done(1), Result::done);
    CHECK_EQ(g.wakes(joiner), 0);
    CHECK_EQ(g.done(2), Result::overflow);
    CHECK_EQ(g.gates.unfinished(), 1u);
    CHECK_EQ(g.done(1), Result::done);
    CHECK_EQ(g.wakes(joiner), kAll);
    CHECK(!g.would_sleep(joiner));
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::done);
    CHECK_EQ(g.done(1), Result::overflow);
}

TEST(what_comes_back_is_there_again_and_wakes_a_getter) {
    Gates g(1);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    g.give_back();
    CHECK_EQ(g.gates.count(), 2u, "whatever the bound");
    CHECK_EQ(g.gates.unfinished(), 2u, "it was counted when it was put");
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    Wait getter;
    CHECK_EQ(g.get(getter), Result::empty);
    g.give_back();
    CHECK_EQ(g.wakes(getter), 1);
}

TEST(a_shutdown_lets_what_is_there_out_and_nothing_in) {
    Gates g(1);
    CHECK_EQ(g.put(), Result::done);
    Wait putter;
    CHECK_EQ(g.put(putter), Result::full);
    g.shut_down(Mode::shut);
    CHECK(g.gates.is_shut() && g.gates.puttable() && g.gates.gettable());
    CHECK_EQ(g.wakes(putter), kAll);
    CHECK(!g.would_sleep(putter));
    CHECK_EQ(g.put(putter), Result::shut);
    CHECK_EQ(g.get(), Result::done);
    CHECK_EQ(g.get(), Result::shut);
    CHECK_EQ(g.gates.unfinished(), 1u);
    Wait joiner;
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::empty);
    CHECK_EQ(g.done(1), Result::done);
    CHECK_EQ(g.wakes(joiner), kAll);
}

TEST(a_shutdown_at_once_drops_what_is_there_and_never_becomes_milder) {
    Gates g;
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    Wait joiner;
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::empty);
    g.shut_down(Mode::shut_now, 1);
    CHECK_EQ(g.wakes(joiner), kAll);
    CHECK_EQ(g.gates.count(), 0u);
    CHECK_EQ(g.gates.unfinished(), 1u, "one is still being worked on");
    g.shut_down(Mode::shut);
    CHECK(g.gates.mode() == Mode::shut_now);
    CHECK_EQ(g.get(), Result::shut);
    CHECK_EQ(g.put(), Result::shut);
    CHECK_EQ(g.give_back(), Result::shut, "what comes back now is thrown away as well");
    CHECK_EQ(g.gates.count(), 0u);
}

TEST(after_a_shutdown_who_may_waits_for_what_is_out_on_lease) {
    Gates g;
    g.gates.lend();
    g.gates.lend();
    g.shut_down(Mode::shut);
    Wait getter;
    CHECK_EQ(g.get(), Result::shut, "unless it asks for that");
    CHECK(g.gates.gettable() && !g.gates.gettable(true));
    CHECK_EQ(g.gates.attempt_begin_get(g.who, getter, true), Result::empty);
    CHECK(Gates::would_sleep(getter));
    Wakes::all.clear();
    g.gates.settle();
    CHECK_EQ(g.wakes(getter), 0, "another is still out");
    g.gates.settle();
    CHECK_EQ(g.wakes(getter), kAll);
    CHECK(!Gates::would_sleep(getter) && g.gates.gettable(true));
    CHECK_EQ(g.gates.attempt_begin_get(g.who, getter, true), Result::shut);
    g.gates.lend();
    g.shut_down(Mode::shut_now);
    CHECK_EQ(g.gates.attempt_begin_get(g.who, getter, true), Result::shut, "at once: nothing comes back");
    g.gates.forget_leases();
    CHECK_EQ(g.gates.leased(), 0u);
}

TEST(all_who_wait_are_told_of_a_shutdown) {
    Gates empty;
    Wait getter, joiner;
    CHECK_EQ(empty.get(getter), Result::empty);
    empty.shut_down(Mode::shut);
    CHECK(!empty.would_sleep(getter));
    CHECK_EQ(Wakes::to(getter.word), kAll);
    CHECK_EQ(empty.get(getter), Result::shut);
    Gates full(1);
    CHECK_EQ(full.put(), Result::done);
    CHECK_EQ(full.gates.attempt_join(full.who, joiner), Result::empty);
    full.shut_down(Mode::shut_now, 1);
    CHECK(!full.would_sleep(joiner));
    CHECK_EQ(Wakes::to(joiner.word), kAll);
    CHECK_EQ(full.gates.attempt_join(full.who, joiner), Result::done);
}

TEST(who_moves_hands_all_on_and_sends_all_who_wait_after_it) {
    Gates g(1), next;
    Wait putter, joiner, getter, moving;
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.get(), Result::done);
    g.gates.lend();
    CHECK_EQ(g.get(getter), Result::empty);
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.put(putter), Result::full);
    CHECK_EQ(g.gates.attempt_join(g.who, joiner), Result::empty);
    g.shut_down(Mode::shut);
    Wakes::all.clear();
    CHECK_EQ(g.gates.attempt_begin_move(g.who, moving), Result::done);
    g.gates.move_to(next.gates);
    for (const Wait* each : {&putter, &joiner, &getter}) {
        CHECK(!g.would_sleep(*each));
        CHECK_EQ(Wakes::to(each->word), kAll);
    }
    CHECK_EQ(next.gates.count(), 1u);
    CHECK_EQ(next.gates.puts(), 2u);
    CHECK_EQ(next.gates.unfinished(), 2u);
    CHECK_EQ(next.gates.leased(), 1u);
    CHECK_EQ(next.gates.max_items(), 1u);
    CHECK(next.gates.mode() == Mode::shut);
}

TEST(where_it_has_moved_nothing_is_done_and_nobody_waits) {
    Gates g(1), next;
    Wait wait;
    CHECK_EQ(g.put(), Result::done);
    CHECK_EQ(g.gates.attempt_begin_move(g.who, wait), Result::done);
    g.gates.give_up_move();
    CHECK_EQ(g.put(), Result::full);
    CHECK_EQ(g.gates.attempt_begin_move(g.who, wait), Result::done);
    g.gates.move_to(next.gates);
    CHECK(g.gates.puttable() && g.gates.gettable(true) && g.gates.joinable());
    CHECK_EQ(g.put(), Result::gone);
    CHECK_EQ(g.get(), Result::gone);
    CHECK_EQ(g.done(1), Result::gone);
    CHECK_EQ(g.give_back(), Result::gone);
    CHECK_EQ(g.gates.attempt_join(g.who, wait), Result::gone);
    CHECK_EQ(g.gates.attempt_begin_shut_down(g.who, Mode::shut_now, wait), Result::gone);
    CHECK_EQ(g.gates.attempt_begin_move(g.who, wait), Result::gone);
    CHECK_EQ(next.gates.count(), 1u);
    CHECK(!next.gates.is_shut());
}

TEST(a_section_keeps_others_out_from_begin_to_end) {
    treadle::local::Turnstile<PrivateWorld, treadle::word::Mutex<PrivateWorld>> gates{};
    gates.initialise(1);
    Deaths deaths;
    Caller first{1, deaths}, second{2, deaths, true};
    Wait wait, other;
    CHECK_EQ(gates.attempt_begin_put(first, wait), Result::done);
    CHECK(gates.entered_by(1) && !gates.entered_by(2));
    CHECK_EQ(gates.attempt_begin_put(second, other), Result::blocked);
    CHECK(other.section && !other.slept_at_gate);
    CHECK_EQ(gates.attempt_begin_get(second, other), Result::blocked);
    CHECK_EQ(gates.attempt_begin_return(second, other), Result::blocked);
    CHECK_EQ(gates.attempt_done(second, 1, other), Result::blocked);
    CHECK_EQ(gates.attempt_join(second, other), Result::blocked);
    CHECK_EQ(gates.attempt_begin_shut_down(second, Mode::shut, other), Result::blocked);
    gates.end_put(1, 1, wait);
    CHECK(!gates.entered_by(1));
    // Each answer that is not done leaves the section.
    CHECK_EQ(gates.attempt_begin_put(first, wait), Result::full);
    CHECK_EQ(gates.attempt_join(first, wait), Result::empty);
    CHECK_EQ(gates.attempt_done(first, 9, wait), Result::overflow);
    CHECK_EQ(gates.attempt_begin_get(second, other), Result::done);
    gates.end_get(0, 1, other);
    CHECK_EQ(gates.attempt_begin_get(first, wait), Result::empty);
    CHECK_EQ(gates.attempt_done(first, 1, wait), Result::done);
    CHECK_EQ(gates.attempt_join(first, wait), Result::done);
    CHECK_EQ(gates.attempt_begin_shut_down(first, Mode::shut_now, wait), Result::done);
    gates.end_shut_down(0, 0);
    CHECK_EQ(gates.attempt_begin_put(first, wait), Result::shut);
    CHECK_EQ(gates.attempt_begin_get(first, wait), Result::shut);
    CHECK(!gates.entered_by(1) && !gates.entered_by(2));
}

TEST(a_section_whose_owner_is_gone_is_taken_over) {
    treadle::local::Turnstile<PrivateWorld, treadle::word::Mutex<PrivateWorld>> gates{};
    gates.initialise(0);
    Deaths deaths;
    Caller gone{1, deaths}, child{2, deaths, true};
    Wait wait, other;
    CHECK_EQ(gates.attempt_begin_put(gone, wait), Result::done);
    deaths.kill(1);
    CHECK_EQ(gates.attempt_begin_put(child, other), Result::done);
    CHECK(gates.entered_by(2));
    gates.end_put(1, 1, other);
    CHECK_EQ(gates.attempt_begin_get(child, other), Result::done);
    gates.end_get(0, 1, other);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
