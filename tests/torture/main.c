// SPDX-License-Identifier: BSD-2-Clause
// Runs episodes, each in a process of its own, until the time is over or one fails. Then looks for
// fewer actions that fail too, and prints them with the seed.
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#undef PROT_READ // the kernel's have the same names, and values
#undef PROT_WRITE
#undef PROT_EXEC
#include "tests/torture/torture.h"

#define SHRINK_SECONDS  30
#define EPISODE_SECONDS 60 // of CPU time; one that takes longer hangs
#define EPISODES_CHILD  32 // in one process, for forking costs time
#define PAIR_POINTS     300 // how far the second of a pair goes at most before it stops

struct figures *figures;
static const char *program; // this one, as it was called

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Runs that in a child. True: all is well. `why`: what it has said on standard error behind
// the last carriage return. quiet: nothing else is printed.
static bool run_child(void (*code)(void *argument), void *argument, bool quiet, char *why,
                      size_t size)
{
    int pipe_fds[2];
    fflush(stdout);
    if (pipe(pipe_fds))
        exit(2);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_fds[1], STDERR_FILENO);
        close(pipe_fds[0]);
        if (quiet)
            close(STDOUT_FILENO);
        setlinebuf(stdout);
        code(argument);
        fflush(stdout);
        _exit(0);
    }
    close(pipe_fds[1]);
    size_t got = 0;
    for (ssize_t n = 1; n > 0;) {
        char text[4096];
        n = read(pipe_fds[0], text, sizeof(text));
        if (n > 0 && got + (size_t)n >= size)
            got = 0; // the last is what counts
        if (n > 0 && (size_t)n < size) {
            memcpy(why + got, text, (size_t)n);
            got += (size_t)n;
        }
    }
    why[got] = 0;
    close(pipe_fds[0]);
    int status;
    waitpid(child, &status, 0);
    char *last = strrchr(why, '\r');
    if (last)
        memmove(why, last + 1, strlen(last));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
        snprintf(why + strlen(why), size - strlen(why), "hangs\n");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct episodes { struct episode first; unsigned count; };

static void limit_time(void)
{
    setitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_sec = EPISODE_SECONDS }, NULL);
}

static void run_episodes(void *argument)
{
    struct episodes *all = argument;
    struct episode *e = &all->first;
    for (unsigned i = 0; i < all->count; i++, e->seed++) {
        limit_time();
        dprintf(STDERR_FILENO, "seed %" PRIu64 ": ", e->seed);
        episode_run(e);
        dprintf(STDERR_FILENO, "\r");
    }
}

// `count` of them, from that one on.
static bool run(struct episode e, unsigned count, bool quiet, char *why, size_t size)
{
    struct episodes all = { e, count };
    return run_child(run_episodes, &all, quiet, why, size);
}

// False: the pair's first was over before it had come so far.
static bool run_pair(unsigned index, uint64_t points, uint64_t others)
{
    limit_time();
    bool met = pair_run(index, points, others);
    dprintf(STDERR_FILENO, "\r");
    figures->episodes += met;
    return met;
}

// First each with the other going all its way, at each point; then, for the rest of the time, with
// the other stopping too.
static void run_pairs(void *argument)
{
    uint64_t *lengths = calloc(pairs_count(), sizeof(*lengths));
    struct random r = random_of(1, 1);
    for (unsigned i = 0; i < pairs_count(); i++)
        while (run_pair(i, lengths[i] + 1, UINT64_MAX))
            lengths[i]++;
    printf("%u pairs, %" PRIu64 " ways to meet; and", pairs_count(), figures->episodes);
    figures->episodes = 0;
    for (double end = now() + *(const double *)argument; now() < end;) {
        unsigned i = (unsigned)random_below(&r, pairs_count());
        run_pair(i, 1 + random_below(&r, lengths[i]), 1 + random_below(&r, PAIR_POINTS));
    }
    printf(" %" PRIu64 " where both stop\n", figures->episodes);
}

static int pairs(double seconds)
{
    char why[8192];
    bool good = run_child(run_pairs, &seconds, false, why, sizeof(why));
    if (!good)
        printf("FAILED: %s\n", why);
    return !good;
}

