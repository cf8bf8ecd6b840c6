// SPDX-License-Identifier: BSD-2-Clause
// See ram.h.
#define _GNU_SOURCE
#include "tests/unit/arch/ram.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Every test begins with one: the pages of the last are taken again, for getting them from the host
// costs more than most tests do.
static void map(struct ram *ram, size_t bytes)
{
    int file = memfd_create("ram", 0);
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        abort();
    ram->bytes = bytes;
    ram->allowed = malloc(bytes >> 12);
    ram->all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    ram->kernel = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, file, 0);
    close(file);
    if (ram->all == MAP_FAILED || ram->kernel == MAP_FAILED || !ram->allowed)
        abort();
}

static void unmap(struct ram *ram)
{
    if (!ram->all)
        return;
    munmap(ram->all, ram->bytes);
    munmap(ram->kernel, ram->bytes);
    free(ram->allowed);
}

void ram_make(struct ram *ram, size_t bytes)
{
    if (ram->bytes != bytes) {
        unmap(ram);
        map(ram, bytes);
    }
    ram_close(ram);
    memset(ram->all, 0xa5, bytes); // nothing is zero by luck
}

void ram_close(struct ram *ram)
{
    if (!ram->all)
        return;
    memset(ram->allowed, 0, ram->bytes >> 12);
    if (mprotect(ram->kernel, ram->bytes, PROT_NONE) != 0)
        abort();
}

bool ram_allowed(const struct ram *ram, size_t at) { return ram->allowed[at >> 12]; }

void ram_allow(struct ram *ram, size_t at, size_t bytes)
{
    for (size_t i = at; i < at + bytes; i += 4096)
        ram->allowed[i >> 12] = 1;
    char *kernel = ram->kernel + at;
    if (mprotect(kernel, bytes, PROT_READ | PROT_WRITE) != 0)
        abort();
}
