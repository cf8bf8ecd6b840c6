// SPDX-License-Identifier: BSD-2-Clause
// See ram.h.
#define _GNU_SOURCE
#include "tests/unit/arch/ram.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void ram_make(struct ram *ram, size_t bytes)
{
    int file = memfd_create("ram", 0);
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        abort();
    ram->bytes = bytes;
    ram->all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ram->kernel = mmap(NULL, bytes, PROT_NONE, MAP_SHARED, file, 0);
    close(file);
    if (ram->all == MAP_FAILED || ram->kernel == MAP_FAILED)
        abort();
    memset(ram->all, 0xa5, bytes); // nothing is zero by luck
}

void ram_free(struct ram *ram)
{
    if (!ram->all)
        return;
    munmap(ram->all, ram->bytes);
    munmap(ram->kernel, ram->bytes);
    ram->all = NULL;
}

void ram_allow(void *kernel, size_t bytes)
{
    if (mprotect(kernel, bytes, PROT_READ | PROT_WRITE) != 0)
        abort();
}
