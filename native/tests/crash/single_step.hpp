// crash/single_step.hpp: runs a function one machine instruction at a time, and kills its process at a given one.
//
// Two steppers, one contract. Step 0 is the boundary before the first instruction of the function; step n the one after
// its n-th. At each the sink is told the address of the next instruction, and may ask for the process's death: a real
// SIGKILL, with no further instruction executed. The step after the function's `ret` is the last.
//
//   trap flag (x86-64, default)  the process sets EFLAGS.TF on itself; a SIGTRAP handler on a stack of its own is the
//                                stepper. About 16 us a step under virtualisation.
//   ptrace (x86-64, aarch64)     the parent steps with PTRACE_SINGLESTEP: 30 to 130 us a step.
//
// What a step is: one architectural instruction; each iteration of a rep-prefixed one (an interrupt, and so a kill, can
// fall between them). Under the trap flag the kernel returns from a system call past the next instruction's boundary;
// so the handler makes the call on the function's behalf and that boundary is not lost (except for the few
// calls that only the function itself can make, see `only_in_place`). A blocking system call is one step.
//
// Limits: the function must not create threads or processes, replace the SIGTRAP handler, or leave by longjmp.
// On aarch64 a load-exclusive/store-exclusive loop never succeeds under stepping (each step clears the monitor): build
// with LSE atomics (-march=armv8.1-a, or -moutline-atomics on a CPU that has them); `stepper_problem` tells.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace step_kill {

enum class Stepper { trap_flag, ptrace };

#if defined(__x86_64__)
inline constexpr Stepper default_stepper = Stepper::trap_flag;
#else
inline constexpr Stepper default_stepper = Stepper::ptrace;
#endif

// Called at every step with the address of the next instruction, in the stepped process (trap flag: inside a signal
// handler) or in its parent (ptrace). True: kill the stepped process here.
struct StepSink {
    bool (*on_step)(void* self, std::uintptr_t next);
    void* self;
};

// Why this stepper cannot work here; null if it can.
inline const char* stepper_problem(Stepper stepper) noexcept {
#if defined(__x86_64__)
    (void)stepper;
    return nullptr;
#elif defined(__aarch64__)
    if (stepper == Stepper::trap_flag) return "the trap flag exists on x86-64 only; use ptrace";
    if ((getauxval(AT_HWCAP) & HWCAP_ATOMICS) == 0)
        return "this CPU has no LSE atomics, and exclusive load/store loops do not end under single-stepping";
    return nullptr;
#else
    (void)stepper;
    return "single-stepping is written for x86-64 and aarch64 only";
#endif
}

// The trampolines. They are functions, so that nothing lies in the red zone below them when the flags are pushed, and
// live in a comdat section, so that any number of translation units may include this file.
extern "C" {
void step_kill_call_with_trap_flag(void (*function)(void*), void* argument);
void step_kill_call_traced(void (*function)(void*), void* argument);
extern const char step_kill_trap_flag_end[];
extern const char step_kill_traced_end[];
}

#if defined(__x86_64__)
asm(R"(
    .pushsection .text.step_kill_call_with_trap_flag,"axG",@progbits,step_kill_call_with_trap_flag,comdat
    .weak step_kill_call_with_trap_flag, step_kill_trap_flag_end
    .type step_kill_call_with_trap_flag, @function
step_kill_call_with_trap_flag:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    movq %rdi, %rax
    movq %rsi, %rdi
    pushfq
    orq $0x100, (%rsp)
    popfq
    call *%rax              # the first trap comes after this one: step 0
step_kill_trap_flag_end:    # the handler clears the flag here
    popq %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size step_kill_call_with_trap_flag, .-step_kill_call_with_trap_flag
    .popsection

    .pushsection .text.step_kill_call_traced,"axG",@progbits,step_kill_call_traced,comdat
    .weak step_kill_call_traced, step_kill_traced_end
    .type step_kill_call_traced, @function
step_kill_call_traced:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    movq %rdi, %rax
    movq %rsi, %rdi
    int3                    # hands over to the parent
    call *%rax
step_kill_traced_end:
    popq %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size step_kill_call_traced, .-step_kill_call_traced
    .popsection
)");
#elif defined(__aarch64__)
asm(R"(
    .pushsection .text.step_kill_call_traced,"axG",@progbits,step_kill_call_traced,comdat
    .weak step_kill_call_traced
    .weak step_kill_traced_end
    .type step_kill_call_traced, %function
step_kill_call_traced:
    .cfi_startproc
    stp x29, x30, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    .cfi_rel_offset 29, 0
    .cfi_rel_offset 30, 8
    mov x29, sp
    mov x9, x0
    mov x0, x1
    brk #0x57               // hands over to the parent, which moves past it
    blr x9
step_kill_traced_end:
    ldp x29, x30, [sp], #16
    .cfi_restore 30
    .cfi_restore 29
    .cfi_adjust_cfa_offset -16
    ret
    .cfi_endproc
    .size step_kill_call_traced, .-step_kill_call_traced
    .popsection
)");
#endif

// --- Trap flag ------------------------------------------------------------------------------------------------------

#if defined(__x86_64__)

inline StepSink trap_sink{};

