// The quick lock under systematic schedules: it excludes, and leaves nobody asleep.
#include "check.hpp"
#include "schedule/schedule.hpp"
#include "treadle/platform/quick_lock.hpp"

using schedule::dfs;
using schedule::Execution;
using schedule::Model;

namespace {

auto holders(unsigned fibers, unsigned rounds) {
    return [=](Execution& run) {
        treadle::platform::QuickLock<Model> lock;
        bool inside = false;
        run.label(lock, "lock");
        for (unsigned i = 0; i < fibers; ++i)
            run.fiber("holder", [&] {
                for (unsigned n = 0; n < rounds; ++n) {
                    const treadle::platform::QuickGuard guard(lock);
                    SCHEDULE_CHECK(!inside, "two are inside");
                    inside = true;
                    Model::yield_point("inside");
                    inside = false;
                }
            });
        run.run();
    };
}

}  // namespace

TEST(it_excludes_and_leaves_nobody_asleep) {
    schedule::check("quick lock, 2 holders", dfs(4).no_timeouts(), holders(2, 2));
    schedule::check("quick lock, 3 holders", dfs(3).no_timeouts(), holders(3, 1));
    schedule::check("quick lock, 3 holders, twice", dfs(2).no_timeouts(), holders(3, 2));
    schedule::check("quick lock, any sleeper is woken", dfs(1).no_timeouts().waking_in_any_order(), holders(4, 1));
}

TEST(waits_that_run_out_do_no_harm) {
    schedule::check("quick lock, 2 disturbances", dfs(2).no_timeouts().with_spurious(2), holders(3, 1));
}

int main(int argc, char** argv) { return schedule::main(argc, argv); }
