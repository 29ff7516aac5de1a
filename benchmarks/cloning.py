"""The tutorial's call: clone(CLONE_NEWNS), from the agent's kind of process and from C."""

from __future__ import annotations

from .measure import Row, Scale, rounds
from .raw import found
from .worker import Worker

BATCH = 10  # calls in a row, so that no call is the first after a pause

# Each says how many nanoseconds BATCH times clone() and wait() took, for each line that it reads.
OURS = """
import os, time
from labkit.linux import CLONE_NEWNS, SIGCHLD, clone, mount
import labkit.sandbox.agent

def child():
    return 0

mount("tmpfs", "/mnt", "tmpfs")  # as BUILD does: clone() copies the table, so both shall have the same
print(0, flush=True)
for _ in sys.stdin:
    start = time.perf_counter_ns()
    for _ in range(int(sys.argv[1])):
        os.waitpid(clone(child, CLONE_NEWNS | SIGCHLD), 0)
    print(time.perf_counter_ns() - start, flush=True)
"""
TUTORIAL = r"""
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#define STACK_SIZE (1024 * 1024)

static int childFunc(void *arg) { return 0; }

int main(int argc, char *argv[]) {
    char line[16], *child_stack = malloc(STACK_SIZE);
    struct timespec start, end;
    setlinebuf(stdout);
    puts("0");
    while (fgets(line, sizeof line, stdin)) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int number = atoi(argv[1]); number; number--) {
            int child_pid = clone(childFunc, child_stack + STACK_SIZE, CLONE_NEWNS | SIGCHLD, argv[1]);
            if (child_pid == -1) { perror("clone"); return 1; }
            waitpid(child_pid, NULL, 0);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%ld\n", (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec);
    }
}
"""

# In a file system that nobody else sees, and that is gone with the process.
BUILD = """
export TMPDIR=/mnt
mount -t tmpfs tmpfs /mnt && printf %s "$1" | gcc -O2 -x c - -o /mnt/tutorial && exec /mnt/tutorial "$2"
"""


def clone(scale: Scale) -> list[Row]:
    found("gcc")
    with Worker.python(OURS, str(BATCH)) as python, Worker("sh", "-c", BUILD, "sh", TUTORIAL, str(BATCH)) as tutorial:
        ours, theirs = rounds(scale.runs * 2, lambda: _seconds(python), lambda: _seconds(tutorial))
    return [
        Row.of("clone(CLONE_NEWNS) + exit + wait, from the agent", ours, "the tutorial's C program", theirs, "≤", 3)
    ]


def _seconds(worker: Worker) -> float:
    return int(worker.ask()) / 1e9 / BATCH