inline long raw_syscall(long number, long a, long b, long c, long d, long e, long f) noexcept {
    long result;
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    register long r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

// Calls which act on the caller's own stack, signal mask or existence. They stay in place; the boundary between them
// and the next instruction is then not a crash point of its own.
inline bool only_in_place(long number) noexcept {
    switch (number) {
        case SYS_rt_sigreturn: case SYS_rt_sigprocmask: case SYS_rt_sigsuspend: case SYS_sigaltstack:
        case SYS_clone: case SYS_fork: case SYS_vfork: case SYS_execve: case SYS_execveat:
        case SYS_exit: case SYS_exit_group:
#ifdef SYS_clone3
        case SYS_clone3:
#endif
            return true;
        default: return false;
    }
}

inline void on_trap(int, siginfo_t*, void* context) noexcept {
    constexpr greg_t trap_flag = 0x100;
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    for (;;) {
        const auto next = static_cast<std::uintptr_t>(registers[REG_RIP]);
        if (trap_sink.on_step(trap_sink.self, next)) {
            raw_syscall(SYS_kill, raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
        }
        if (next == reinterpret_cast<std::uintptr_t>(step_kill_trap_flag_end)) {
            registers[REG_EFL] &= ~trap_flag;
            return;
        }
        const auto* code = reinterpret_cast<const unsigned char*>(next);
        if (code[0] != 0x0f || code[1] != 0x05 || only_in_place(registers[REG_RAX])) return;
        registers[REG_RAX] = raw_syscall(registers[REG_RAX], registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                                         registers[REG_R10], registers[REG_R8], registers[REG_R9]);
        registers[REG_RIP] += 2;
        registers[REG_RCX] = registers[REG_RIP];
        registers[REG_R11] = registers[REG_EFL];
    }
}

inline void call_with_trap_flag(void (*function)(void*), void* argument, StepSink sink) noexcept {
    alignas(64) static unsigned char stack[64 * 1024];
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, nullptr);
    struct sigaction action{};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGTRAP, &action, nullptr);
    trap_sink = sink;
    step_kill_call_with_trap_flag(function, argument);
}

#endif

// Where `next` points after the function's last instruction.
inline std::uintptr_t end_address(Stepper stepper) noexcept {
#if defined(__x86_64__)
    if (stepper == Stepper::trap_flag) return reinterpret_cast<std::uintptr_t>(step_kill_trap_flag_end);
#endif
    (void)stepper;
    return reinterpret_cast<std::uintptr_t>(step_kill_traced_end);
}

// --- The stepped process's side -------------------------------------------------------------------------------------

// Runs `function(argument)` under the stepper, in a process that its parent observes with `follow` (below). The sink is
// used here under the trap flag, by the parent under ptrace.
inline void call_stepped(Stepper stepper, void (*function)(void*), void* argument, StepSink sink) noexcept {
#if defined(__x86_64__)
    if (stepper == Stepper::trap_flag) return call_with_trap_flag(function, argument, sink);
#endif
    (void)stepper;
    (void)sink;
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) std::abort();
    step_kill_call_traced(function, argument);
}

// --- The tracing parent's side --------------------------------------------------------------------------------------

inline bool read_registers(pid_t pid, user_regs_struct& registers) noexcept {
    iovec buffer{&registers, sizeof registers};
    return ptrace(PTRACE_GETREGSET, pid, reinterpret_cast<void*>(NT_PRSTATUS), &buffer) == 0;
}

inline bool write_registers(pid_t pid, user_regs_struct& registers) noexcept {
    iovec buffer{&registers, sizeof registers};
    return ptrace(PTRACE_SETREGSET, pid, reinterpret_cast<void*>(NT_PRSTATUS), &buffer) == 0;
}

inline std::uintptr_t next_instruction(const user_regs_struct& registers) noexcept {
#if defined(__x86_64__)
    return registers.rip;
#elif defined(__aarch64__)
    return registers.pc;
#endif
}

// The watchdog's signal and those of crashes: the child's handlers for them need not be stepped.
inline bool ends_the_run(int signal) noexcept {
    return signal == SIGALRM || signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
           signal == SIGABRT;
}

// Reacts to one stop of a traced child (si_status of a CLD_TRAPPED), and lets it run on. `stepping` is kept between
// the calls for one child and begins false. False: the child is gone, and its end will be reported by waitid.
inline bool react_to_stop(pid_t pid, int stop_signal, bool& stepping, StepSink sink) noexcept {
    user_regs_struct registers;
    if (!read_registers(pid, registers)) return false;
    long pass_on = 0;
    if (ends_the_run(stop_signal)) {
        return ptrace(PTRACE_DETACH, pid, nullptr, reinterpret_cast<void*>(static_cast<long>(stop_signal))) == 0;
    } else if (stop_signal != SIGTRAP) {
        pass_on = stop_signal;  // not a step, not ours
    } else if (!stepping) {
        ptrace(PTRACE_SETOPTIONS, pid, nullptr, reinterpret_cast<void*>(PTRACE_O_EXITKILL));
#if defined(__aarch64__)
        registers.pc += 4;
        if (!write_registers(pid, registers)) return false;
#endif
        stepping = true;
    } else {
        const std::uintptr_t next = next_instruction(registers);
        if (sink.on_step(sink.self, next)) {
            kill(pid, SIGKILL);
            return false;
        }
        if (next == reinterpret_cast<std::uintptr_t>(step_kill_traced_end)) {
            stepping = false;
            return ptrace(PTRACE_DETACH, pid, nullptr, nullptr) == 0;
        }
    }
    return ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, nullptr, reinterpret_cast<void*>(pass_on)) == 0;
}

}  // namespace step_kill
