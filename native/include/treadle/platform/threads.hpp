// platform/threads.hpp: who a thread is to the private objects of its own process; and what cores it may run on.
//
// A token is unique to its thread for the life of the process. In a child of fork only the forking thread exists, under
// the token it had; every other token of the parent is dead there. So a private lock that some other thread held at the
// fork is found ownerless, as the standard library's at-fork rules demand, without a list of all locks.
//
//   token  59..16 serial | 15..0 epoch: the number of forks between this process and the first one
#pragma once

#include <atomic>
#include <cstdint>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

namespace treadle::platform {

using ThreadToken = std::uint64_t;

inline constinit thread_local ThreadToken tls_private_token = 0;
inline constinit std::atomic<std::uint64_t> private_serial{0};
inline constinit std::uint64_t private_epoch = 0;
inline constinit ThreadToken private_survivor = 0;  // the token of the thread that forked this process

// For who is no thread: a task.
inline ThreadToken new_private_token() noexcept {
    const std::uint64_t serial = private_serial.fetch_add(1, std::memory_order_relaxed) + 1;
    return (serial << 16) | (private_epoch & 0xffff);
}
[[gnu::noinline]] inline ThreadToken make_private_token() noexcept { return tls_private_token = new_private_token(); }
inline ThreadToken private_token() noexcept {
    const ThreadToken token = tls_private_token;
    return token != 0 ? token : make_private_token();
}
inline bool private_token_alive(ThreadToken token) noexcept {
    return (token & 0xffff) == (private_epoch & 0xffff) || token == private_survivor;
}

inline void install_private_threads() noexcept {
    pthread_atfork(nullptr, nullptr, [] {
        ++private_epoch;
        private_survivor = tls_private_token;
    });
}

inline int granted_cores() noexcept {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));  // more cores than a cpu_set_t can name
}
inline void yield_core() noexcept { sched_yield(); }

}  // namespace treadle::platform
