// The stepper itself: that it counts instructions exactly, kills where it says, and changes nothing of what the stepped
// function does.
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

#include "check.hpp"
#include "crash/step_kill.hpp"

namespace {

using step_kill::Stepper;

#if defined(__x86_64__)

constexpr Stepper all_steppers[] = {Stepper::trap_flag, Stepper::ptrace};

extern "C" {
void selftest_ten_stores(void* counter);
void selftest_loop(void* counter);
void selftest_system_call(void* counter);
void selftest_rep_store(void* bytes);
void selftest_red_zone(void* result);
}
asm(R"(
    .text
    .type selftest_ten_stores, @function
selftest_ten_stores:
    .rept 10
    incq (%rdi)
    .endr
    ret
    .type selftest_loop, @function
selftest_loop:
    mov $5, %ecx
1:  dec %ecx
    jnz 1b
    ret
    .type selftest_system_call, @function
selftest_system_call:
    mov $39, %eax
    syscall
    mov %rax, (%rdi)
    syscall
    movq $1, 8(%rdi)
    ret
    .type selftest_rep_store, @function
selftest_rep_store:
    mov $7, %ecx
    mov $0x61, %al
    rep stosb
    ret
    .type selftest_red_zone, @function
selftest_red_zone:
    movq $1, -8(%rsp)
    movq $2, -64(%rsp)
    movq $4, -128(%rsp)
    movq -8(%rsp), %rax
    addq -64(%rsp), %rax
    addq -128(%rsp), %rax
    movq %rax, (%rdi)
    ret
)");

struct Trace {
    std::uint64_t kill_after;
    std::uint64_t boundaries;
    std::uintptr_t at[64];
    std::uint64_t memory[8];
    step_kill::Report report;
};

bool trace_step(void* self, std::uintptr_t next) {
    auto& trace = *static_cast<Trace*>(self);
    if (trace.boundaries < std::size(trace.at)) trace.at[trace.boundaries] = next;
    return trace.boundaries++ == trace.kill_after;
}

step_kill::Ended trace_function(Trace& trace, Stepper stepper, void (*function)(void*), std::uint64_t kill_after) {
    trace = Trace{};
    trace.kill_after = kill_after;
    const step_kill::StepSink sink{trace_step, &trace};
    step_kill::start_ticking();
    const pid_t pid = step_kill::start_watched(
        trace.report, 20, [&] { step_kill::call_stepped(stepper, function, trace.memory, sink); });
    return step_kill::wait_for_end(pid, trace.report, 20, false, sink);
}

struct TraceMemory {
    Trace* trace = static_cast<Trace*>(step_kill::map_shared(sizeof(Trace)));
    ~TraceMemory() { munmap(trace, sizeof(Trace)); }
};

TEST(instructions_are_counted_one_by_one) {
    struct {
        const char* name;
        void (*function)(void*);
        std::uint64_t instructions;
    } const known[] = {
        {"straight", selftest_ten_stores, 11},
        {"loop", selftest_loop, 12},
        {"system calls", selftest_system_call, 6},
        {"rep", selftest_rep_store, 2 + 7 + 1},
        {"red zone", selftest_red_zone, 8},
    };
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        for (const auto& each : known) {
            const auto ended = trace_function(*shared.trace, stepper, each.function, UINT64_MAX);
            CHECK(ended.how == step_kill::End::exited && ended.code == 0, each.name);
            CHECK_EQ(shared.trace->boundaries, each.instructions + 1, each.name);
            CHECK_EQ(shared.trace->at[0], reinterpret_cast<std::uintptr_t>(each.function), each.name);
            CHECK_EQ(shared.trace->at[each.instructions], step_kill::end_address(stepper), each.name);
        }
    }
}

TEST(each_boundary_has_its_address_and_none_is_lost_at_a_system_call) {
    // mov (5 bytes), syscall (2), mov (3), syscall (2), movq (8), ret
    const std::uintptr_t offsets[] = {0, 5, 7, 10, 12, 20};
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        trace_function(*shared.trace, stepper, selftest_system_call, UINT64_MAX);
        for (std::size_t i = 0; i < std::size(offsets); ++i)
            CHECK_EQ(shared.trace->at[i] - reinterpret_cast<std::uintptr_t>(selftest_system_call), offsets[i]);
    }
}

TEST(a_kill_after_k_instructions_leaves_exactly_k_stores) {
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        for (std::uint64_t k = 0; k <= 11; ++k) {
            const auto ended = trace_function(*shared.trace, stepper, selftest_ten_stores, k);
            CHECK(ended.how == step_kill::End::killed);
            CHECK_EQ(shared.trace->memory[0], k < 10 ? k : 10u);
        }
    }
}

TEST(a_rep_instruction_is_torn_at_every_iteration) {
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        for (std::uint64_t k = 2; k <= 9; ++k) {
            trace_function(*shared.trace, stepper, selftest_rep_store, k);
            CHECK_EQ(std::strlen(reinterpret_cast<const char*>(shared.trace->memory)), k - 2);
        }
    }
}

TEST(a_system_call_gives_its_result_under_stepping) {
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        trace_function(*shared.trace, stepper, selftest_system_call, 3);
        const auto pid = static_cast<pid_t>(shared.trace->memory[0]);
        CHECK(pid > 1 && pid != getpid());
        CHECK(kill(pid, 0) != 0 && errno == ESRCH);
        CHECK_EQ(shared.trace->memory[1], 0u);
    }
}

TEST(the_red_zone_is_untouched) {
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        trace_function(*shared.trace, stepper, selftest_red_zone, UINT64_MAX);
        CHECK_EQ(shared.trace->memory[0], 7u);
    }
}

TEST(a_failing_system_call_keeps_its_errno_under_stepping) {
    TraceMemory shared;
    for (const Stepper stepper : all_steppers) {
        const auto ended = trace_function(*shared.trace, stepper, [](void* memory) {
            errno = 0;
            *static_cast<std::uint64_t*>(memory) = close(-1) == -1 && errno == EBADF ? 1 : 2;
        }, UINT64_MAX);
        CHECK(ended.how == step_kill::End::exited);
        CHECK_EQ(shared.trace->memory[0], 1u);
    }
}

#endif

}  // namespace

int main(int argc, char** argv) {
#if defined(__SANITIZE_THREAD__)
    (void)argc, (void)argv;
    std::printf("not run: ThreadSanitizer delays signals, and there is one thread\n0 checks\n");
    return 0;
#endif
    step_kill::fix_bindings_and_addresses(argv);
    return check::main(argc, argv);
}
