// The doorbell under systematic schedules: no message is slept through, and an exposed end is readable exactly while there
// is something to receive.
#include <cstdint>
#include <string>

#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/channel/doorbell.hpp"
#include "word/caller.hpp"

using schedule::dfs;
using schedule::Execution;
using word_test::Model;

using Doorbell = treadle::channel::Doorbell<Model>;

namespace {

/// One direction of a channel, as numbers: messages on their way, and whether the bell has been rung.
struct Scene {
    Execution& run;
    Doorbell bell{};
    Model::Atom<std::uint64_t> sent{}, received{};
    Model::Atom<std::uint32_t> rung{};  // 0: the pipe is empty

    std::uint64_t puts() const { return sent.load(); }
    std::uint64_t taken() const { return received.load(); }
    std::uint64_t size() const { return puts() - taken(); }

    struct Pipe {
        Scene& scene;
        void ring() {
            scene.rung.store(1);
            Model::wake(&scene.rung, 1 << 30);
        }
        void silence() { scene.rung.store(0); }
        void take() {
            while (scene.rung.load() == 0)
                if (Model::wait(&scene.rung, 0) == Model::Outcome::timeout) return;
            silence();
        }
    };

    explicit Scene(Execution& execution) : run(execution) {
        run.label(bell, "bell");
        run.label(sent, "sent");
        run.label(received, "received");
        run.label(rung, "rung");
    }

    bool take() {
        for (std::uint64_t n = received.load(); n != sent.load();)
            if (received.compare_exchange_strong(n, n + 1)) return true;
        return false;
    }

    void send(int count) {
        for (int i = 0; i < count; ++i) {
            sent.fetch_add(1);
            bell.ring_for_messages(sent.load(), Pipe{*this});
        }
    }
    /// As await_end: look, settle, look, sleep.
    void receive(int count) {
        for (int i = 0; i < count; ++i) {
            for (bool stray = false; !take(); stray = true) {
                bell.settle(received.load(), Pipe{*this}, stray);
                if (take()) break;
                Model::wait(&rung, 0);
            }
            bell.show(Pipe{*this}, *this);
        }
    }
    /// A selector: what it finds readable must have a message, since nobody else receives.
    void select_and_receive(int count) {
        for (int i = 0; i < count; ++i) {
            while (rung.load() == 0) Model::wait(&rung, 0);
            SCHEDULE_CHECK(take(), "readable, and nothing to receive");
            bell.show(Pipe{*this}, *this);
        }
    }
    void conclude(std::uint64_t left) {
        SCHEDULE_CHECK(size() == left);
        if (bell.exposed()) SCHEDULE_CHECK((rung.load() != 0) == (left != 0), "the sign is wrong");
    }
};

}  // namespace

TEST(a_sleeper_misses_no_message) {
    schedule::check("doorbell, 1 to 1", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        run.fiber("sender", [&] { scene.send(2); });
        run.fiber("receiver", [&] { scene.receive(2); });
        run.run();
        scene.conclude(0);
    });
    schedule::check("doorbell, 2 senders", dfs(3).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        run.fiber("sender", [&] { scene.send(1); });
        run.fiber("other sender", [&] { scene.send(1); });
        run.fiber("receiver", [&] { scene.receive(2); });
        run.run();
        scene.conclude(0);
    });
}

TEST(a_selector_misses_no_message_and_sees_none_that_is_not_there) {
    schedule::check("doorbell, exposed before", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        scene.bell.expose(Scene::Pipe{scene}, scene);
        run.fiber("sender", [&] { scene.send(3); });
        run.fiber("selector", [&] { scene.select_and_receive(3); });
        run.run();
        scene.conclude(0);
    });
    schedule::check("doorbell, exposed amid sends", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        run.fiber("sender", [&] { scene.send(3); });
        run.fiber("selector", [&] {
            scene.bell.expose(Scene::Pipe{scene}, scene);
            scene.select_and_receive(2);
        });
        run.run();
        scene.conclude(1);
    });
    schedule::check("doorbell, exposed, 2 senders", dfs(3).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        scene.bell.expose(Scene::Pipe{scene}, scene);
        run.fiber("sender", [&] { scene.send(1); });
        run.fiber("other sender", [&] { scene.send(1); });
        run.fiber("selector", [&] { scene.select_and_receive(2); });
        run.run();
        scene.conclude(0);
    });
}

TEST(a_sleeper_beside_a_selector_leaves_the_sign_right) {
    schedule::check("doorbell, exposed, a sleeper", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        scene.bell.expose(Scene::Pipe{scene}, scene);
        run.fiber("sender", [&] { scene.send(2); });
        run.fiber("sleeper", [&] { scene.receive(1); });
        run.run();
        scene.conclude(1);
    });
}

TEST(a_message_taken_without_a_sleep_rings_for_nobody_later) {
    schedule::check("doorbell, exposed, taken by looking", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        scene.bell.expose(Scene::Pipe{scene}, scene);
        run.fiber("sender", [&] { scene.send(2); });
        run.fiber("receiver", [&] {
            if (scene.take()) scene.bell.show(Scene::Pipe{scene}, scene);
            if (scene.take()) scene.bell.show(Scene::Pipe{scene}, scene);
        });
        run.run();
        scene.conclude(scene.size());
    });
}

TEST(room_is_rung_for_apart) {
    schedule::check("doorbell, room", dfs(4).no_timeouts(), [](Execution& run) {
        Scene scene(run);
        Model::Atom<std::uint32_t> room{};
        run.fiber("maker of room", [&] {
            room.store(1);
            scene.bell.ring_for_room(Scene::Pipe{scene});
        });
        run.fiber("sleeper", [&] {
            while (room.load() == 0) {
                Scene::Pipe{scene}.silence();
                scene.bell.want_room();
                if (room.load() != 0) break;
                Model::wait(&scene.rung, 0);
            }
        });
        run.run();
    });
}

TEST(a_death_at_any_step_costs_no_more_than_a_bounded_sleep) {
    schedule::check("doorbell, a sender dies", dfs(3, 1), [](Execution& run) {
        Scene scene(run);
        run.killable_fiber("sender", [&] { scene.send(1); });
        run.fiber("other sender", [&] { scene.send(1); });
        run.fiber("receiver", [&] { scene.receive(1); });
        run.run();
        SCHEDULE_CHECK(run.timeouts() == 0 || run.deaths() == 1, "a timeout, though nobody died");
    });
    schedule::check("doorbell, a receiver dies", dfs(2, 1), [](Execution& run) {
        Scene scene(run);
        run.killable_fiber("receiver", [&] { scene.receive(1); });
        run.fiber("sender", [&] { scene.send(2); });
        run.fiber("survivor", [&] { scene.receive(1); });
        run.run();
    });
}

TEST(random_schedules_hold) {
    const auto executions = check::scale<std::uint64_t>(3000, 200000);
    const auto body = [](Execution& run) {
        Scene scene(run);
        scene.bell.expose(Scene::Pipe{scene}, scene);
        run.fiber("sender", [&] { scene.send(3); });
        run.fiber("other sender", [&] { scene.send(2); });
        run.fiber("selector", [&] { scene.select_and_receive(5); });
        run.run();
        scene.conclude(0);
    };
    schedule::check("doorbell, random", schedule::random(1, executions).no_timeouts(), body);
    schedule::check("doorbell, pct", schedule::pct(1, executions, 4).no_timeouts(), body);
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
