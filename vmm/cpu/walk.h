// SPDX-License-Identifier: BSD-2-Clause
//
// Translation of a guest's linear addresses through the guest's own page tables, and reads and
// writes of its memory by linear address, with the faults that its CPU would raise.
//
// Follows the SDM's chapter "Paging". Protection keys are not looked at: PKRU does not reach the
// VMM, and the CPU has checked them for the access that caused the exit.
// Runs on the VMM's only thread. A guest may change its tables meanwhile: every entry is read once.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "kernel/abi/vcpu.h"
#include "vmm/board/bus.h"
#include "vmm/board/memory.h"

enum walk_access {
    WALK_READ = 1,
    WALK_WRITE = 2, // also sets the dirty bit
    WALK_FETCH = 4, // sets no accessed bits: the CPU itself has fetched from there
};

enum {
    VECTOR_DE = 0, VECTOR_UD = 6, VECTOR_SS = 12, VECTOR_GP = 13, VECTOR_PF = 14, VECTOR_MF = 16,
    VECTOR_XM = 19,
};

struct guest_fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t address; // page fault: CR2
};

enum gmem_result { GMEM_OK, GMEM_FAULT, GMEM_BLOCKED };

// `exit` gives paging mode, privilege level and flags. False: *fault says why.
bool walk(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t gva,
          enum walk_access access, uint64_t *gpa, struct guest_fault *fault);

// The same for the instruction that the CPU has just fetched, in long mode with four levels: where
// tables and code are RAM between 1 MB and 4 GB, without looking at rights. *code: where it is in
// this process; the rest of its page is there, too. False: use walk().
static inline bool walk_code(const struct guest_ram *ram, const struct vm_exit_cpu *cpu,
                             uint64_t gva, const uint8_t **code)
{
    enum { PRESENT = 1, LARGE = 0x80 };
    const uint64_t address = 0x000FFFFFFFFFF000ull, low = ram->low_end - RAM_EXTENDED;
    const uint8_t *base = ram->base + RAM_EXTENDED;
    uint64_t table = cpu->cr3, page, mask;

    if ((cpu->efer & 1u << 10) == 0 || (cpu->cr4 & 1u << 12) != 0)
        return false;
#pragma GCC unroll 4
    for (unsigned shift = 39; shift >= 12; shift -= 9) {
        // Tables are whole pages, so an entry that starts in RAM lies in it.
        uint64_t at = (table & address) + (gva >> shift << 3 & 0xFF8) - RAM_EXTENDED;
        if (at >= low)
            return false;
        table = __atomic_load_n((const uint64_t *)(base + at), __ATOMIC_RELAXED);
        if ((table & PRESENT) == 0)
            return false;
        if (shift != 12 && (table & LARGE) != 0) {
            mask = (1ull << shift) - 1;
            page = ((table & address & ~mask) | (gva & mask)) - RAM_EXTENDED;
            *code = base + page;
            return page < low;
        }
    }
    page = ((table & address) | (gva & 0xFFF)) - RAM_EXTENDED;
    *code = base + page;
    return page < low;
}

// Guest-physical access of 1, 2, 4 or 8 bytes: RAM or a device.
uint64_t gpa_read(const struct guest_ram *ram, struct bus *bus, uint64_t gpa, unsigned size);
enum bus_result gpa_write(const struct guest_ram *ram, struct bus *bus, uint64_t gpa,
                          unsigned size, uint64_t value);

// The same by linear address; may cross a page. A write that faults or is blocked changed nothing
// in the first page.
enum gmem_result gmem_read(const struct guest_ram *ram, struct bus *bus,
                           const struct vm_exit *exit, uint64_t gva, unsigned size,
                           uint64_t *value, struct guest_fault *fault);
enum gmem_result gmem_write(const struct guest_ram *ram, struct bus *bus,
                            const struct vm_exit *exit, uint64_t gva, unsigned size,
                            uint64_t value, struct guest_fault *fault);

// Whether all of such a write, of at most a page, goes to where the guest may write: for what reads
// first.
bool gmem_writable(const struct guest_ram *ram, const struct vm_exit *exit, uint64_t gva,
                   unsigned size, struct guest_fault *fault);

// Any number of bytes, at most a page; a device gets them in pieces of 8, 4, 2 and 1 in ascending
// order. A fault comes before the first of them.
enum gmem_result gmem_read_bytes(const struct guest_ram *ram, struct bus *bus,
                                 const struct vm_exit *exit, uint64_t gva, unsigned size,
                                 void *bytes, struct guest_fault *fault);
enum gmem_result gmem_write_bytes(const struct guest_ram *ram, struct bus *bus,
                                  const struct vm_exit *exit, uint64_t gva, unsigned size,
                                  const void *bytes, struct guest_fault *fault);

// The linear address of offset `offset` in a segment at `base`, as the code's mode wraps it.
static inline uint64_t linear_address(const struct vm_exit *exit, uint64_t base, uint64_t offset)
{
    uint64_t address = base + offset;

    return exit->cpu.code_size == 8 ? address : (uint32_t)address;
}
