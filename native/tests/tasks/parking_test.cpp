// How a task begins and ends its wait: place and subscription come and go together, and what is owed is said.
#include <atomic>
#include <cstdint>
#include <memory>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/tasks/parking.hpp"

using namespace threads;
using treadle::tasks::Place;

namespace {

constexpr std::uint32_t kBucket = 7, kReactor = 66;

struct Scene {
    using Header = treadle::arena::Header<SharedWorld>;

    std::unique_ptr<Header> header{new Header{}};
    treadle::tasks::Lot<PrivateWorld> lot{};
    treadle::tasks::Ears<SharedWorld> ears{header.get(), kReactor};
    std::atomic<std::uint32_t> word{5};

    Scene() { header->reactor_limit.store(kReactor + 1); }

    bool park(Place& place) {
        Wait wait;
        wait.on(&word, 5);
        place.word = wait.word;
        place.arena = header.get();
        place.bits = wait.bits;
        place.bucket = kBucket;
        return treadle::tasks::park(lot, place, ears, wait, false);
    }
    bool leave(Place& place, bool used) { return treadle::tasks::leave(lot, place, ears, used); }
    bool subscribed() const { return (header->subscribed[kBucket][kReactor / 64].load() >> (kReactor % 64) & 1) != 0; }
    /// As another process does.
    void wake() {
        ears.bells().wake(&word, kBucket, 1, ~0u, ears.bells().kNoReactor, [](std::uint32_t) { return 0u; });
    }
    void hear() { treadle::tasks::hear(lot, header.get(), ears); }
};

}  // namespace

TEST(the_process_is_subscribed_while_a_task_of_it_is_there) {
    Scene scene;
    Place a, b;
    CHECK(scene.park(a) && scene.subscribed());
    CHECK(scene.park(b) && scene.subscribed());
    CHECK(!scene.leave(a, false) && scene.subscribed());
    CHECK(!scene.leave(b, false) && !scene.subscribed());
    CHECK(!scene.leave(b, false), "it has left already");
}

TEST(a_change_before_the_place_was_there_is_seen) {
    Scene scene;
    Place a;
    scene.word.store(6);
    CHECK(!scene.park(a));
    CHECK(!scene.leave(a, true) && !scene.subscribed());
}

TEST(a_notification_is_owed_unless_it_was_used) {
    for (const bool used : {false, true}) {
        Scene scene;
        Place a;
        CHECK(scene.park(a));
        scene.wake();
        scene.hear();
        CHECK(scene.lot.has_notified());
        treadle::tasks::begin_attempt(scene.lot, a);
        CHECK_EQ(scene.leave(a, used), !used);
    }
}

TEST(a_notification_that_came_after_the_attempt_began_is_owed_though_that_succeeded) {
    Scene scene;
    Place a;
    CHECK(scene.park(a));
    treadle::tasks::begin_attempt(scene.lot, a);
    scene.wake();
    scene.hear();
    CHECK(scene.leave(a, true));
}

TEST(a_ring_that_nobody_has_heard_is_owed_by_the_last_even_if_it_used_its_own) {
    Scene scene;
    Place a;
    CHECK(scene.park(a));
    scene.wake();
    CHECK(scene.leave(a, true), "not collected yet");
    CHECK(scene.park(a));
    scene.hear();  // what was left of the first
    scene.wake();
    scene.hear();
    CHECK(scene.leave(a, true), "collected when the place had been notified already");
    CHECK(scene.park(a));
    CHECK(!scene.leave(a, true), "once");
}

TEST(a_ring_is_left_to_those_who_stay_unless_it_was_meant_for_who_leaves) {
    Scene scene;
    Place a, b;
    CHECK(scene.park(a) && scene.park(b));
    scene.wake();
    CHECK(!scene.leave(a, true), "the other one will be told");
    CHECK(scene.park(a));
    CHECK(scene.leave(a, false), "it may have been for this one's word");
    scene.hear();
    CHECK(scene.leave(b, false));
}

TEST(a_place_is_overlooked_if_its_word_has_changed) {
    Scene scene;
    Place a, own;
    CHECK(scene.park(a));
    CHECK(!treadle::tasks::overlooked<SharedWorld>(a));
    scene.word.store(6);
    CHECK(treadle::tasks::overlooked<SharedWorld>(a));
    own = a;
    own.arena = nullptr;
    CHECK(!treadle::tasks::overlooked<SharedWorld>(own), "in one process nobody dies alone");
    scene.leave(a, true);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