static void shrink(struct episode e)
{
    uint8_t *dropped = calloc(e.actions, 1);
    char why[8192];
    double end = now() + SHRINK_SECONDS;
    e.dropped = dropped;
    for (uint64_t part = e.actions / 2; part && now() < end; part /= 2)
        for (uint64_t at = 0; at < e.actions && now() < end; at += part) {
            uint8_t before[part];
            uint64_t n = at + part < e.actions ? part : e.actions - at;
            memcpy(before, dropped + at, n);
            memset(dropped + at, 1, n);
            if (run(e, 1, true, why, sizeof(why)))
                memcpy(dropped + at, before, n);
        }
    e.trace = true;
    printf("shrunk: %s -c %u -s %" PRIu64 " -a %" PRIu64 " -v -k ",
           program, e.cores, e.seed, e.actions);
    for (uint64_t i = 0; i < e.actions; i++)
        if (!dropped[i])
            printf("%" PRIu64 ",", i);
    printf("\n");
    run(e, 1, false, why, sizeof(why));
    printf("%s\n", why);
    free(dropped);
}

// "3,17,": all others are left out.
static uint8_t *keep_only(const char *list, uint64_t actions)
{
    uint8_t *dropped = malloc(actions);
    memset(dropped, 1, actions);
    for (char *end; *list; list = end) {
        uint64_t n = strtoull(list, &end, 10);
        if (n < actions)
            dropped[n] = 0;
        end += *end == ',';
    }
    return dropped;
}

static void print_figures(uint32_t cores, double seconds)
{
    const struct figures *f = figures;
    printf("%u cores, %.0f s: %" PRIu64 " episodes, %" PRIu64 " actions, %" PRIu64
           " entries into the kernel,\n%" PRIu64 " places where cores could meet, %" PRIu64
           " where another went on, %" PRIu64 " looks at all; longest way %" PRIu64
           " basic blocks (%s)\n", cores, seconds, f->episodes, f->actions, f->entries, f->points,
           f->switches, f->checks, f->longest, f->longest_in);
}

static void print_calls(void)
{
    for (unsigned i = 0; i < SYSCALL_COUNT; i++)
        if (figures->calls[i])
            printf("%-16s %10" PRIu64 " %10" PRIu64 "\n", call_name(i), figures->calls[i],
                   figures->good[i]);
}

int main(int argc, char **argv)
{
    struct episode e = { .cores = 2, .seed = 1, .actions = 1500 };
    double seconds = 0;
    const char *keep = NULL;
    bool verbose = false;
    char why[8192];
    program = argv[0];
    bool meet = false;
    for (int o; (o = getopt(argc, argv, "c:s:t:a:k:vp")) != -1;)
        switch (o) {
        case 'c': e.cores = (uint32_t)atoi(optarg); break;
        case 's': e.seed = strtoull(optarg, NULL, 0); break;
        case 't': seconds = atof(optarg); break;
        case 'a': e.actions = strtoull(optarg, NULL, 0); break;
        case 'k': keep = optarg; break;
        case 'v': verbose = true; break;
        case 'p': meet = true; break;
        default:
            fprintf(stderr, "usage: torture [-c CORES] [-s SEED] [-t SECONDS] [-a ACTIONS] "
                            "[-k LIST] [-v]\n       torture -p [-t SECONDS]\n"
                            "one episode, or with -t all from SEED on for so long; -p: pairs, and "
                            "with -t in more ways\n");
            return 2;
        }
    figures = mmap(NULL, sizeof(*figures), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    if (meet)
        return pairs(seconds);
    bool one = seconds == 0;
    e.trace = one && verbose;
    if (keep)
        e.dropped = keep_only(keep, e.actions);
    bool good = true;
    double start = now();
    while (good && (one ? figures->episodes == 0 : now() - start < seconds)) {
        good = run(e, one ? 1 : EPISODES_CHILD, false, why, sizeof(why));
        if (good)
            e.seed += EPISODES_CHILD;
    }
    print_figures(e.cores, now() - start);
    if (verbose)
        print_calls();
    if (good)
        return 0;
    printf("FAILED with %u cores: %s\n", e.cores, why);
    if (keep)
        return 1;
    sscanf(why, "seed %" SCNu64, &e.seed);
    shrink(e);
    return 1;
}
