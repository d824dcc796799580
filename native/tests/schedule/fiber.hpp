// fiber.hpp: the model's threads: stacks that run on one real thread and hand the processor to each other.
//
// Promise: a switch touches no system call and no lock (x86-64: six pushes and pops; elsewhere: ucontext). A fiber that
// is never resumed is legal: its stack is used again by a later fiber, and its frames are not unwound (as after
// SIGKILL). Works under AddressSanitizer (each switch is announced to it); not under ThreadSanitizer.
// Limits: the floating-point control words are not switched; a switch must not happen inside a catch block.
#pragma once

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SCHEDULE_ASAN_ 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCHEDULE_ASAN_ 1
#endif
#endif
#ifdef SCHEDULE_ASAN_
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__) && !defined(SCHEDULE_UCONTEXT)
#define SCHEDULE_UCONTEXT
#endif
#ifdef SCHEDULE_UCONTEXT
#include <ucontext.h>
#endif

namespace schedule::detail {

#ifndef SCHEDULE_UCONTEXT
/// Saves the callee-saved registers and the stack pointer of one fiber, and continues another.
__attribute__((naked, noinline)) inline void switch_stack(void** /*save*/, void* /*load*/) {
    asm volatile(
        "pushq %rbp\n\t"
        "pushq %rbx\n\t"
        "pushq %r12\n\t"
        "pushq %r13\n\t"
        "pushq %r14\n\t"
        "pushq %r15\n\t"
        "movq %rsp, (%rdi)\n\t"
        "movq %rsi, %rsp\n\t"
        "popq %r15\n\t"
        "popq %r14\n\t"
        "popq %r13\n\t"
        "popq %r12\n\t"
        "popq %rbx\n\t"
        "popq %rbp\n\t"
        "retq");
}
#endif

/// A point of execution that can be left and entered again: a fiber's, or the real thread's.
class Context {
public:
    Context() = default;
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
#ifdef SCHEDULE_ASAN_
    ~Context() {
        // A fiber that was abandoned leaves the red zones of its frames behind, for the next one on its stack to hit.
        if (prepared_) __asan_unpoison_memory_region(lowest_in_use(), top() - lowest_in_use());
    }
#endif

    /// Makes this context start `entry` on [stack, stack + size). `entry` must not return.
    void prepare(std::byte* stack, std::size_t size, void (*entry)()) {
        bottom_ = stack;
        size_ = size;
#ifdef SCHEDULE_ASAN_
        prepared_ = true;
#endif
#ifdef SCHEDULE_UCONTEXT
        ::getcontext(&context_);
        context_.uc_stack.ss_sp = stack;
        context_.uc_stack.ss_size = size;
        context_.uc_link = nullptr;
        ::makecontext(&context_, entry, 0);
#else
        // What switch_stack pops: six registers, then its return address. The slot above stays zero: it is the return
        // address of `entry`, where unwinders stop, and it puts the stack 8 off a multiple of 16, as after a call.
        auto* top = reinterpret_cast<void**>(stack + size);
        for (int i = 1; i <= 8; ++i) top[-i] = nullptr;
        top[-2] = reinterpret_cast<void*>(entry);
        stack_pointer_ = top - 8;
#endif
    }

    /// Leaves this context (which is the one that runs) and enters `next`; returns when something enters this again.
    void switch_to(Context& next) {
#ifdef SCHEDULE_ASAN_
        if (bottom_ == nullptr) find_own_stack();
        __sanitizer_start_switch_fiber(&fake_stack_, next.bottom_, next.size_);
#endif
#ifdef SCHEDULE_UCONTEXT
        ::swapcontext(&context_, &next.context_);
#else
        switch_stack(&stack_pointer_, next.stack_pointer_);
#endif
#ifdef SCHEDULE_ASAN_
        __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
    }

    /// To be called first in `entry`.
    static void entered() {
#ifdef SCHEDULE_ASAN_
        __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    }

private:
#ifdef SCHEDULE_ASAN_
    void find_own_stack() {
        thread_local const Extent extent = own_stack();  // costs a reading of /proc/self/maps
        bottom_ = extent.bottom;
        size_ = extent.size;
    }
    struct Extent {
        void* bottom = nullptr;
        std::size_t size = 0;
    };
    static Extent own_stack() {
        Extent extent;
        pthread_attr_t attributes;
        ::pthread_getattr_np(::pthread_self(), &attributes);
        ::pthread_attr_getstack(&attributes, &extent.bottom, &extent.size);
        ::pthread_attr_destroy(&attributes);
        return extent;
    }
    const std::byte* top() const { return static_cast<const std::byte*>(bottom_) + size_; }
    const std::byte* lowest_in_use() const {
#ifdef SCHEDULE_UCONTEXT
        return static_cast<const std::byte*>(bottom_);
#else
        return static_cast<const std::byte*>(stack_pointer_);
#endif
    }
    void* fake_stack_ = nullptr;
    bool prepared_ = false;
#endif
#ifdef SCHEDULE_UCONTEXT
    ucontext_t context_{};
#else
    void* stack_pointer_ = nullptr;
#endif
    const void* bottom_ = nullptr;
    std::size_t size_ = 0;
};

/// Stacks with a guard page below each, made once and used by every execution.
class StackPool {
public:
    StackPool() = default;
    StackPool(const StackPool&) = delete;
    StackPool& operator=(const StackPool&) = delete;
    ~StackPool() {
        for (std::byte* stack : stacks_) ::munmap(stack - guard_size(), size() + guard_size());
    }

    static constexpr std::size_t size() {
#ifdef SCHEDULE_ASAN_
        return 512 * 1024;
#else
        return 128 * 1024;
#endif
    }

    std::byte* stack(std::size_t index) {
        while (stacks_.size() <= index) {
            void* memory = ::mmap(nullptr, size() + guard_size(), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
            if (memory == MAP_FAILED || ::mprotect(memory, guard_size(), PROT_NONE) != 0) {
                std::perror("schedule: no memory for a fiber's stack");
                std::abort();
            }
            stacks_.push_back(static_cast<std::byte*>(memory) + guard_size());
        }
        return stacks_[index];
    }

private:
    static std::size_t guard_size() {
        static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        return page;
    }
    std::vector<std::byte*> stacks_;
};

}  // namespace schedule::detail
