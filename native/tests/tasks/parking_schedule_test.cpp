// Tasks of several processes, and threads, at one semaphore under systematic schedules: the lot, the doorbells and the
// subscriptions between them. As long as nobody dies every wake reaches somebody who can use it, or who waits sees the
// change when it looks once more: nobody is left asleep, also when tasks give up at any moment.
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/tasks/parking.hpp"
#include "treadle/word/semaphore.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using treadle::tasks::Place;
using word_test::Caller;
using word_test::Result;
using word_test::Wait;

namespace {

struct Scene;
Scene* scene = nullptr;

// The model, where a wake reaches tasks as well.
struct World : schedule::Model {
    static void wake(const void* word, int count, std::uint32_t bits = kAllBits) noexcept;
};

using Bells = treadle::tasks::Doorbells<World>;
using Header = treadle::arena::Header<World>;
using Flag = World::Atom<std::uint32_t>;

constexpr std::uint32_t kBucket = 77;

struct Process {
    treadle::tasks::Lot<World> lot{};
    std::uint32_t reactor = Bells::kNoReactor;
    Flag tasks{};  // that have not ended
};

struct Scene {
    Execution& run;
    static inline Header header{};
    std::array<Process, 3> processes{};
    std::array<std::uint32_t, 16> process_of{};  // by fiber
    treadle::word::Semaphore<World> semaphore{};
    Flag served{};
    std::deque<Flag> signals;  // each awaited once

    /// `turn`: a wake for one goes to threads first if it is even.
    Scene(Execution& execution, std::uint32_t turn) : run(execution) {
        scene = this;
        // Only what the doorbells use.
        header.reactor_limit.store(0);
        header.wakes.store(turn);
        std::memset(static_cast<void*>(header.subscribed), 0, sizeof header.subscribed);
        std::memset(static_cast<void*>(header.reactors), 0, 3 * sizeof header.reactors[0]);
        run.label(header.subscribed, "subscribed");
        run.label(header.reactors, "reactors");
        run.label(semaphore, "semaphore");
        for (int i = 0; i < 40; ++i) signals.emplace_back();
    }
    Process& here() { return processes[process_of[World::self()]]; }
    treadle::tasks::Ears<World> ears(Process& p) { return {p.reactor == Bells::kNoReactor ? nullptr : &header, p.reactor}; }
    void give_reactor(std::uint32_t process) {
        processes[process].reactor = process;
        if (header.reactor_limit.load() <= process) header.reactor_limit.store(process + 1);
    }
    Flag& new_signal() {
        Flag& signal = signals[used_signals_++];
        return signal;
    }

    void wake(const void* word, int count, std::uint32_t bits) {
        Process& p = here();
        Bells(header).wake(word, kBucket, count, bits, p.reactor,
                           [&](std::uint32_t most) { return p.lot.notify(word, kBucket, most, bits); });
    }
    /// What every call of the process ends with, and each turn of its reactor.
    void deliver(Process& p) {
        for (;;) {
            void* owner = nullptr;
            if (p.lot.take_notified([&](Place& place) { owner = place.owner; }) == nullptr) return;
            static_cast<Flag*>(owner)->store(1);
            World::wake_threads(owner, 1);
        }
    }

