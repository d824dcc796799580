// The quick lock: it excludes, it wakes who sleeps, and it is free in the child of a fork.
#include <cstdint>

#include "check.hpp"
#include "threads.hpp"
#include "treadle/platform/quick_lock.hpp"

using namespace threads;
using treadle::platform::QuickGuard;
using QuickLock = treadle::platform::QuickLock<PrivateWorld>;

TEST(threads_exclude_each_other) {
    const unsigned rounds = check::scale(check::sanitized ? 5000u : 100000u, 1000000u);
    QuickLock lock;
    std::uint64_t count = 0;  // plain: the lock is what guards it
    run_threads(4, [&](unsigned) {
        for (unsigned n = 0; n < rounds; ++n) {
            const QuickGuard guard(lock);
            ++count;
        }
    });
    CHECK_EQ(count, 4u * rounds);
}

TEST(a_lock_whose_holder_was_lost_in_a_fork_is_free_again) {
    QuickLock lock;
    lock.acquire();
    lock.reinitialise();
    lock.acquire();
    lock.release();
    const QuickGuard guard(lock);
    CHECK(true);
}

int main(int argc, char** argv) { return check::main(argc, argv); }
