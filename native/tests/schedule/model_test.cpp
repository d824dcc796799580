// The model's atomics, futex, clock and fibers behave as the real ones are specified to.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "check.hpp"
#include "schedule/schedule.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::explore;
using schedule::Model;
using schedule::Plan;
using schedule::Result;

namespace {

using Word = Model::Atom<std::uint32_t>;

}  // namespace

TEST(a_wait_parks_only_on_the_expected_value_and_a_wake_reaches_its_bits_in_order) {
    schedule::check("futex semantics", dfs(0).no_timeouts(), [](Execution& run) {
        Model::Atom<std::uint64_t> wide{0x0000000500000007u};
        Word gate{};
        std::string order;
        const auto sleeper = [&](char name, std::uint32_t bits) {
            run.fiber(std::string(1, name), [&, name, bits] {
                while (gate.load() != static_cast<std::uint32_t>(name - 'x')) Model::wait(&gate, gate.peek());
                gate.fetch_add(1);
                Model::wake(&gate, 100);
                SCHEDULE_CHECK(Model::wait(&wide, 8) == Model::Outcome::changed, "its low half is 7");
                SCHEDULE_CHECK(Model::wait(&wide, 7, 0, bits) == Model::Outcome::woken);
                order += name;
            });
        };
        sleeper('x', 1);
        sleeper('y', 2);
        sleeper('z', 3);
        run.fiber("waker", [&] {
            while (gate.load() != 3) Model::wait(&gate, gate.peek());
            // By now all three may still be on their way to their last wait.
            for (int i = 0; i < 20; ++i) Model::pause();
            Model::wake(&wide, 0);
            Model::wake(&wide, 100, 4);
            SCHEDULE_CHECK(order.empty());
            Model::wake(&wide, 1, 2);
            for (int i = 0; i < 20; ++i) Model::pause();
            SCHEDULE_CHECK(order == "y");
            Model::wake(&wide, 1);
            for (int i = 0; i < 20; ++i) Model::pause();
            SCHEDULE_CHECK(order == "yx");
            Model::wake(&wide, 1);
        });
        run.run();
        SCHEDULE_CHECK(order == "yxz", order);
    });
}

TEST(a_wake_takes_any_waiter_where_the_plan_says_so) {
    const auto orders = [](const Plan& plan) {
        std::set<std::string> found;
        const Result result = explore(plan.no_timeouts(), [&](Execution& run) {
            Word word{}, parking{};
            std::string woken;
            for (const char name : {'x', 'y', 'z'}) {
                run.fiber(std::string(1, name), [&, name] {
                    while (parking.load() != static_cast<std::uint32_t>(name - 'x')) Model::pause();
                    parking.fetch_add(1);
                    Model::wait(&word, 0);
                    woken += name;
                });
            }
            run.fiber("waker", [&] {
                while (parking.load() != 3) Model::pause();
                for (int i = 0; i < 3; ++i) Model::wake(&word, 1);
            });
            run.run();
            found.insert(woken);
        });
        CHECK(!result.failed && result.complete, result.report);
        return found;
    };
    // Those that were woken may run in any order; whom a wake took is seen where the others are not woken yet.
    const auto first_woken = [](const Plan& plan) {
        std::set<char> found;
        explore(plan, [&](Execution& run) {
            Word word{}, parked{};
            char first = 0;
            for (const char name : {'x', 'y'}) {
                run.fiber(std::string(1, name), [&, name] {
                    while (parked.load() != static_cast<std::uint32_t>(name - 'x')) Model::pause();
                    parked.store(parked.peek() + 1);
                    Model::wait(&word, 0);
                    if (first == 0) first = name;
                });
            }
            run.fiber("waker", [&] {
                while (parked.load() != 2) Model::pause();
                Model::wake(&word, 1);
            });
            run.run();
            found.insert(first);
        });
        return found;
    };
    CHECK_EQ(orders(dfs(0)).size(), 6u);
    CHECK(first_woken(dfs(0)) == (std::set<char>{'x'}));
    CHECK(first_woken(dfs(0).waking_in_any_order()) == (std::set<char>{'x', 'y'}));
}

