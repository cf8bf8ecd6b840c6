// SPDX-License-Identifier: BSD-2-Clause
//
// The guest page walker, for two-level, PAE, four-level and five-level paging. Keeps no state: the
// tables may change between two exits, and the walk is a handful of loads.
// Runs on the VMM's only thread.
#include "vmm/cpu/walk.h"

#include <string.h>

#define CR0_WP     (1ull << 16)
#define CR0_PG     (1ull << 31)
#define CR4_PSE    (1ull << 4)
#define CR4_PAE    (1ull << 5)
#define CR4_LA57   (1ull << 12)
#define CR4_SMEP   (1ull << 20)
#define CR4_SMAP   (1ull << 21)
#define EFER_LMA   (1ull << 10)
#define EFER_NXE   (1ull << 11)
#define RFLAGS_AC  (1ull << 18)

#define PTE_P      (1ull << 0)
#define PTE_W      (1ull << 1)
#define PTE_U      (1ull << 2)
#define PTE_A      (1ull << 5)
#define PTE_D      (1ull << 6)
#define PTE_PS     (1ull << 7)
#define PTE_NX     (1ull << 63)
#define PTE_ADDR   0x000FFFFFFFFFF000ull

// Page-fault error code.
#define PF_P       1u
#define PF_W       2u
#define PF_U       4u
#define PF_RSVD    8u
#define PF_I       16u

// What the levels of one walk have gathered.
struct walk_state {
    const struct guest_ram *ram;
    const struct vm_exit *exit;
    uint64_t gva;
    enum walk_access access;
    uint64_t rights; // AND of the entries: W and U
    uint64_t nx;     // OR of the entries: NX
};

static bool walk_fault(const struct walk_state *w, uint32_t error, struct guest_fault *fault)
{
    const struct vm_exit_cpu *cpu = &w->exit->cpu;

    if (w->access & WALK_WRITE)
        error |= PF_W;
    if (cpu->cpl == 3)
        error |= PF_U;
    if ((w->access & WALK_FETCH) && ((cpu->efer & EFER_NXE) || (cpu->cr4 & CR4_SMEP)))
        error |= PF_I;
    *fault = (struct guest_fault){ VECTOR_PF, true, error, w->gva };
    return false;
}

static bool walk_allowed(const struct walk_state *w)
{
    const struct vm_exit_cpu *cpu = &w->exit->cpu;
    bool user_page = w->rights & PTE_U;

    if (cpu->cpl == 3) {
        if (!user_page || ((w->access & WALK_WRITE) && !(w->rights & PTE_W)))
            return false;
    } else {
        if ((w->access & WALK_WRITE) && !(w->rights & PTE_W) && (cpu->cr0 & CR0_WP))
            return false;
        if (user_page && (w->access & WALK_FETCH) && (cpu->cr4 & CR4_SMEP))
            return false;
        if (user_page && !(w->access & WALK_FETCH) && (cpu->cr4 & CR4_SMAP) &&
            !(w->exit->rflags & RFLAGS_AC))
            return false;
    }
    return !((w->access & WALK_FETCH) && (w->nx & PTE_NX));
}

// Accessed and dirty bits of a leaf; bits 5 and 6 are in the lowest byte of both formats.
static void walk_mark(const struct walk_state *w, uint8_t *entry, uint8_t bits)
{
    if (!(w->access & WALK_FETCH) && (__atomic_load_n(entry, __ATOMIC_RELAXED) & bits) != bits)
        __atomic_fetch_or(entry, bits, __ATOMIC_SEQ_CST);
}

static uint8_t walk_leaf_bits(const struct walk_state *w)
{
    return (w->access & WALK_WRITE) ? PTE_A | PTE_D : PTE_A;
}

// Levels of 512 entries of 8 bytes, from the one that `shift` selects down to the page.
static bool walk_levels(struct walk_state *w, uint64_t table, unsigned shift, uint64_t *gpa,
                        struct guest_fault *fault)
{
    uint64_t reserved = w->exit->cpu.efer & EFER_NXE ? 0 : PTE_NX;

