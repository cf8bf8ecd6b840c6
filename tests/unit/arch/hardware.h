// SPDX-License-Identifier: BSD-2-Clause
// What a simulated core has loaded and what it remembers of page tables, after the SDM's rules at
// their most unkind: a translation stays until an instruction drops it that must, and any
// translation of loaded tables may be there at any time, without an access. docs/testing.md names
// the manual's sections.
//
// One rule for all: what a real core would do wrong in silence is a panic here.
#pragma once
#include "kernel/core/vm.h"

#define HW_KERNEL_ROOT 0x1000ull // the kernel's own tables, which no process's entries are in
#define HW_CR3_KEEP    (1ull << 63)
#define HW_CR3_PCID    0xfffull

struct hw_core {
    uint64_t cr3;           // root of the tables of ring 3, by MOV to CR3 or by an exit
    uint16_t pcid;
    uint32_t cr3_owner;     // of the root's frame, when it was loaded
    uint64_t ept;           // root of the guest-physical tables of the last entry; 0: none yet
    uint16_t vpid;
    struct vcpu *vmcs;      // the current one
};
extern struct hw_core hw[CPU_MAX];

struct hw_options {
    bool pcids;             // CR4.PCIDE
    uint32_t fills;         // translations that cores take up by themselves at each hw_turn()
    uint64_t seed;          // of what is chosen
};
extern struct hw_options hw_options;

void hw_reset(void);
// The instructions.
void hw_mov_cr3(uint32_t core, uint64_t value);
void hw_invept(uint32_t core, uint64_t root);  // single-context
void hw_invvpid(uint32_t core, uint16_t vpid); // single-context
void hw_vmptrld(uint32_t core, struct vcpu *v);
void hw_vmclear(uint32_t core, struct vcpu *v);
void hw_vm_entry(uint32_t core, struct vcpu *v);
void hw_vm_exit(uint32_t core); // from the current VMCS: CR3 is its host's

// An access from ring 3 (guest false) or from inside a guest, as that core is loaded.
bool hw_access(uint32_t core, bool guest, uint64_t address, uint8_t prot, struct hpa *out);
// All cores take up some translations of what they have loaded.
void hw_turn(void);
// No core can reach a frame that is free or another's by now, nor walks tables that are.
void hw_check(void);
void hw_check_user(uint32_t core, const struct space *s); // before ring 3 goes on in this space

// paging.c: what an entry means. False: absent.
struct hw_entry {
    struct hpa frame;
    uint8_t prot;
    bool leaf;
};
bool hw_entry_read(uint64_t table, unsigned index, unsigned level, struct hw_entry *e);
#define HW_LEVELS 4u