TEST(model_atoms_compute_what_std_atomics_do) {
    const auto both = [](auto zero) {
        using T = decltype(zero);
        Model::Atom<T> model{};
        std::atomic<T> real{};
        const auto same = [&](auto operation) {
            CHECK_EQ(operation(model), operation(real));
            CHECK_EQ(model.peek(), real.load());
        };
        const T values[] = {T(1), T(77), T(-3), static_cast<T>(~T(0)), static_cast<T>(T(1) << (8 * sizeof(T) - 2))};
        for (const T value : values) {
            same([=](auto& atom) { return atom.fetch_add(value); });
            same([=](auto& atom) { return atom.fetch_sub(static_cast<T>(value / 2)); });
            same([=](auto& atom) { return atom.fetch_or(value); });
            same([=](auto& atom) { return atom.fetch_xor(T(0x55)); });
            same([=](auto& atom) { return atom.fetch_and(static_cast<T>(~value)); });
            same([=](auto& atom) { return atom.exchange(value); });
            same([=](auto& atom) {
                T expected = T(5);
                const bool done = atom.compare_exchange_strong(expected, value);
                return static_cast<T>(expected + done);
            });
            same([=](auto& atom) {
                T expected = atom.load();
                atom.store(T(9));
                expected = T(9);
                return atom.compare_exchange_strong(expected, value) ? T(1) : T(0);
            });
        }
    };
    both(std::uint8_t{});
    both(std::int16_t{});
    both(std::uint32_t{});
    both(std::int32_t{});
    both(std::uint64_t{});
    both(std::int64_t{});
    // Zeroed memory is an atom.
    alignas(8) std::byte memory[8] = {};
    CHECK_EQ(reinterpret_cast<Model::Atom<std::uint64_t>*>(memory)->load(), 0u);
}

TEST(the_clock_agrees_with_causality_and_jumps_at_timeouts) {
    schedule::check("clock", dfs(2), [](Execution& run) {
        Model::Atom<std::uint64_t> written{};
        Word never{};
        run.fiber("writer", [&] { written.store(Model::now()); });
        run.fiber("reader", [&] {
            const std::uint64_t start = Model::now();
            const std::uint64_t seen = written.load();
            SCHEDULE_CHECK(Model::now() > seen && Model::now() > start);
            const Model::Outcome outcome = Model::wait(&never, 0);
            SCHEDULE_CHECK(outcome == Model::Outcome::timeout);
            SCHEDULE_CHECK(Model::now() >= start + 100'000'000);
        });
        run.run();
        SCHEDULE_CHECK(run.timeouts() == 1);
    });
}

TEST(fibers_know_themselves_and_the_dead) {
    schedule::check("self and alive", dfs(1, 1), [](Execution& run) {
        CHECK_EQ(Model::self(), Execution::no_fiber);
        const auto victim = run.killable_fiber("victim", [] {
            SCHEDULE_CHECK(Model::self() == 0);
            Model::yield_point("here");
        });
        run.fiber("watcher", [&] {
            SCHEDULE_CHECK(Model::self() == 1);
            const bool alive = Model::alive(victim);
            SCHEDULE_CHECK(alive == !run.died(victim));
        });
        run.run();
        SCHEDULE_CHECK(Model::alive(victim) == !run.died(victim));
    });
}

TEST(a_body_may_run_in_phases) {
    schedule::check("phases", dfs(2), [](Execution& run) {
        Word word{};
        for (int i = 0; i < 2; ++i) run.fiber("first", [&] { word.fetch_add(1); });
        run.run();
        SCHEDULE_CHECK(word.peek() == 2);
        for (int i = 0; i < 2; ++i) run.fiber("second", [&] { word.fetch_add(1); });
        run.run();
        SCHEDULE_CHECK(word.peek() == 4);
    });
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