    for (;; shift -= 9) {
        uint8_t *at = ram_at(w->ram, table + ((w->gva >> shift & 511) << 3), 8);
        if (at == NULL) // nothing answers there: all ones, so reserved bits are set
            return walk_fault(w, PF_P | PF_RSVD, fault);
        uint64_t entry = __atomic_load_n((uint64_t *)at, __ATOMIC_RELAXED);
        if (!(entry & PTE_P))
            return walk_fault(w, 0, fault);
        if ((entry & reserved) || ((entry & PTE_PS) && shift > 30))
            return walk_fault(w, PF_P | PF_RSVD, fault);
        w->rights &= entry;
        w->nx |= entry;
        if (shift == 12 || (entry & PTE_PS)) {
            uint64_t mask = (1ull << shift) - 1;
            if (!walk_allowed(w))
                return walk_fault(w, PF_P, fault);
            walk_mark(w, at, walk_leaf_bits(w));
            *gpa = (entry & PTE_ADDR & ~mask) | (w->gva & mask);
            return true;
        }
        walk_mark(w, at, PTE_A);
        table = entry & PTE_ADDR;
    }
}

// The four entries that a CPU in PAE mode loads with CR3; they carry no rights.
static bool walk_pae(struct walk_state *w, uint64_t *gpa, struct guest_fault *fault)
{
    uint64_t table = w->exit->cpu.cr3 & 0xFFFFFFE0ull;
    const uint64_t *at = ram_at(w->ram, table + ((w->gva >> 30 & 3) << 3), 8);

    if (at == NULL)
        return walk_fault(w, PF_P | PF_RSVD, fault);
    uint64_t entry = __atomic_load_n(at, __ATOMIC_RELAXED);
    if (!(entry & PTE_P))
        return walk_fault(w, 0, fault);
    return walk_levels(w, entry & PTE_ADDR, 21, gpa, fault);
}

// "32-Bit Paging": two levels of 1024 entries of 4 bytes, with PSE-36.
static bool walk_legacy(struct walk_state *w, uint64_t *gpa, struct guest_fault *fault)
{
    uint64_t table = w->exit->cpu.cr3 & 0xFFFFF000ull;

    for (unsigned shift = 22;; shift -= 10) {
        uint8_t *at = ram_at(w->ram, table + ((w->gva >> shift & 1023) << 2), 4);
        if (at == NULL)
            return walk_fault(w, PF_P | PF_RSVD, fault);
        uint64_t entry = __atomic_load_n((uint32_t *)at, __ATOMIC_RELAXED);
        if (!(entry & PTE_P))
            return walk_fault(w, 0, fault);
        w->rights &= entry;
        bool large = shift == 22 && (entry & PTE_PS) && (w->exit->cpu.cr4 & CR4_PSE);
        if (large || shift == 12) {
            if (!walk_allowed(w))
                return walk_fault(w, PF_P, fault);
            walk_mark(w, at, walk_leaf_bits(w));
            if (large)
                *gpa = (entry & 0xFFC00000) | (entry >> 13 & 0xFF) << 32 | (w->gva & 0x3FFFFF);
            else
                *gpa = (entry & 0xFFFFF000) | (w->gva & 0xFFF);
            return true;
        }
        walk_mark(w, at, PTE_A);
        table = entry & 0xFFFFF000;
    }
}

static bool walk_canonical(uint64_t gva, unsigned bits)
{
    int64_t top = (int64_t)gva >> (bits - 1);

    return top == 0 || top == -1;
}

bool walk(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t gva,
          enum walk_access access, uint64_t *gpa, struct guest_fault *fault)
{
    const struct vm_exit_cpu *cpu = &exit->cpu;
    struct walk_state w = { ram, exit, gva, access, PTE_W | PTE_U, 0 };

    if (!(cpu->cr0 & CR0_PG)) {
        *gpa = (uint32_t)gva;
        return true;
    }
    if (cpu->efer & EFER_LMA) {
        unsigned bits = cpu->cr4 & CR4_LA57 ? 57 : 48;
        if (!walk_canonical(gva, bits)) {
            *fault = (struct guest_fault){ VECTOR_GP, true, 0, 0 };
            return false;
        }
        return walk_levels(&w, cpu->cr3 & PTE_ADDR, bits - 9, gpa, fault);
    }
    w.gva = (uint32_t)gva;
    if (cpu->cr4 & CR4_PAE)
        return walk_pae(&w, gpa, fault);
    return walk_legacy(&w, gpa, fault);
}

uint64_t gpa_read(const struct guest_ram *ram, struct bus *bus, uint64_t gpa, unsigned size)
{
    const void *at = ram_at(ram, gpa, size);
    uint64_t value = 0;

    if (at == NULL)
        return bus_mmio_read(bus, gpa, size);
    memcpy(&value, at, size);
    return value;
}

