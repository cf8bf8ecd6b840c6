// SPDX-License-Identifier: BSD-2-Clause
//
// Task switches by hardware, which no CPU does for a guest: what the files task*.c share. They
// follow the SDM's chapter "Task Management", above all "Task Switching", and its table of the
// exception conditions.
//
// A switch has two halves. Up to the commit nothing is changed, and what is wrong is a fault of the
// old task; behind it, one of the new task, which has not executed anything yet then.
// State is a struct task on the stack of the vCPU's thread, and page->sregs: the old task's
// registers, then those of the new one.
#pragma once

#include "vmm/cpu/exit.h"

enum { VECTOR_DB = 1, VECTOR_BP = 3, VECTOR_OF = 4, VECTOR_TS = 10, VECTOR_NP = 11 };

// Of descriptors and of struct vm_segment's access.
enum {
    ACCESS_TYPE = 0x1F, // with bit 4, which a system segment has not
    ACCESS_ACCESSED = 1, ACCESS_WRITE = 2, ACCESS_CONFORMING = 4, ACCESS_CODE = 8, ACCESS_USER = 16,
    ACCESS_DPL = 5,     // a shift
    ACCESS_PRESENT = 0x80, ACCESS_UNUSABLE = 0x100, ACCESS_BIG = 0x4000, ACCESS_PAGES = 0x8000,
    DESCRIPTOR_ACCESS = 5, // the byte of a descriptor, or of a gate, in which that is
    TYPE_TSS16 = 1, TYPE_LDT = 2, TYPE_TSS32 = 9, TYPE_BUSY = 2, // the last: beside either TSS
};

#define TASK_CR0_TS     (1ull << 3)
#define TASK_CR0_PG     (1ull << 31)
#define TASK_CR4_PAE    (1ull << 5)
#define TASK_RFLAGS_NT  (1ull << 14)
#define TASK_RFLAGS_RF  (1ull << 16)
#define TASK_RFLAGS_VM  (1ull << 17)
#define TASK_RFLAGS_AC  (1ull << 18)

// Where the fields of a TSS are. Registers are EIP, EFLAGS and the general ones in the order of
// their numbers; selectors those of ES, CS, SS, DS and, with 32 bits, FS and GS.
struct tss_layout {
    uint8_t width; // bytes of a register, and from one selector to the next
    uint8_t size;
    uint8_t registers, selectors, selector_count, ldt;
};
enum { TSS_REGISTERS = 10, TSS_SELECTORS = 6, TSS_SIZE = 0x68 };
enum { TSS32_CR3 = 0x1C, TSS32_TRAP = 0x64 };

// A few bytes by linear address, translated: in two pages at most.
struct task_span {
    uint64_t gpa[2];
    unsigned first; // bytes in the first page
};

struct task {
    struct vcpu *vcpu;
    struct vcpu_sregs *s;
    struct vm_exit view;   // how the CPU's own accesses are made: at privilege level 0, without AC
    uint8_t source;        // enum vm_task_source
    bool software;         // an instruction is what switches: RIP goes on behind it
    bool external;         // EXT of error codes
    struct vm_segment tss; // the new one, not marked busy
    const struct tss_layout *from, *to;
    struct task_span saved, image; // the old TSS' dynamic part, the whole of the new one
    uint64_t old_busy, new_busy;   // gpa of the descriptors' bytes with the busy bit
    struct guest_fault fault;
};

// All of these: false is a fault, and *t has it.

static inline bool task_fault(struct task *t, uint8_t vector, uint32_t error)
{
    t->fault = (struct guest_fault){ vector, true, error | t->external, 0 };
    return false;
}

// Of a segment: its selector.
static inline bool task_fault_at(struct task *t, uint8_t vector, uint16_t selector)
{
    return task_fault(t, vector, selector & 0xFFFC);
}

// task_memory.c: guest memory, as the CPU itself accesses it.
bool task_reach(struct task *t, uint64_t gva, unsigned size, enum walk_access access,
                struct task_span *span);
void task_read(const struct task *t, const struct task_span *span, unsigned offset, void *to,
               unsigned size);
void task_write(const struct task *t, const struct task_span *span, unsigned offset,
                const void *from, unsigned size);
// The descriptor of `selector`; *there says whether the table has it.
bool task_descriptor(struct task *t, uint16_t selector, bool *there, uint64_t *gva,
                     struct vm_segment *segment);
// The busy bit, or the accessed bit: a bit of a byte that other processors may change too.
void task_bit(const struct task *t, uint64_t gpa, uint8_t bit, bool set);

// task_enter.c: behind the commit. The new task's registers, up to its first instruction.
bool task_enter(struct task *t);

// task_segment.c: its LDTR and segment registers, of which the selectors stand in *s.
bool task_load_segments(struct task *t);

// The segment registers by number: ES CS SS DS FS GS.
static inline struct vm_segment *task_segment(const struct task *t, unsigned number)
{
    struct vcpu_sregs *s = t->s;
    struct vm_segment *const at[TSS_SELECTORS] = { &s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs };

    return at[number];
}