    void leave(Process& p, Place& place, bool used) {
        if (treadle::tasks::leave(p.lot, place, ears(p), used)) wake(place.word, 1, place.bits);
        deliver(p);
    }
    /// As Waiter of the extension module. `gives_up`: is cancelled as soon as it has parked, whatever has come meanwhile.
    void task(bool gives_up) {
        Process& p = here();
        Place place;
        bool again = false;
        for (Wait wait;;) {
            treadle::tasks::begin_attempt(p.lot, place);
            const Result result = semaphore.attempt_acquire(wait);
            if (result == Result::done) {
                leave(p, place, true);
                served.fetch_add(1);
                break;
            }
            leave(p, place, true);
            Flag& signal = new_signal();
            place.owner = &signal;
            place.word = wait.word;
            place.arena = &header;
            place.bits = wait.bits;
            place.bucket = kBucket;
            const bool asleep = treadle::tasks::park(p.lot, place, ears(p), wait, again);
            again = true;
            if (gives_up) {
                leave(p, place, false);
                break;
            }
            if (asleep)
                while (signal.load() == 0) World::wait(&signal, 0);
        }
        // The last one lets the reactor end.
        if (p.tasks.fetch_sub(1) == 1 && p.reactor != Bells::kNoReactor) {
            header.reactors[p.reactor].bell.fetch_add(1);
            World::wake_threads(&header.reactors[p.reactor].bell, 1);
        }
    }
    void react() {
        Process& p = here();
        Bells bells(header);
        for (;;) {
            const std::uint32_t bell = bells.bell(p.reactor);
            treadle::tasks::hear(p.lot, &header, ears(p));
            deliver(p);
            if (p.tasks.load() == 0) return;
            // Its sleep is bounded: then it looks.
            if (World::wait(bells.futex(p.reactor), bell) == World::Outcome::timeout) {
                p.lot.notify_to_look(treadle::tasks::kBuckets, treadle::tasks::overlooked<World>);
                deliver(p);
            }
        }
    }
    void thread() {
        Caller who;
        SCHEDULE_CHECK(word_test::insist(who, [&](Wait& wait) { return semaphore.attempt_acquire(wait); }) == Result::done);
        deliver(here());
        served.fetch_add(1);
    }
    void release() {
        SCHEDULE_CHECK(semaphore.release(1, 100) == Result::done);
        deliver(here());
    }

private:
    std::size_t used_signals_ = 0;
};

void World::wake(const void* word, int count, std::uint32_t bits) noexcept { scene->wake(word, count, bits); }

/// Fibers, each of a process (0, 1, 2) and a letter for what it does: t is a task, c a task that is cancelled, T a thread
/// that acquires, r R releases once or twice; ! behind it: it may be killed. A process with tasks has a reactor, which is a fiber, too.
auto together(std::vector<const char*> all, std::uint32_t turn = 0) {
    return [=](Execution& run) {
        Scene scene(run, turn);
        std::uint32_t acquires = 0, released = 0;
        for (const char* each : all) {
            const std::uint32_t process = static_cast<std::uint32_t>(each[0] - '0');
            const char letter = each[1];
            if (letter == 't' || letter == 'c') {
                scene.processes[process].tasks.store(scene.processes[process].tasks.load() + 1);
                scene.give_reactor(process);
            }
            acquires += (letter == 't' || letter == 'T') && each[2] != '!';
            released += letter == 'r' ? 1 : letter == 'R' ? 2 : 0;
            const auto body = [&scene, letter] {
                switch (letter) {
                    case 't': scene.task(false); break;
                    case 'c': scene.task(true); break;
                    case 'T': scene.thread(); break;
                    case 'R': scene.release(); [[fallthrough]];
                    case 'r': scene.release(); break;
                }
            };
            scene.process_of[each[2] == '!' ? run.killable_fiber(each, body) : run.fiber(each, body)] = process;
        }
        for (std::uint32_t process = 0; process < scene.processes.size(); ++process)
            if (scene.processes[process].reactor != Bells::kNoReactor)
                scene.process_of[run.fiber("reactor " + std::to_string(process), [&scene] { scene.react(); })] = process;
        run.run();
        // Who gave up may have been served first.
        SCHEDULE_CHECK(scene.served.load() >= acquires);
        SCHEDULE_CHECK(run.deaths() != 0 || scene.served.load() + scene.semaphore.value() == released);
        SCHEDULE_CHECK(run.timeouts() == 0 || run.deaths() != 0, "a wake is lost, though nobody died");
        for (const Process& p : scene.processes) SCHEDULE_CHECK(p.lot.empty() && !p.lot.has_notified());
        for (const auto& bucket : scene.header.subscribed)
            for (const auto& part : bucket) SCHEDULE_CHECK(part.load() == 0, "a subscription is left");
    };
}

schedule::Plan within(unsigned preemptions) { return dfs(preemptions).no_timeouts(); }

}  // namespace

TEST(a_task_is_told_by_another_process) {
    schedule::check("parking, a task and a releaser", within(3), together({"0t", "1r"}));
    schedule::check("parking, two tasks and a releaser", within(1), together({"0t", "0t", "1R"}));
}

TEST(a_task_is_told_by_its_own_process) {
    schedule::check("parking, a task and a releaser beside it", within(2), together({"0t", "0r"}));
}

TEST(threads_and_tasks_lose_no_wake_to_each_other) {
    schedule::check("parking, a task, a thread, two releases", within(1), together({"0t", "1T", "2R"}));
    schedule::check("parking, a task first, a thread, two releases", within(1), together({"0t", "1T", "2R"}, 1));
    schedule::check("parking, a task, a thread, two releasers", within(1), together({"0t", "1T", "2r", "2r"}));
}

TEST(two_processes_with_tasks_lose_no_wake_to_each_other) {
    schedule::check("parking, tasks of two processes", within(1), together({"0t", "1t", "2R"}));
}

TEST(a_death_before_the_wake_costs_no_more_than_a_bounded_sleep) {
    schedule::check("parking, a releaser dies", dfs(2, 1), together({"0t", "1r!", "2r"}));
    schedule::check("parking, a releaser dies beside a thread", dfs(1, 1), together({"0t", "1r!", "2R", "2T"}));
    schedule::check("parking, a thread that was woken dies", dfs(1, 1), together({"0t", "1T!", "2R"}));
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(2000, 100000);
    const auto body = together({"0t", "0t", "0c", "1t", "1T", "2R", "0R", "1r"});
    schedule::check("parking, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("parking, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

TEST(who_gives_up_takes_no_wake_with_it) {
    schedule::check("parking, one gives up beside a thread", within(2), together({"0c", "1T", "2R"}));
    schedule::check("parking, the first gives up beside a thread", within(2), together({"0c", "1T", "2R"}, 1));
    schedule::check("parking, one gives up beside a task of its process", within(1), together({"0c", "0t", "2R"}));
    schedule::check("parking, one gives up beside a task of another", within(1), together({"0c", "1t", "2R"}));
    schedule::check("parking, the first gives up beside a task of another", within(1), together({"0c", "1t", "2R"}, 1));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
