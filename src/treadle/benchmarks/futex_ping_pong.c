/* Two processes hand one word to and fro, sleeping on it in between: the least that a round trip through the kernel
 * costs on this machine. Usage: futex_ping_pong TRIPS; prints the seconds that they took together.
 *
 * The word says whose turn it is. Neither side spins: each is put to sleep and woken once per trip, as a waiter that
 * has no processor to spare is.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PING = 0, PONG = 1 };

static _Atomic uint32_t *turn;

static void await_turn(uint32_t mine) {
    /* SYNC turn→taken: nothing but the word itself is passed. */
    while (atomic_load_explicit(turn, memory_order_acquire) != mine)
        syscall(SYS_futex, turn, FUTEX_WAIT, !mine, NULL, NULL, 0);
}

static void pass_turn(uint32_t theirs) {
    atomic_store_explicit(turn, theirs, memory_order_release); /* SYNC turn→taken */
    syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int main(int argc, char **argv) {
    const long trips = argc == 2 ? atol(argv[1]) : 0;
    if (trips <= 0) {
        fprintf(stderr, "usage: %s TRIPS\n", argv[0]);
        return 2;
    }
    turn = mmap(NULL, sizeof *turn, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (turn == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    const pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (long trip = 0; trip <= trips; ++trip) {
            await_turn(PONG);
            pass_turn(PING);
        }
        _exit(0);
    }
    pass_turn(PONG); /* one trip before the clock starts, so that the child is up */
    await_turn(PING);
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long trip = 0; trip < trips; ++trip) {
        pass_turn(PONG);
        await_turn(PING);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    waitpid(child, NULL, 0);
    printf("%.9f\n", (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9);
    return 0;
}
