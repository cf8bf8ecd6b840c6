// SPDX-License-Identifier: BSD-2-Clause
//
// Address space for the tests of the VMM. Apart from guest.h, for <sys/mman.h> and the kernel's ABI
// both name their protections PROT_READ and so on.
#include <stddef.h>
#include <sys/mman.h>

void *guest_map(size_t bytes, int executable);
void guest_unmap(void *base, size_t bytes);
void guest_clear(void *base, size_t bytes);

void *guest_map(size_t bytes, int executable)
{
    int protection = PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0);
    void *base = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

void guest_unmap(void *base, size_t bytes)
{
    munmap(base, bytes);
}

void guest_clear(void *base, size_t bytes)
{
    madvise(base, bytes, MADV_DONTNEED);
}