enum bus_result gpa_write(const struct guest_ram *ram, struct bus *bus, uint64_t gpa,
                          unsigned size, uint64_t value)
{
    void *at = ram_at(ram, gpa, size);

    if (at == NULL)
        return bus_mmio_write(bus, gpa, size, value);
    memcpy(at, &value, size);
    return BUS_OK;
}

// How many of `size` bytes lie in the page of `gva`.
static unsigned first_part(uint64_t gva, unsigned size)
{
    unsigned room = (unsigned)(PAGE_SIZE - (gva & (PAGE_SIZE - 1)));

    return size < room ? size : room;
}

enum gmem_result gmem_read(const struct guest_ram *ram, struct bus *bus,
                           const struct vm_exit *exit, uint64_t gva, unsigned size,
                           uint64_t *value, struct guest_fault *fault)
{
    unsigned first = first_part(gva, size);
    uint64_t gpa[2] = { 0, 0 };

    if (!walk(ram, exit, gva, WALK_READ, &gpa[0], fault))
        return GMEM_FAULT;
    if (first == size) {
        *value = gpa_read(ram, bus, gpa[0], size);
        return GMEM_OK;
    }
    if (!walk(ram, exit, linear_address(exit, gva, first), WALK_READ, &gpa[1], fault))
        return GMEM_FAULT;
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        uint64_t from = i < first ? gpa[0] + i : gpa[1] + (i - first);
        *value |= (gpa_read(ram, bus, from, 1) & 0xFF) << (8 * i);
    }
    return GMEM_OK;
}

enum gmem_result gmem_write(const struct guest_ram *ram, struct bus *bus,
                            const struct vm_exit *exit, uint64_t gva, unsigned size,
                            uint64_t value, struct guest_fault *fault)
{
    unsigned first = first_part(gva, size);
    uint64_t gpa[2] = { 0, 0 };

    if (!walk(ram, exit, gva, WALK_WRITE, &gpa[0], fault))
        return GMEM_FAULT;
    if (first == size)
        return gpa_write(ram, bus, gpa[0], size, value) == BUS_OK ? GMEM_OK : GMEM_BLOCKED;
    if (!walk(ram, exit, linear_address(exit, gva, first), WALK_WRITE, &gpa[1], fault))
        return GMEM_FAULT;
    for (unsigned i = 0; i < size; i++) {
        uint64_t to = i < first ? gpa[0] + i : gpa[1] + (i - first);
        if (gpa_write(ram, bus, to, 1, value >> (8 * i) & 0xFF) != BUS_OK)
            return GMEM_BLOCKED;
    }
    return GMEM_OK;
}

static bool reachable(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t gva,
                      unsigned size, enum walk_access access, struct guest_fault *fault)
{
    unsigned first = first_part(gva, size);
    uint64_t gpa;

    return walk(ram, exit, gva, access, &gpa, fault) &&
           (first == size ||
            walk(ram, exit, linear_address(exit, gva, first), access, &gpa, fault));
}

bool gmem_writable(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t gva,
                   unsigned size, struct guest_fault *fault)
{
    return reachable(ram, exit, gva, size, WALK_WRITE, fault);
}

// Of so many bytes that are left, the next piece.
static unsigned piece(unsigned left)
{
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

enum gmem_result gmem_read_bytes(const struct guest_ram *ram, struct bus *bus,
                                 const struct vm_exit *exit, uint64_t gva, unsigned size,
                                 void *bytes, struct guest_fault *fault)
{
    enum gmem_result result = reachable(ram, exit, gva, size, WALK_READ, fault) ? GMEM_OK
                                                                                 : GMEM_FAULT;

    for (unsigned at = 0, part; at < size && result == GMEM_OK; at += part) {
        uint64_t value = 0;
        part = piece(size - at);
        result = gmem_read(ram, bus, exit, linear_address(exit, gva, at), part, &value, fault);
        memcpy((uint8_t *)bytes + at, &value, part);
    }
    return result;
}

enum gmem_result gmem_write_bytes(const struct guest_ram *ram, struct bus *bus,
                                  const struct vm_exit *exit, uint64_t gva, unsigned size,
                                  const void *bytes, struct guest_fault *fault)
{
    enum gmem_result result = gmem_writable(ram, exit, gva, size, fault) ? GMEM_OK : GMEM_FAULT;

    for (unsigned at = 0, part; at < size && result == GMEM_OK; at += part) {
        uint64_t value = 0;
        part = piece(size - at);
        memcpy(&value, (const uint8_t *)bytes + at, part);
        result = gmem_write(ram, bus, exit, linear_address(exit, gva, at), part, value, fault);
    }
    return result;
}
